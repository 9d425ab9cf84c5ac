"""How a watched model compares with the one that serves, on the mail both have scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.store.scored import ScoredMail
from models.calibration import DEFAULT_SCALE, PointsScale

_MOST_DIFFERENCES = 20


class Band(StrEnum):
    """What a probability is worth: no points, some, or all that the model may give."""

    NONE = "none"
    SOME = "some"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A message the models put into different bands; ``label`` is ham, spam or empty."""

    mail_id: str
    live: float
    shadow: float
    label: str


@dataclass(slots=True, kw_only=True)
class ByLabel:
    """Labelled messages of one class, and how many each model got wrong.

    Wrong is ham with points, or spam without any.
    """

    messages: int = 0
    live_wrong: int = 0
    shadow_wrong: int = 0


@dataclass(slots=True, kw_only=True)
class Comparison:
    """Counts by pairs of bands (serving model, watched model), and the messages that moved.

    ``beside_others`` are messages that were scored while another model served: left out.
    """

    live: str
    shadow: str
    scale: PointsScale = DEFAULT_SCALE
    messages: int = 0
    beside_others: int = 0
    agreed: int = 0
    bands: dict[tuple[Band, Band], int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    by_label: dict[str, ByLabel] = field(default_factory=dict)

    def only_the_greatest(self) -> None:
        """Keep the differences that matter: of labelled mail first, then the greatest."""
        self.differences.sort(key=lambda one: (not one.label, -abs(one.live - one.shadow)))
        del self.differences[_MOST_DIFFERENCES:]

    def as_json(self) -> dict[str, object]:
        """Return what ``model compare --json`` prints."""
        return {
            "live": self.live,
            "shadow": self.shadow,
            "messages": self.messages,
            "agreed": self.agreed,
            "beside_others": self.beside_others,
            "bands": [
                {"live": one.value, "shadow": other.value, "messages": number}
                for (one, other), number in sorted(self.bands.items())
            ],
            "labels": {
                label: {
                    "messages": found.messages,
                    "live_wrong": found.live_wrong,
                    "shadow_wrong": found.shadow_wrong,
                }
                for label, found in sorted(self.by_label.items())
            },
            "differences": [
                {"id": one.mail_id, "live": one.live, "shadow": one.shadow, "label": one.label}
                for one in self.differences
            ],
        }


def band(probability: float, scale: PointsScale) -> Band:
    """Return what a probability is worth, of a message that is well known."""
    if probability >= scale.sure_from:
        return Band.FULL
    return Band.SOME if probability >= scale.unsure_from else Band.NONE


def compare(
    mails: Iterable[ScoredMail],
    labels: Mapping[str, bool],
    *,
    shadow: str,
    scale: Callable[[str], PointsScale],
) -> Comparison:
    """Compare on the messages that ``shadow`` was watching, with the model that served last then.

    ``mails`` come by time. ``labels`` tells of mail ids whether they are spam, ``scale`` what the
    probabilities of a model of that name are worth. The most different messages are kept, at most
    twenty.
    """
    watching = scale(shadow)
    beside: dict[str, Comparison] = {}
    last = ""
    for mail in mails:
        if mail.shadow is None or mail.shadow.model_id != shadow:
            continue
        last = mail.model_id
        if last not in beside:
            beside[last] = Comparison(live=last, shadow=shadow, scale=scale(last))
        found = beside[last]
        bands = band(mail.probability, found.scale), band(mail.shadow.probability, watching)
        _add(found, mail, mail.shadow.probability, bands, labels.get(mail.mail_id))
    found = beside.pop(last, Comparison(live="", shadow=shadow))
    found.only_the_greatest()
    found.beside_others = sum(other.messages for other in beside.values())
    return found


def _add(
    found: Comparison,
    mail: ScoredMail,
    watched: float,
    bands: tuple[Band, Band],
    label: bool | None,
) -> None:
    found.messages += 1
    found.bands[bands] = found.bands.get(bands, 0) + 1
    name = "" if label is None else "spam" if label else "ham"
    if label is not None:
        _judge(found.by_label.setdefault(name, ByLabel()), bands, is_spam=label)
    if bands[0] is bands[1]:
        found.agreed += 1
        return
    found.differences.append(
        Difference(
            mail_id=mail.mail_id,
            live=round(mail.probability, 4),
            shadow=round(watched, 4),
            label=name,
        )
    )
    if len(found.differences) > 2 * _MOST_DIFFERENCES:
        found.only_the_greatest()


def _judge(counts: ByLabel, bands: tuple[Band, Band], *, is_spam: bool) -> None:
    counts.messages += 1
    counts.live_wrong += (bands[0] is Band.NONE) is is_spam
    counts.shadow_wrong += (bands[1] is Band.NONE) is is_spam
