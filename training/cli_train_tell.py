"""What ``schwamm train`` prints of a candidate, for people and as JSON."""

from __future__ import annotations

import re

import click

from gateway.locale import Translator
from gateway.settings import Settings
from training.candidate import Candidate, Suspect
from training.cli_language import chosen_language, spoken
from training.cli_train_labels import tell_drift, tell_labels, tell_voices
from training.labels import LabelReport
from training.lessons import IMPORTED
from training.report_texts import LANGUAGES

_MOST_SUSPECTS = 10
_DIGEST = re.compile("[0-9a-f]{64}")


def as_json(
    name: str, candidate: Candidate, labels: LabelReport | None, skipped: int
) -> dict[str, object]:
    """Return what ``train --json`` prints."""
    gate = candidate.gate
    return {
        "model": name,
        "gate_passed": gate.passed,
        "reasons": list(gate.reasons),
        "learned": candidate.learned,
        "held_out": candidate.held_out,
        "fixed_set": candidate.fixed_set,
        "shipped_set": candidate.shipped_set,
        "labels": None if labels is None else labels.as_json(),
        "voices": [
            {"person": one.person, "labels": one.labels, "worse": sorted(one.worse)}
            for one in candidate.voices
        ],
        "newly_caught": [
            {"id": one.name, "person": one.person, "probability": round(one.probability, 4)}
            for one in candidate.suspects
        ],
        "skipped": skipped,
        "candidate": gate.candidate.as_dict(),
        "live": None if gate.live is None else gate.live.as_dict(),
        "differences": {
            key: [one.value, one.interval.low, one.interval.high]
            for key, one in gate.differences.items()
        },
    }


def tell(name: str, candidate: Candidate, labels: LabelReport | None, settings: Settings) -> None:
    """Print labels, measures, reasons, and what to do next, in the reader's language."""
    _ = spoken(settings)
    gate = candidate.gate
    if labels is not None:
        tell_labels(labels, _)
    click.echo(
        _(
            "{model}: learned {learned}, judged on {held_out} later messages; then learned all"
        ).format(model=name, learned=candidate.learned, held_out=candidate.held_out)
    )
    texts = LANGUAGES[chosen_language(settings)]
    live = {} if gate.live is None else gate.live.as_dict()
    for key, value in gate.candidate.as_dict().items():
        line = f"  {texts[key]:32} {value:8.3f}%"
        if key in live:
            line += "   " + _("serving model {value}").format(value=f"{live[key]:.3f}")
        click.echo(line)
    tell_voices(candidate, _)
    for reason in gate.reasons:
        click.echo(_("refused: {reason}").format(reason=reason))
    if gate.passed:
        click.echo(
            _("passed its gate; to let it serve: schwamm model promote {model}").format(model=name)
        )
    else:
        _tell_suspects(candidate.suspects, _)
    if labels is not None:
        tell_drift(settings)


def _tell_suspects(suspects: tuple[Suspect, ...], _: Translator) -> None:
    """Name good mail that the candidate would catch: one click may have gone wrong."""
    if not suspects:
        return
    click.echo(
        _(
            "good mail that only the candidate calls spam; where that label is the mistake: "
            "schwamm quarantine label ID spam"
        )
    )
    if any(_DIGEST.fullmatch(one.name) for one in suspects if one.person == IMPORTED):
        click.echo(_("of an imported one: schwamm corpus label ID spam"))
    for one in suspects[:_MOST_SUSPECTS]:
        said = _("imported") if one.person == IMPORTED else one.person
        click.echo(
            _("  {id}: {probability}, ham says {person}").format(
                id=one.name or "-", probability=f"{one.probability:.4f}", person=said
            )
        )
    more = len(suspects) - _MOST_SUSPECTS
    if more > 0:
        click.echo(_("and about {number} more").format(number=more))
