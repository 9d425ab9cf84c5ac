"""The gate: may a candidate serve in place of the model that serves now? Pure, with reasons.

Both are measured on the same held-out mail of the site, later than all that the candidate learned,
and compared by the paired bootstrap. Ham is dearer than spam: a candidate that loses ham is
refused even where that may be chance; one that misses more spam only where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.measures import BoolArray, FloatArray, Measures, measure
from training.measures_bootstrap import Difference, paired_differences

MIN_HELD_OUT = 50
"""Ham, and spam, that the held-out mail must hold: below it no measure means anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What the gate found. ``reasons`` are plain sentences, empty when the candidate passed.

    ``live`` and ``differences`` (candidate minus live) are None and empty where no model serves.
    """

    candidate: Measures
    live: Measures | None
    differences: dict[str, Difference]
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may serve."""
        return not self.reasons


def judge(
    is_spam: BoolArray,
    candidate: FloatArray,
    live: FloatArray | None,
    *,
    threshold: float,
    resamples: int = 1000,
) -> GateResult:
    """Compare probabilities on held-out mail; ``threshold`` is where mail begins to be caught.

    Raises NothingToMeasure without ham or without spam.
    """
    mine = measure(is_spam, candidate, threshold=threshold)
    ham, spam = int((~is_spam).sum()), int(is_spam.sum())
    reasons = []
    if min(ham, spam) < MIN_HELD_OUT:
        reasons.append(
            f"too little mail to judge by: {ham} ham and {spam} spam were held out, "
            f"{MIN_HELD_OUT} of each are needed"
        )
    if live is None:
        return GateResult(candidate=mine, live=None, differences={}, reasons=tuple(reasons))
    limits = (threshold, threshold)
    found = paired_differences(is_spam, candidate, live, thresholds=limits, resamples=resamples)
    theirs = measure(is_spam, live, threshold=threshold)
    lost = round((mine.ham_misclassified_percent - theirs.ham_misclassified_percent) * ham / 100)
    if lost > 0:
        reasons.append(
            f"it costs ham: of {ham} held-out ham the candidate catches {lost} more than the "
            "model that serves now"
        )
    reasons += _worse_beyond_chance(found)
    return GateResult(candidate=mine, live=theirs, differences=found, reasons=tuple(reasons))


def _worse_beyond_chance(found: dict[str, Difference]) -> list[str]:
    reasons = []
    missed = found["spam_misclassified_percent"]
    if missed.interval.low > 0.0:
        reasons.append(
            f"it misses more spam: {missed.value:.2f} percentage points more, "
            f"between {missed.interval.low:.2f} and {missed.interval.high:.2f}"
        )
    ranks = found["roca_complement_percent"]
    if ranks.interval.low > 0.0:
        reasons.append(
            f"it tells ham and spam apart less well: 1-ROCA {ranks.value:.3f} points higher, "
            f"between {ranks.interval.low:.3f} and {ranks.interval.high:.3f}"
        )
    return reasons
