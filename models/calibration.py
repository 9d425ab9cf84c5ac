"""From log odds to a probability one can trust, and from there to points a gateway may give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from models.classifier import ContentScore

BASELINE_CAP: Final = 3.0
"""Points the shipped model may give at most: it has never seen the site's mail."""
SITE_CAP: Final = 9.0
"""Points a model trained on the site's own mail may give at most."""
HAM_POINTS: Final = -1.0
"""Points for mail that is surely good. Small: a spammer can write good words, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Probability = sigmoid(slope * log odds + offset), fitted on mail the model has not seen.

    Source: Platt 1999. ``slope`` is above zero, so ranks never change.
    """

    slope: float = 1.0
    offset: float = 0.0

    def probability(self, log_odds: float) -> float:
        """Return the spam probability; strictly rising as long as doubles can tell."""
        return squashed(self.slope * log_odds + self.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsScale:
    """Which probabilities are worth points.

    From ``sure_from`` on a message gets the full cap, up to ``unsure_from`` none; between, points
    rise evenly with the log odds. In the same way they fall from none at ``ham_from`` to
    `HAM_POINTS` at ``surely_ham_from``. ``knows_little`` and ``knows_enough`` are known shares: a
    message below the first gets no points, and from the second on all that it has earned.
    """

    surely_ham_from: float = 0.001
    ham_from: float = 0.1
    unsure_from: float = 0.7
    sure_from: float = 0.995
    knows_little: float = 0.2
    knows_enough: float = 0.5


DEFAULT_SCALE: Final = PointsScale()


def points(score: ContentScore, cap: float, scale: PointsScale = DEFAULT_SCALE) -> float:
    """Return the points a score is worth, from `HAM_POINTS` to ``cap``.

    Never falls when the probability rises; moves towards zero when less of the message is known.
    """
    span = max(1e-9, scale.knows_enough - scale.knows_little)
    knowledge = min(1.0, max(0.0, (score.known_share - scale.knows_little) / span))
    spam = _ramp(score.probability, scale.unsure_from, scale.sure_from)
    if spam > 0.0:
        return round(cap * spam * knowledge, 3)
    ham = _ramp(1.0 - score.probability, 1.0 - scale.ham_from, 1.0 - scale.surely_ham_from)
    return round(HAM_POINTS * ham * knowledge, 3) + 0.0


def probability_worth(wanted: float, cap: float, scale: PointsScale = DEFAULT_SCALE) -> float:
    """Return the probability from which a message that is well known gets so many spam points."""
    low, high = _logit(scale.unsure_from), _logit(scale.sure_from)
    return 1.0 / (1.0 + math.exp(-(low + (high - low) * wanted / cap)))


def _ramp(probability: float, begin: float, end: float) -> float:
    low, high = _logit(begin), _logit(end)
    return min(1.0, max(0.0, (_logit(probability) - low) / max(1e-9, high - low)))


def _logit(probability: float) -> float:
    bounded = min(1.0 - 1e-15, max(1e-15, probability))
    return math.log(bounded / (1.0 - bounded))


def squashed(log_odds: float) -> float:
    """Return a probability whose order is still that of the log odds where doubles run out.

    Beyond 20 the log odds grow by their logarithm only, so that two sure cases keep their order.
    """
    size = abs(log_odds)
    if size > 20.0:
        size = 20.0 + math.log1p(size - 20.0)
    grown = math.exp(-size)
    return 1.0 / (1.0 + grown) if log_odds >= 0 else grown / (1.0 + grown)
