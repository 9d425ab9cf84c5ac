"""The gate's second question: what do the labels of one person do to the mail of the others.

The held-out mail alone cannot tell: whoever labels wrongly also labels the mail that is judged on,
and may fill it. So for each person a model with all of their labels is compared with one without
any, on the latest mail that administrators labelled or imported; only where that is too little, on
what all others labelled, for whoever labels most can make right labels look wrong. The same is
asked of all who are no administrators together: people may have agreed. And the finished model
is compared with the serving one on the fixed set, which nobody but who imports mail has a say in,
and which no model learns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.locale import N_, Translator
from training.lessons import IMPORTED, OTHERS
from training.measures import BoolArray, FloatArray
from training.measures_bootstrap import Difference, paired_differences
from training.split import IntArray, once_a_day

MIN_LABELS = 20
"""Labels of a person below which no model is turned, and none is examined."""
MIN_TEST = 25
"""Ham, and spam, that others must have labelled in the mail that is judged on."""
MAX_VOICES = 5
"""People who are examined, those with the most labels; all are examined together."""
EVERYBODY = OTHERS
_TEST_SHARES = (0.3, 0.4, 0.5)
_MOST_OTHERS = 8000  # of the mail of others the latest, so that this takes a bounded time

SPAM_MISSED = "spam_misclassified_percent"
_WHAT = {
    "ham_misclassified_percent": N_("catches {value} percentage points more of the ham"),
    SPAM_MISSED: N_("misses {value} percentage points more of the spam"),
    "roca_complement_percent": N_("tells ham and spam apart less well (1-ROCA {value} higher)"),
}
_OF_ONE = N_(
    "with the labels of {person} ({number}) the model {what} that others labelled; "
    "look at them, or leave them out: schwamm train --without {person}"
)
_ALONE = N_(
    "nobody else labelled enough to compare the labels of {person} ({number}) with; "
    "import mail, or let an administrator label, or: schwamm train --without {person}"
)
_OF_ALL = N_(
    "with the labels of all who are no administrators ({number}) the model {what} that "
    "administrators labelled or imported; look at them, or leave them out: "
    "schwamm train --without '*'"
)
OWN_SET = N_("the finished model {what} in the fixed set than the model that serves now")
SHIPPED_SET = N_(
    "the finished model {what} in the shipped set of public mail than the model that serves now: "
    "it has forgotten what others' mail looks like"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voices:
    """Who labelled what, by position in order of time; ``groups`` numbers the campaigns.

    Of a campaign one message a day and label judges, as it teaches.

    ``trusted`` are people who may change models anyway, so they may be the only ones who label.
    """

    names: Sequence[str]
    is_spam: BoolArray
    groups: IntArray
    times: Sequence[float | None]
    trusted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFinding:
    """What one person's labels do to the model for the others; ``worse`` is empty if no harm.

    ``judged_on`` is 0 where nobody else labelled enough; then ``alone`` tells whether it matters.
    """

    person: str
    labels: int
    judged_on: int
    worse: dict[str, Difference]
    alone: bool = False


Score = Callable[[IntArray, IntArray], FloatArray]
"""Fit a model on the first positions, calibrate it there, and return its log odds at the second.

