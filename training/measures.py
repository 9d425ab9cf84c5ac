"""The measures of the TREC spam track, and their 95% intervals by the bootstrap.

Source: G. Cormack and T. Lynam, "TREC 2005 Spam Track Overview", Proc. TREC 2005, section 3;
the threshold-free measure is one minus the area under the ROC curve, as a percentage.
All scores are "higher is more like spam"; only their order matters to the two rank measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.locale import N_

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

HAM_BUDGET = 0.001
"""The share of ham that may be called spam in ``spam_missed_percent_at_ham_0_1_percent``."""

MEASURE_NAMES = (
    "roca_complement_percent",
    "ham_misclassified_percent",
    "spam_misclassified_percent",
    "lam_percent",
    "spam_missed_percent_at_ham_0_1_percent",
)


class NothingToMeasure(ValueError):  # noqa: N818  # it says what is wrong with the mail, not us
    """There is no ham, or no spam, among the scored messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """One filter on one stream; every field is a percentage.

    ``roca_complement_percent``: chance that a random ham scores above a random spam (a tie counts
    half). ``lam_percent``: the two error rates averaged on the logistic scale.
    ``spam_missed_percent_at_ham_0_1_percent``: spam not caught by the lowest threshold that calls
    at most 0.1% of the ham spam; a ham and a spam with the same score stay on the same side.
    What needs both kinds of mail is NaN where there was only one.
    """

    roca_complement_percent: float
    ham_misclassified_percent: float
    spam_misclassified_percent: float
    lam_percent: float
    spam_missed_percent_at_ham_0_1_percent: float

    def as_dict(self) -> dict[str, float]:
        """Return the measures under the names of the command line's contract."""
        return {name: getattr(self, name) for name in MEASURE_NAMES}

    def complete(self) -> bool:
        """Whether there was mail of both kinds."""
        return not any(math.isnan(value) for value in self.as_dict().values())


def measure(is_spam: BoolArray, scores: FloatArray, *, threshold: float = 0.5) -> Measures:
    """Compute all measures for scored messages; a score of ``threshold`` or more means spam.

    Raises NothingToMeasure without at least one ham and one spam, ValueError for a NaN.
    """
    ranked = RankedScores(is_spam, scores, threshold=threshold)
    return ranked.measure(np.ones(ranked.ham, np.int64), np.ones(ranked.spam, np.int64))


def measure_one_kind(is_spam: BoolArray, scores: FloatArray, *, threshold: float = 0.5) -> Measures:
    """Return the one error rate that mail of one kind can tell; the rest is NaN.

    Raises NothingToMeasure without any mail.
    """
    if not len(scores):
        raise NothingToMeasure(N_("there is no mail to measure on"))
    unknown = float("nan")
    called_spam = 100.0 * float((scores >= threshold).mean())
    all_spam = bool(is_spam[0])
    return Measures(
        roca_complement_percent=unknown,
        ham_misclassified_percent=unknown if all_spam else called_spam,
        spam_misclassified_percent=100.0 - called_spam if all_spam else unknown,
        lam_percent=unknown,
        spam_missed_percent_at_ham_0_1_percent=unknown,
    )


class RankedScores:
    """Scores sorted once, to be measured under many integer weights (one per message).

    The bootstrap asks a thousand times: each time is a few passes over arrays, no sort.
    """

    def __init__(self, is_spam: BoolArray, scores: FloatArray, *, threshold: float = 0.5) -> None:
        if len(is_spam) != len(scores):
            raise ValueError("one label is needed for each score")
        if np.isnan(scores).any():
            raise ValueError("a score is not a number")
        ham, spam = scores[~is_spam], scores[is_spam]
        if not len(ham) or not len(spam):
            raise NothingToMeasure(N_("the measures need at least one ham and one spam"))
        self.ham, self.spam = len(ham), len(spam)
        self._ham_called_spam: BoolArray = ham >= threshold
        self._spam_called_ham: BoolArray = spam < threshold
        self._ham_order: IntArray = np.argsort(ham, kind="stable")
        self._spam_order: IntArray = np.argsort(spam, kind="stable")
        self._ham_sorted: FloatArray = ham[self._ham_order]
        spam_sorted = spam[self._spam_order]
        # For each ham in order of score: how many spam lie below it, and how many at or below.
        self._spam_below = np.searchsorted(spam_sorted, self._ham_sorted, side="left")
        self._spam_not_above = np.searchsorted(spam_sorted, self._ham_sorted, side="right")

    def measure(self, ham_weights: IntArray, spam_weights: IntArray) -> Measures:
        """Measure with each ham and each spam (in their given order) counted so many times."""
        ham_total, spam_total = int(ham_weights.sum()), int(spam_weights.sum())
        ham_in_order = ham_weights[self._ham_order]
        spam_cumulated = np.concatenate(([0], np.cumsum(spam_weights[self._spam_order])))
        below = spam_cumulated[self._spam_below]
        not_above = spam_cumulated[self._spam_not_above]
        # Twice the number of discordant pairs: exact integers, so equal filters come out equal.
        discordant = int(ham_in_order @ (below + not_above))
        missed = self._missed_within_budget(ham_in_order, not_above, ham_total)
        ham_errors = int(ham_weights @ self._ham_called_spam)
        spam_errors = int(spam_weights @ self._spam_called_ham)
        return Measures(
            roca_complement_percent=100.0 * discordant / (2.0 * ham_total * spam_total),
            ham_misclassified_percent=100.0 * ham_errors / ham_total,
            spam_misclassified_percent=100.0 * spam_errors / spam_total,
            lam_percent=lam_percent(ham_errors, ham_total, spam_errors, spam_total),
            spam_missed_percent_at_ham_0_1_percent=100.0 * missed / spam_total,
        )

    def _missed_within_budget(
        self, ham_in_order: IntArray, spam_not_above: IntArray, ham_total: int
    ) -> int:
        """Weight of the spam that scores no higher than the first ham beyond the budget."""
        allowed = math.floor(HAM_BUDGET * ham_total + 1e-9)
        from_top = np.cumsum(ham_in_order[::-1])
        first_beyond = int(np.searchsorted(from_top, allowed, side="right"))
        return int(spam_not_above[len(ham_in_order) - 1 - first_beyond])


def lam_percent(ham_errors: int, ham: int, spam_errors: int, spam: int) -> float:
    """Logistic average misclassification: the mean of both error rates' logits, back to percent.

    Half an error is added to each side (the empirical logit), so that no error at all is a small
    rate, as it is for a sample, and not minus infinity.
    """
    ham_rate = (ham_errors + 0.5) / (ham + 1.0)
    spam_rate = (spam_errors + 0.5) / (spam + 1.0)
    mean = (_logit(ham_rate) + _logit(spam_rate)) / 2.0
    return 100.0 / (1.0 + math.exp(-mean))


def _logit(rate: float) -> float:
    return math.log(rate / (1.0 - rate))
