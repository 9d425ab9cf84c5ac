"""95% intervals for the measures, and for the difference of two filters on the same messages.

Percentile bootstrap (Efron 1979), resampling messages within ham and within spam. For the
difference both filters are measured on the same resample: what is hard for both cancels out.
The plain error rates take Wilson's score interval instead, because a bootstrap of no errors
answers "exactly zero".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.measures import (
    MEASURE_NAMES,
    BoolArray,
    FloatArray,
    IntArray,
    Measures,
    RankedScores,
)

DEFAULT_RESAMPLES = 1000
_PROPORTIONS = {
    "ham_misclassified_percent": "ham",
    "spam_misclassified_percent": "spam",
}
_Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95% interval, in the unit of its measure."""

    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Whether a difference with this interval is more than chance."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """First filter minus second, on the same messages; below zero the first is better."""

    value: float
    interval: Interval


def intervals(
    is_spam: BoolArray,
    scores: FloatArray,
    *,
    threshold: float = 0.5,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return an interval for each measure. Raises as ``measure`` does."""
    ranked = RankedScores(is_spam, scores, threshold=threshold)
    drawn = np.array(
        [
            [getattr(ranked.measure(ham, spam), name) for name in MEASURE_NAMES]
            for ham, spam in _resampled(ranked.ham, ranked.spam, resamples, seed)
        ]
    )
    found = dict(zip(MEASURE_NAMES, _percentiles(drawn), strict=True))
    totals = {"ham": ranked.ham, "spam": ranked.spam}
    whole = ranked.measure(np.ones(ranked.ham, np.int64), np.ones(ranked.spam, np.int64))
    for name, kind in _PROPORTIONS.items():
        found[name] = wilson_interval(getattr(whole, name) / 100.0, totals[kind])
    return found


def intervals_of_one_kind(measures: Measures, messages: int) -> dict[str, Interval]:
    """Return the interval of the error rate that ``measure_one_kind`` found."""
    rates = measures.as_dict()
    known = {name: rates[name] for name in _PROPORTIONS if not math.isnan(rates[name])}
    return {name: wilson_interval(rate / 100.0, messages) for name, rate in known.items()}


def paired_differences(
    is_spam: BoolArray,
    first: FloatArray,
    second: FloatArray,
    *,
    thresholds: tuple[float, float] = (0.5, 0.5),
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Return first minus second for each measure, with the paired bootstrap's interval."""
    one = RankedScores(is_spam, first, threshold=thresholds[0])
    two = RankedScores(is_spam, second, threshold=thresholds[1])
    all_ham, all_spam = np.ones(one.ham, np.int64), np.ones(one.spam, np.int64)
    drawn = np.array(
        [
            _minus(one, two, ham, spam)
            for ham, spam in _resampled(one.ham, one.spam, resamples, seed)
        ]
    )
    values = _minus(one, two, all_ham, all_spam)
    return {
        name: Difference(value=value, interval=interval)
        for name, value, interval in zip(MEASURE_NAMES, values, _percentiles(drawn), strict=True)
    }


def _minus(one: RankedScores, two: RankedScores, ham: IntArray, spam: IntArray) -> list[float]:
    first, second = one.measure(ham, spam), two.measure(ham, spam)
    return [getattr(first, name) - getattr(second, name) for name in MEASURE_NAMES]


def _resampled(
    ham: int, spam: int, resamples: int, seed: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield how often each ham and each spam is drawn, resample by resample."""
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield (
            np.bincount(random.integers(0, ham, ham), minlength=ham),
            np.bincount(random.integers(0, spam, spam), minlength=spam),
        )


def _percentiles(drawn: FloatArray) -> list[Interval]:
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return [Interval(low=float(a), high=float(b)) for a, b in zip(low, high, strict=True)]


def wilson_interval(rate: float, total: int) -> Interval:
    """Return E. B. Wilson's score interval (1927) for a proportion of ``total``, in percent."""
    z2 = _Z_95 * _Z_95
    middle = rate + z2 / (2.0 * total)
    spread = _Z_95 * math.sqrt(rate * (1.0 - rate) / total + z2 / (4.0 * total * total))
    scale = 1.0 + z2 / total
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if rate == 0.0 else (middle - spread) / scale
    high = 1.0 if rate == 1.0 else (middle + spread) / scale
    return Interval(low=100.0 * low, high=100.0 * high)