Calibrated, for a mere shift of all scores is undone before a model serves and is no harm.
"""


def examine(voices: Voices, score: Score, *, resamples: int = 1000) -> list[VoiceFinding]:
    """Examine those with the most labels, and everybody together.

    Who does most harm is named first and not heard when the others are examined: wrong labels
    must not make right ones look wrong.
    """
    inquiry = _Inquiry(voices, score, resamples)
    numbers = Counter(name for name in voices.names if name != IMPORTED)
    people = [one for one, number in numbers.most_common(MAX_VOICES) if number >= MIN_LABELS]
    blamed: list[VoiceFinding] = []
    while True:
        found = [inquiry.person(one) for one in people]
        worst = max(found, key=_harm, default=None)
        if worst is None or not worst.worse:
            break
        blamed.append(worst)
        people.remove(worst.person)
        inquiry.hear_no_more(worst.person)
    crowd = inquiry.crowd()
    return blamed + found + ([crowd] if crowd else [])


class _Inquiry:
    """Who is heard, and what was found; the same question is answered once."""

    def __init__(self, voices: Voices, score: Score, resamples: int) -> None:
        self._voices = voices
        self._score = score
        self._resamples = resamples
        self._names = np.array(voices.names, dtype=object)
        self._anchored = np.isin(self._names, [IMPORTED, *voices.trusted])
        self._heard = np.ones(len(self._names), dtype=np.bool_)
        self._known: dict[tuple[str, bytes], VoiceFinding] = {}
        self._without: dict[tuple[bytes, bytes], FloatArray] = {}

    def hear_no_more(self, person: str) -> None:
        """Leave the labels of a person out of all that follows."""
        self._heard &= self._names != person

    def person(self, person: str) -> VoiceFinding:
        """Hold one person against administrators and imports; or else against all others."""
        mine = self._names == person
        anchor = self._anchored & ~mine
        if person in self._voices.trusted or self._enough(anchor):
            return self._asked(person, mine, anchor)
        return self._asked(person, mine, self._heard & ~mine)

    def crowd(self) -> VoiceFinding | None:
        """Hold all who are no administrators together against those who are, and imports."""
        crowd = ~self._anchored & self._heard
        if len(set(self._names[crowd])) < 2 or int(crowd.sum()) < MIN_LABELS:
            return None
        if not self._enough(self._anchored):
            return None
        return self._asked(EVERYBODY, crowd, self._anchored)

    def _enough(self, judges: BoolArray) -> bool:
        learned, test = self._cut(judges)
        is_spam = self._voices.is_spam
        return _judges(is_spam[learned]) and _judges(is_spam[test])

    def _cut(self, judges: BoolArray) -> tuple[IntArray, IntArray]:
        """Learn the earlier part, judge by the later: more of it where one kind came seldom."""
        others, groups = np.flatnonzero(judges)[-_MOST_OTHERS:], self._voices.groups
        learned = test = others[:0]
        for share in _TEST_SHARES:
            cut = len(others) - round(len(others) * share)
            learned, test = others[:cut], others[cut:]
            test = test[~np.isin(groups[test], groups[learned])]
            test = once_a_day(test, self._voices.times, groups, self._voices.is_spam)
            if _judges(self._voices.is_spam[test]):
                break
        return learned, test

    def _asked(self, person: str, mine: BoolArray, judges: BoolArray) -> VoiceFinding:
        key = (person, np.packbits(mine & self._heard).tobytes() + np.packbits(judges).tobytes())
        if key not in self._known:
            self._known[key] = self._examined(person, mine & self._heard, judges)
        return self._known[key]

    def _examined(self, person: str, mine: BoolArray, judges: BoolArray) -> VoiceFinding:
        number, is_spam = int(mine.sum()), self._voices.is_spam
        if not self._enough(judges):
            alone = person != EVERYBODY and person not in self._voices.trusted
            return VoiceFinding(person=person, labels=number, judged_on=0, worse={}, alone=alone)
        without, test = self._cut(judges)
        both = np.union1d(without, np.flatnonzero(mine))
        key = (without.tobytes(), test.tobytes())
        if key not in self._without:
            self._without[key] = self._score(without, test)
        worse = _surely_worse(
            is_spam[test], self._score(both, test), self._without[key], 0.0, self._resamples
        )
        return VoiceFinding(person=person, labels=number, judged_on=len(test), worse=worse)


def _harm(finding: VoiceFinding) -> float:
    if not finding.worse:
        return 0.0
    return sum(difference.value for difference in finding.worse.values())


def sentences(findings: Sequence[VoiceFinding], _: Translator) -> list[str]:
    """Return why the gate refuses, in plain words; nothing if nobody does harm."""
    reasons = []
    for finding in findings:
        told = {"person": finding.person, "number": finding.labels}
        if finding.alone:
            reasons.append(_(_ALONE).format(**told))
        if finding.worse:
            frame = _OF_ALL if finding.person == EVERYBODY else _OF_ONE
            reasons.append(_(frame).format(what=_what(finding.worse, _), **told))
    return reasons


def fixed_set_sentences(
    is_spam: BoolArray,
    candidate: FloatArray,
    live: FloatArray,
    sentence: str,
    _: Translator,
    *,
    threshold: float,
    spam_allowance: float = 0.0,
    resamples: int = 1000,
) -> list[str]:
    """Return why a fixed set speaks against the finished model; probabilities of both.

    ``spam_allowance`` is how many percentage points more of its spam may be missed: other people's
    spam is not what a site's model is for.
    """
    if not _judges(is_spam):
        return []
    worse = _surely_worse(is_spam, candidate, live, threshold, resamples)
    missed = worse.get(SPAM_MISSED)
    if missed is not None and missed.interval.low <= spam_allowance:
        del worse[SPAM_MISSED]
    return [sentence.format(what=_what(worse, _))] if worse else []


def _judges(is_spam: BoolArray) -> bool:
    """Whether there is enough ham and spam to judge by."""
    return min(int(is_spam.sum()), int((~is_spam).sum())) >= MIN_TEST


def _surely_worse(
    is_spam: BoolArray, candidate: FloatArray, other: FloatArray, threshold: float, resamples: int
) -> dict[str, Difference]:
    limits = (threshold, threshold)
    found = paired_differences(is_spam, candidate, other, thresholds=limits, resamples=resamples)
    return {name: found[name] for name in _WHAT if found[name].interval.low > 0.0}


def _what(worse: dict[str, Difference], _: Translator) -> str:
    return ", ".join(
        _(_WHAT[name]).format(value=f"{difference.value:.2f}") for name, difference in worse.items()
    )
