"""What people said in the quarantine becomes lessons, within limits that no one person can pass.

A label counts once a message, as ``gateway.store.labels`` settles it. Of each person at most a
number of labels a day is learned, the first ones: whoever wants to turn the model has to take their
time, and is seen in the meantime.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.store.labels import ADMIN, Dispute, LabelBook, StandingLabel
from gateway.store.scored import DAY_MS
from models.features import FEATURE_SPEC, Features
from models.features_stored import StoredFeaturesError
from models.fingerprint import Fingerprint, StoredFingerprintError
from training.lessons import OTHERS, Lessons
from training.split import LATEST
from training.train import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """What became of the labels of the quarantine; each number but ``disputes`` is of messages.

    ``over_the_cap`` tells of each person how many labels were left out, ``given`` how many were
    learned. ``other_spec`` are labels whose features an earlier version extracted.
    """

    given: dict[str, int]
    over_the_cap: dict[str, int]
    disputes: tuple[Dispute, ...]
    withdrawn: int
    nobodys: int
    unusable: int
    other_spec: int
    left_out: int

    def as_json(self) -> dict[str, object]:
        """Return what ``train --json`` prints."""
        return {
            "learned": self.given,
            "over_the_cap": self.over_the_cap,
            "disputed": [
                {
                    "id": dispute.mail_id,
                    "votes": {
                        vote.person: "spam" if vote.is_spam else "ham" for vote in dispute.votes
                    },
                }
                for dispute in self.disputes
            ],
            "withdrawn": self.withdrawn,
            "without_person": self.nobodys,
            "unusable": self.unusable,
            "other_features": self.other_spec,
            "left_out": self.left_out,
        }


def lessons_of(
    book: LabelBook, *, per_person_and_day: int, without: Iterable[str] = ()
) -> tuple[Lessons, LabelReport]:
    """Return what may be learned, and what became of the rest.

    ``without`` are people whose labels are left out altogether; `OTHERS` among them stands for
    everybody who is no administrator.
    """
    lessons = Lessons()
    unwanted = frozenset(without)
    today: Counter[tuple[str, int]] = Counter()
    over: Counter[str] = Counter()
    given: Counter[str] = Counter()
    other_spec = left_out = unusable = 0
    for label in sorted(book.standing, key=lambda one: (one.at_ms, one.mail_id)):
        if label.person in unwanted or (OTHERS in unwanted and label.role != ADMIN):
            left_out += 1
            continue
        if label.lesson.feature_spec != FEATURE_SPEC:
            other_spec += 1
            continue
        key = (label.person, label.at_ms // DAY_MS)
        today[key] += 1
        if today[key] > per_person_and_day:
            over[label.person] += 1
        elif _learn(label, lessons):
            given[label.person] += 1
        else:
            unusable += 1
    return lessons, LabelReport(
        given=dict(sorted(given.items())),
        over_the_cap=dict(sorted(over.items())),
        disputes=book.disputes,
        withdrawn=book.withdrawn,
        nobodys=book.nobodys,
        unusable=unusable + book.without_features,
        other_spec=other_spec,
        left_out=left_out,
    )


def _learn(label: StandingLabel, lessons: Lessons) -> bool:
    """Add a label; say whether what it kept is whole."""
    try:
        Features.from_bytes(label.lesson.hashes)
        prints = Fingerprint.from_bytes(label.lesson.fingerprint)
    except (StoredFeaturesError, StoredFingerprintError):
        return False
    lessons.add(
        Example(stored=label.lesson.hashes, is_spam=label.is_spam),
        _time(label.lesson.arrived_at_ms),
        prints,
        voice=label.person,
        customer=label.customer,
        name=label.mail_id,
    )
    if label.role == ADMIN:
        lessons.trusted.add(label.person)
    return True


def _time(at_ms: int) -> float | None:
    """Return a time of arrival in seconds; none where the gateway's clock was far off."""
    return at_ms / 1000 if 0 <= at_ms <= 1000 * LATEST else None
