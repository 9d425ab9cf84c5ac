"""Fitting the calibration: how much a score is to be believed on mail the model has not seen."""

from __future__ import annotations

from typing import Final

import numpy as np

from gateway.locale import N_
from models.calibration import Calibration
from models.classifier import label_belief
from training.measures import BoolArray, FloatArray

_STEPS: Final = 50
_SMALLEST_SLOPE: Final = 1e-3
_SLIPS: Final = 0.01
"""The share of labels that may be slips of the hand."""


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
    """Fit as `fit_calibration`, but forgive wrong clicks, and let no evidence never be spam.

    One label in a hundred may be a slip: by Platt's loss alone a handful of spam labelled ham moves
    the border so far that a third of the spam is missed. So each label is believed as much as
    the fit so far makes it likely (expectation maximisation, Dempster, Laird and Rubin 1977).

    Known ham lies further from zero than known spam, so the free fit puts the border below zero.
    New kinds of ham then come out as spam just because nothing speaks for them: measured
    (``docs/learning.md``), 23 % of the ham of a month that followed. So the offset is at most zero.
    Nor may the slope exceed one: the model would be surer of its mail than it was when it learned.

    Raises ValueError if a class is missing.
    """
    both = np.column_stack([log_odds, np.ones(len(log_odds))])
    slope, offset = _forgiving(both, is_spam).tolist()
    if offset > 0.0:
        slope, offset = float(_forgiving(log_odds[:, None], is_spam)[0]), 0.0
    if slope > 1.0:  # the border stays where it is
        slope, offset = 1.0, offset / slope
    return _rounded(slope, offset)


def _forgiving(columns: FloatArray, is_spam: BoolArray) -> FloatArray:
    solution = _solved(columns, is_spam)
    for _ in range(_STEPS):
        towards_label = np.where(is_spam, 1.0, -1.0) * (columns @ solution)
        likely = 1.0 / (1.0 + np.exp(-np.clip(towards_label, -30.0, 30.0)))
        believed = label_belief(likely, _SLIPS)
        before, solution = solution, _solved(columns, is_spam, believed)
        if float(np.abs(solution - before).max()) < 1e-6:
            break
    return solution


def _solved(
    columns: FloatArray, is_spam: BoolArray, believed: FloatArray | None = None
) -> FloatArray:
    """Return the logistic regression's weight of each column, by Newton's method.

    ``believed`` says of each label how much it counts, 0 to 1; all count fully without it.
    """
    spam = int(np.count_nonzero(is_spam))
    ham = len(is_spam) - spam
    if not spam or not ham:
        raise ValueError(N_("a calibration needs ham and spam"))
    target = np.where(is_spam, (spam + 1.0) / (spam + 2.0), 1.0 / (ham + 2.0))
    weight = np.ones(len(is_spam)) if believed is None else believed.copy()
    for kind in (is_spam, ~is_spam):
        weight[kind] *= 0.5 / float(weight[kind].sum())
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
