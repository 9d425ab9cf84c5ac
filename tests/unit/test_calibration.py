"""Probabilities that keep the order of scores, and points that stay within their cap."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calibration import HAM_POINTS, Calibration, points, squashed
from models.classifier import ContentScore
from training.calibrate import fit_calibration, fit_cautious_calibration


def score(probability: float, known_share: float = 1.0) -> ContentScore:
    return ContentScore(
        probability=probability,
        log_odds=0.0,
        known_share=known_share,
        naive_log_odds=0.0,
        pattern_log_odds=0.0,
    )


def test_probability_keeps_the_order_of_scores() -> None:
    log_odds = np.linspace(-200.0, 200.0, 4001)
    probabilities = [Calibration().probability(float(value)) for value in log_odds]
    assert all(a < b for a, b in itertools.pairwise(probabilities))
    assert 0.0 < probabilities[0] < 1e-8
    assert 1.0 - 1e-8 < probabilities[-1] < 1.0


def test_the_middle_of_the_scale_is_the_logistic_function() -> None:
    assert squashed(0.0) == 0.5
    assert squashed(2.0) == pytest.approx(1.0 / (1.0 + np.exp(-2.0)))


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.sampled_from([3.0, 9.0]))
def test_points_rise_with_probability_and_stay_within_bounds(
    first: float, second: float, known: float, cap: float
) -> None:
    low, high = sorted((first, second))
    assert HAM_POINTS <= points(score(low, known), cap) <= points(score(high, known), cap) <= cap


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_knowing_less_moves_points_towards_zero(p: float, first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert abs(points(score(p, low), 3.0)) <= abs(points(score(p, high), 3.0))


def test_the_ends_of_the_points() -> None:
    assert points(score(1.0 - 1e-9), 3.0) == 3.0
    assert points(score(0.5), 3.0) == points(score(0.2), 3.0) == 0.0
    assert points(score(1e-9), 3.0) == HAM_POINTS
    assert points(score(1.0 - 1e-9, 0.0), 9.0) == 0.0


def test_calibration_finds_the_true_slope_and_offset() -> None:
    generator = np.random.default_rng(7)
    is_spam = generator.random(20_000) < 0.5
    # Two normal classes: the log odds of the scores are exactly slope 2, offset -1.
    scores = np.where(
        is_spam, generator.normal(1.5, 1.0, 20_000), generator.normal(-0.5, 1.0, 20_000)
    )
    found = fit_calibration(scores, is_spam)
    assert found.slope == pytest.approx(2.0, abs=0.1)
    assert found.offset == pytest.approx(-1.0, abs=0.1)


def test_calibration_of_separable_scores_stays_finite() -> None:
    found = fit_calibration(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert 0.0 < found.slope < 10.0


def test_calibration_needs_both_classes() -> None:
    with pytest.raises(ValueError, match="ham and spam"):
        fit_calibration(np.array([1.0, 2.0]), np.array([True, True]))


def lopsided(spam_at: float, ham_at: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    is_spam = generator.random(20_000) < 0.5
    spam, ham = generator.normal(spam_at, 2.0, 20_000), generator.normal(ham_at, 2.0, 20_000)
    return np.where(is_spam, spam, ham), is_spam


def test_no_evidence_is_never_spam_however_far_away_known_ham_lies() -> None:
    scores, is_spam = lopsided(spam_at=3.0, ham_at=-8.0)
    assert fit_calibration(scores, is_spam).probability(0.0) > 0.9
    cautious = fit_cautious_calibration(scores, is_spam)
    assert cautious.probability(0.0) == 0.5
    assert cautious.probability(6.0) > 0.95
    assert cautious.probability(-8.0) < 0.05


def test_a_border_above_zero_stays_where_it_was_found() -> None:
    scores, is_spam = lopsided(spam_at=8.0, ham_at=-3.0)
    found = fit_cautious_calibration(scores, is_spam)
    assert found.slope == 1.0  # the free fit is surer
    assert found.probability(2.5) == pytest.approx(0.5, abs=0.05)


def test_wrong_clicks_move_the_border_little() -> None:
    scores, is_spam = lopsided(spam_at=8.0, ham_at=-8.0)
    clicked = is_spam ^ (np.arange(len(is_spam)) % 50 == 0)
    slipped = np.where(np.arange(len(is_spam)) % 25 == 0, False, is_spam)  # one way only
    right = fit_cautious_calibration(scores, is_spam)
    for labels in (clicked, slipped):
        found = fit_cautious_calibration(scores, labels)
        assert found.probability(2.0) > 0.5 >= found.probability(-1.0)
        assert found.slope > 0.7 * right.slope
    assert fit_calibration(scores, slipped).slope < 0.7 * right.slope
