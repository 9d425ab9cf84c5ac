"""Fits a learner and its calibration on labelled mail, always in one order.

The calibration is fitted on what the learner said of mail before it learned it, in the random order
of training: one block of time alone is too much of a kind. Campaigns count once a day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.bundle import Bundle
from models.calibration import Calibration
from models.features import Features
from training.calibrate import fit_cautious_calibration
from training.lessons import Lessons
from training.measures import BoolArray, FloatArray
from training.online import OnlineFilter
from training.split import IntArray, once_a_day
from training.train import canonical_turns

SEED: Final = 1
_ASKED_FROM: Final = 1 / 3
"""The share of what is to be learned behind which a learner's opinion counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A learner, and what it said of mail before it learned it.

    ``asked`` are positions of mail whose campaign it had not met, ``log_odds`` its answers.
    """

    learner: OnlineFilter
    asked: IntArray
    log_odds: FloatArray


class Trainer:
    """Fits models on parts of the same lessons, beginning with ``start`` or with nothing.

    The lessons stand in order of time; ``groups`` numbers their campaigns.
    """

    def __init__(
        self,
        lessons: Lessons,
        groups: IntArray,
        start: Bundle | None,
        on_step: Callable[[], None] = lambda: None,
        seed: int = SEED,
    ) -> None:
        self.lessons = lessons
        self.labels = lessons.labels()
        self.groups = groups
        self._start = start
        self._on_step = on_step
        self._turns = canonical_turns(lessons.examples, seed)

    def fitted(self, positions: IntArray) -> Fit:
        """Learn what stands at these positions, of each campaign one message a day and label.

        From a third on the learner is asked about each message of a campaign it has not met,
        just before it learns it (prequential: Dawid 1984). That costs nothing, for scoring is the
        first half of learning.
        """
        learner = OnlineFilter(self._start)
        ordered = self._in_turn(self._once_a_day(positions))
        is_asked = asked(self.groups[ordered], self.labels[ordered])
        log_odds = []
        for place, is_new in zip(ordered.tolist(), is_asked.tolist(), strict=True):
            features = self._features(place)
            if is_new:
                log_odds.append(learner.log_odds(features))
            learner.learn(features, is_spam=self.lessons.examples[place].is_spam)
            self._on_step()
        return Fit(learner=learner, asked=ordered[is_asked], log_odds=np.array(log_odds))

    def go_on(self, learner: OnlineFilter, learned: IntArray) -> None:
        """Let a learner that was fitted on these positions learn all others, too."""
        everything = self._once_a_day(np.arange(len(self.lessons)))
        for place in self._in_turn(everything[~np.isin(everything, learned)]).tolist():
            is_spam = self.lessons.examples[place].is_spam
            learner.learn(self._features(place), is_spam=is_spam)
            self._on_step()

    def calibration(self, fit: Fit) -> Calibration:
        """Return what a learner's log odds are worth. Raises ValueError if a kind is missing."""
        return fit_cautious_calibration(fit.log_odds, self.labels[fit.asked])

    def log_odds(self, learner: OnlineFilter, positions: IntArray) -> FloatArray:
        """Score what stands at these positions."""
        return np.array([learner.log_odds(self._features(at)) for at in positions.tolist()])

    def calibrated(self, learned: IntArray, tested: IntArray) -> FloatArray:
        """Learn and calibrate on the first positions, score the second."""
        fit = self.fitted(learned)
        found = self.calibration(fit)
        log_odds = self.log_odds(fit.learner, tested)
        return np.asarray(found.slope * log_odds + found.offset, np.float64)

    def _once_a_day(self, positions: IntArray) -> IntArray:
        return once_a_day(np.sort(positions), self.lessons.times, self.groups, self.labels)

    def _in_turn(self, positions: IntArray) -> IntArray:
        return positions[np.argsort(self._turns[positions], kind="stable")]

    def _features(self, position: int) -> Features:
        return Features.from_checked(self.lessons.examples[position].stored)


def asked(groups: IntArray, is_spam: BoolArray) -> BoolArray:
    """Say of which messages, in the order they are learned, a learner's opinion counts.

    Only the first of a campaign is new to it, and in its first third it knows too little. Where
    one kind would be missing, its opinion counts from the beginning.
    """
    _, first = np.unique(groups, return_index=True)
    is_new = np.zeros(len(groups), np.bool_)
    is_new[first] = True
    later = is_new & (np.arange(len(groups)) >= int(len(groups) * _ASKED_FROM))
    return later if 0 < is_spam[later].sum() < later.sum() else is_new
