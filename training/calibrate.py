"""Fitting the calibration: how much a score is to be believed on mail the model has not seen."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from models.calibration import DEFAULT_SCALE, Calibration, PointsScale
from training.measures import BoolArray, FloatArray

_STEPS: Final = 50
_SMALLEST_SLOPE: Final = 1e-3


def fit_calibration(log_odds: FloatArray, is_spam: BoolArray) -> Calibration:
    """Fit slope and offset by Platt's method (1999), both classes weighing the same.

    Targets are drawn in by one message per class, so that a perfect separation does not push the
    slope to infinity. ``log_odds`` must come from messages the model was not trained on.

    Raises ValueError if a class is missing.
    """
    columns = np.column_stack([log_odds, np.ones(len(log_odds))])
    slope, offset = _solved(columns, is_spam).tolist()
    return _rounded(slope, offset)


def fit_cautious_calibration(log_odds: FloatArray, is_spam: BoolArray) -> Calibration:
    """Fit as `fit_calibration`, but let no evidence (log odds of zero) never count as spam.

    Known ham lies further from zero than known spam, so the free fit puts the border below zero.
    New kinds of ham then come out as spam just because nothing speaks for them: measured
    (``docs/learning.md``), 23 % of the ham of a month that followed. So the offset is at most zero.

    Raises ValueError if a class is missing.
    """
    free = fit_calibration(log_odds, is_spam)
    if free.offset <= 0.0:
        return free
    return _rounded(float(_solved(log_odds[:, None], is_spam)[0]), 0.0)


def probability_worth(points: float, cap: float, scale: PointsScale = DEFAULT_SCALE) -> float:
    """Return the probability from which a known message gets so many points of a model's cap.

    Above 1, so never reached, when the cap is lower.
    """
    if points > cap:
        return 2.0
    low, high = (math.log(p / (1.0 - p)) for p in (scale.unsure_from, scale.sure_from))
    return 1.0 / (1.0 + math.exp(-(low + (high - low) * points / cap)))


def _solved(columns: FloatArray, is_spam: BoolArray) -> FloatArray:
    """Return the logistic regression's weight of each column, by Newton's method."""
    spam = int(np.count_nonzero(is_spam))
    ham = len(is_spam) - spam
    if not spam or not ham:
        raise ValueError("a calibration needs ham and spam")
    target = np.where(is_spam, (spam + 1.0) / (spam + 2.0), 1.0 / (ham + 2.0))
    weight = np.where(is_spam, 0.5 / spam, 0.5 / ham)
    solution = np.zeros(columns.shape[1])
    solution[0] = 1.0
    for _ in range(_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(columns @ solution, -30.0, 30.0)))
        gradient = columns.T @ (weight * (probability - target))
        curvature = weight * np.maximum(probability * (1.0 - probability), 1e-9)
        hessian = (columns * curvature[:, None]).T @ columns + 1e-9 * np.eye(len(solution))
        step = np.linalg.solve(hessian, gradient)
        solution = solution - step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if float(np.abs(step).max()) < 1e-9:
            break
    return np.asarray(solution, np.float64)


def _rounded(slope: float, offset: float) -> Calibration:
    # Rounded: the last bits differ between processors, and the digest covers them.
    return Calibration(slope=round(max(_SMALLEST_SLOPE, slope), 3), offset=round(offset, 3))
