"""The gate's second question: what do the labels of one person do to the mail of the others.

The held-out mail alone cannot tell: whoever labels wrongly also labels the mail that is judged on.
So for each person a model with all of their labels is compared with one without any, on held-out
mail that others labelled. The same is asked of everybody in the quarantine together, on imported
mail. And the finished model is compared with the serving one on the fixed set, which nobody but
who imports mail has a say in, and which no model learns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.locale import N_, Translator
from training.lessons import IMPORTED
from training.measures import BoolArray, FloatArray
from training.measures_bootstrap import Difference, paired_differences
from training.split import IntArray

MIN_LABELS = 20
"""Labels of a person below which no model is turned, and none is examined."""
MIN_TEST = 25
"""Ham, and spam, that others must have labelled in the held-out mail."""
MAX_VOICES = 5
"""People who are examined, those with the most labels; all are examined together."""
EVERYBODY = "*"

_WHAT = {
    "ham_misclassified_percent": N_("catches {value} percentage points more of the ham"),
    "spam_misclassified_percent": N_("misses {value} percentage points more of the spam"),
    "roca_complement_percent": N_("tells ham and spam apart less well (1-ROCA {value} higher)"),
}
_OF_ONE = N_(
    "with the labels of {person} ({number}) the model {what} that others labelled; "
    "look at them, or leave them out: schwamm train --without {person}"
)
_OF_ALL = N_("with the labels of the quarantine ({number}) the model {what} that was imported")
_FIXED = N_("the finished model {what} in the fixed set than the model that serves now")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voices:
    """Who labelled what: voices and labels by position, and the positions by their use."""

    names: Sequence[str]
    is_spam: BoolArray
    learned: IntArray
    test: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFinding:
    """What one person's labels do to the model for the others; ``worse`` is empty if no harm."""

    person: str
    labels: int
    judged_on: int
    worse: dict[str, Difference]


Score = Callable[[IntArray, IntArray], FloatArray]
"""Fit a model on the first positions and return its log odds at the second."""


def examine(voices: Voices, score: Score, *, resamples: int = 1000) -> list[VoiceFinding]:
    """Examine those with the most labels, and everybody together.

    Who cannot be judged, because nobody else labelled enough, is not in the list.
    """
    names = np.array(voices.names, dtype=object)
    numbers = Counter(str(name) for name in names if name != IMPORTED)
    people = [one for one, number in numbers.most_common(MAX_VOICES) if number >= MIN_LABELS]
    questions = [(person, names == person) for person in people]
    if len(numbers) > 1 and sum(numbers.values()) >= MIN_LABELS:
        questions.append((EVERYBODY, names != IMPORTED))
    found = [_examined(voices, person, mine, score, resamples) for person, mine in questions]
    return [finding for finding in found if finding is not None]


def sentences(findings: Sequence[VoiceFinding], _: Translator) -> list[str]:
    """Return why the gate refuses, in plain words; nothing if nobody does harm."""
    reasons = []
    for finding in findings:
        for name, difference in finding.worse.items():
            frame = _OF_ALL if finding.person == EVERYBODY else _OF_ONE
            reasons.append(
                _(frame).format(
                    person=finding.person, number=finding.labels, what=_what(name, difference, _)
                )
            )
    return reasons


def fixed_set_sentences(
    is_spam: BoolArray,
    candidate: FloatArray,
    live: FloatArray,
    _: Translator,
    *,
    threshold: float,
    resamples: int = 1000,
) -> list[str]:
    """Return why the fixed set speaks against the finished model; probabilities of both."""
    if min(int(is_spam.sum()), int((~is_spam).sum())) < MIN_TEST:
        return []
    worse = _surely_worse(is_spam, candidate, live, threshold, resamples)
    return [_(_FIXED).format(what=_what(name, one, _)) for name, one in worse.items()]


def _examined(
    voices: Voices, person: str, mine: BoolArray, score: Score, resamples: int
) -> VoiceFinding | None:
    test = voices.test[~mine[voices.test]]
    is_spam = voices.is_spam[test]
    if min(int(is_spam.sum()), int((~is_spam).sum())) < MIN_TEST:
        return None
    without = voices.learned[~mine[voices.learned]]
    heard = np.union1d(voices.learned, np.flatnonzero(mine))
    if not 0 < int(voices.is_spam[without].sum()) < len(without):
        return None
    return VoiceFinding(
        person=person,
        labels=int(mine.sum()),
        judged_on=len(test),
        worse=_surely_worse(is_spam, score(heard, test), score(without, test), 0.0, resamples),
    )


def _surely_worse(
    is_spam: BoolArray, candidate: FloatArray, other: FloatArray, threshold: float, resamples: int
) -> dict[str, Difference]:
    limits = (threshold, threshold)
    found = paired_differences(is_spam, candidate, other, thresholds=limits, resamples=resamples)
    return {name: found[name] for name in _WHAT if found[name].interval.low > 0.0}


def _what(name: str, difference: Difference, _: Translator) -> str:
    return _(_WHAT[name]).format(value=f"{difference.value:.2f}")
