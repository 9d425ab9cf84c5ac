"""The gate: may a candidate serve in place of the model that serves now? Pure, with reasons.

Both are measured on the same held-out mail of the site, later than all that the candidate learned,
and compared by the paired bootstrap. Ham is dearer than spam: a candidate that costs ham is
refused even where that may be chance; one that misses more spam only where it is not. Ham is
cost where the model alone gives it so many points that it is marked. One half is worth none: there
more ham may be called spam, as far as that is chance, or a large site could never retrain. And
whatever serves now, a candidate that surely calls too much good mail spam is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.core.routing import Domain
from gateway.locale import N_, Translator
from models.calibration import SITE_CAP, probability_worth
from training.measures import BoolArray, FloatArray, Measures, measure
from training.measures_bootstrap import Difference, paired_differences, wilson_interval

MIN_HELD_OUT = 50
"""Ham, and spam, that the held-out mail must hold: below it no measure means anything."""
MOST_CALLED_SPAM = 2.0
"""Percent of the held-out ham that may be called spam; more, beyond chance, is refused."""
COSTS_FROM: Final = probability_worth(
    Domain(name="default.invalid", next_hops=()).unsure_score, SITE_CAP
)
"""From this probability on a site's model alone has a mail marked as doubtful."""
_MOST_NAMED = 20

_TOO_LITTLE = N_(
    "too little mail to judge by: {ham} ham and {spam} spam were held out, "
    "{needed} of each are needed"
)
_COSTS_HAM = N_(
    "it costs ham: {lost} more of the {ham} held-out ham would be marked or held than with the "
    "model that serves now"
)
_CALLS_MORE_HAM_SPAM = N_(
    "it calls more good mail spam: {value} percentage points more, between {low} and {high}"
)
_CALLS_HAM_SPAM = N_(
    "it calls good mail spam: {number} of {ham} held-out ham, surely more than {limit} %"
)
_MISSES_SPAM = N_("it misses more spam: {value} percentage points more, between {low} and {high}")
_RANKS_WORSE = N_(
    "it tells ham and spam apart less well: 1-ROCA {value} points higher, between {low} and {high}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What the gate found. ``reasons`` are plain sentences, empty when the candidate passed.

    ``live`` and ``differences`` (candidate minus live) are None and empty where no model serves.
    ``newly_caught`` are the positions of held-out ham that only the candidate calls spam, or would
    have marked, the surest first: where a label is wrong, these are the mails to look at.
    """

    candidate: Measures
    live: Measures | None
    differences: dict[str, Difference]
    reasons: tuple[str, ...]
    newly_caught: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the candidate may serve."""
        return not self.reasons


def judge(
    is_spam: BoolArray,
    candidate: FloatArray,
    live: FloatArray | None,
    say: Translator,
    *,
    threshold: float,
    resamples: int = 1000,
) -> GateResult:
    """Compare probabilities on held-out mail; from ``threshold`` on a message is called spam.

    ``say`` puts the reasons into a language.

    Raises NothingToMeasure without ham or without spam.
    """
    mine = measure(is_spam, candidate, threshold=threshold)
    reasons = _by_itself(is_spam, candidate, threshold, say)
    caught = ~is_spam & (candidate >= threshold)
    if live is None:
        return GateResult(
            candidate=mine,
            live=None,
            differences={},
            reasons=tuple(reasons),
            newly_caught=_surest(caught, candidate),
        )
    limits = (threshold, threshold)
    found = paired_differences(is_spam, candidate, live, thresholds=limits, resamples=resamples)
    caught_now = ~is_spam & (live >= threshold)
    newly_marked = ~is_spam & (candidate >= COSTS_FROM) & (live < COSTS_FROM)
    lost = int((candidate[~is_spam] >= COSTS_FROM).sum() - (live[~is_spam] >= COSTS_FROM).sum())
    if lost > 0:
        reasons.append(say(_COSTS_HAM).format(ham=int((~is_spam).sum()), lost=lost))
    reasons += _worse_beyond_chance(found, say)
    return GateResult(
        candidate=mine,
        live=measure(is_spam, live, threshold=threshold),
        differences=found,
        reasons=tuple(reasons),
        newly_caught=_surest((caught & ~caught_now) | newly_marked, candidate),
    )


def _surest(chosen: BoolArray, probability: FloatArray) -> tuple[int, ...]:
    places = np.flatnonzero(chosen)
    return tuple(places[np.argsort(-probability[places], kind="stable")][:_MOST_NAMED].tolist())


def _by_itself(
    is_spam: BoolArray, candidate: FloatArray, threshold: float, say: Translator
) -> list[str]:
    """Return what speaks against a candidate whatever serves now."""
    ham, spam = int((~is_spam).sum()), int(is_spam.sum())
    reasons = []
    if min(ham, spam) < MIN_HELD_OUT:
        reasons.append(say(_TOO_LITTLE).format(ham=ham, spam=spam, needed=MIN_HELD_OUT))
    number = int((candidate[~is_spam] >= threshold).sum())
    if wilson_interval(number / ham, ham).low > MOST_CALLED_SPAM:
        limit = f"{MOST_CALLED_SPAM:g}"
        reasons.append(say(_CALLS_HAM_SPAM).format(number=number, ham=ham, limit=limit))
    return reasons


def _worse_beyond_chance(found: dict[str, Difference], say: Translator) -> list[str]:
    reasons = []
    for name, sentence, digits in (
        ("ham_misclassified_percent", _CALLS_MORE_HAM_SPAM, 2),
        ("spam_misclassified_percent", _MISSES_SPAM, 2),
        ("roca_complement_percent", _RANKS_WORSE, 3),
    ):
        value, interval = found[name].value, found[name].interval
        if interval.low > 0.0:
            numbers = {"value": value, "low": interval.low, "high": interval.high}
            told = {key: f"{number:.{digits}f}" for key, number in numbers.items()}
            reasons.append(say(sentence).format(**told))
    return reasons
