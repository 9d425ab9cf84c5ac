"""The track's measures, against scikit-learn, against brute force, and at their edges."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.measures import (
    MEASURE_NAMES,
    NothingToMeasure,
    RankedScores,
    lam_percent,
    measure,
    measure_one_kind,
)
from training.measures_bootstrap import intervals, intervals_of_one_kind, paired_differences

RANDOM = np.random.default_rng


def stream(seed: int, size: int = 400, digits: int = 1):
    random = RANDOM(seed)
    is_spam = random.random(size) < 0.6
    is_spam[:2] = [True, False]
    return is_spam, np.round(random.normal(size=size) + 1.5 * is_spam, digits)


@pytest.mark.parametrize("seed", range(8))
def test_roca_agrees_with_scikit_learn_also_with_many_ties(seed):
    is_spam, scores = stream(seed, digits=seed % 3)
    expected = 100.0 * (1.0 - roc_auc_score(is_spam, scores))
    assert measure(is_spam, scores).roca_complement_percent == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_roca_is_the_share_of_pairs_in_wrong_order(seed):
    is_spam, scores = stream(seed, size=60)
    ham, spam = scores[~is_spam], scores[is_spam]
    wrong = (ham[:, None] > spam).sum() + 0.5 * (ham[:, None] == spam).sum()
    expected = 100.0 * wrong / (len(ham) * len(spam))
    assert measure(is_spam, scores).roca_complement_percent == pytest.approx(expected)


def test_ends_of_the_scale():
    labels = np.array([False, True, False, True])
    right, wrong, same = np.array([0, 1, 0.1, 0.9]), np.array([1, 0, 0.9, 0.1]), np.full(4, 0.5)
    assert measure(labels, right).roca_complement_percent == 0.0
    assert measure(labels, wrong).roca_complement_percent == 100.0
    assert measure(labels, same).roca_complement_percent == 50.0
    assert measure(labels, same).ham_misclassified_percent == 100.0  # the threshold itself is spam
    assert measure(labels, same).spam_missed_percent_at_ham_0_1_percent == 100.0


def test_error_rates_at_the_threshold():
    labels = np.array([False] * 4 + [True] * 5)
    scores = np.array([0.1, 0.4, 0.5, 0.9, 0.2, 0.49, 0.5, 0.8, 0.9])
    found = measure(labels, scores)
    assert found.ham_misclassified_percent == 50.0
    assert found.spam_misclassified_percent == 40.0
    strict = measure(labels, scores, threshold=0.85)
    assert strict.ham_misclassified_percent == 25.0
    assert strict.spam_misclassified_percent == 80.0


def test_lam_is_the_mean_on_the_logistic_scale():
    equal = lam_percent(10_000, 100_000, 10_000, 100_000)
    assert equal == pytest.approx(10.0, abs=0.01)
    odds = math.sqrt((0.01 / 0.99) * (0.2 / 0.8))
    assert lam_percent(10_000, 1_000_000, 200_000, 1_000_000) == pytest.approx(
        100.0 * odds / (1.0 + odds), rel=1e-3
    )
    assert 0.0 < lam_percent(0, 100, 0, 100) < lam_percent(0, 100, 1, 100) < 1.0


def brute_missed(ham, spam):
    """Try every threshold: the best that calls at most 0.1% of the ham spam."""
    best = 1.0
    for threshold in [*np.unique(np.concatenate([ham, spam])), np.inf]:
        if (ham >= threshold).sum() <= 0.001 * len(ham):
            best = min(best, (spam < threshold).mean())
    return 100.0 * best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ham_count", [5, 999, 1000, 2500])
def test_spam_missed_is_what_the_best_threshold_misses(seed, ham_count):
    random = RANDOM(seed)
    ham = np.round(random.normal(size=ham_count), 2)
    spam = np.round(random.normal(size=500) + 2.5, 2)
    labels = np.array([False] * ham_count + [True] * 500)
    found = measure(labels, np.concatenate([ham, spam]))
    assert found.spam_missed_percent_at_ham_0_1_percent == pytest.approx(brute_missed(ham, spam))


def test_a_tie_with_the_first_ham_beyond_the_budget_is_missed():
    ham = np.concatenate([np.zeros(998), [0.9, 0.8]])  # 1 of 1000 may be called spam
    spam = np.array([0.95, 0.85, 0.8, 0.8])
    labels = np.array([False] * 1000 + [True] * 4)
    found = measure(labels, np.concatenate([ham, spam]))
    assert found.spam_missed_percent_at_ham_0_1_percent == 50.0


def test_extreme_scores_keep_their_order():
    labels = np.array([False, False, True, True])
    scores = np.array([-1e308, 1e-300, 2e-300, 1e308])
    assert measure(labels, scores).roca_complement_percent == 0.0
    assert measure(labels, np.array([-np.inf, 0, 1, np.inf])).roca_complement_percent == 0.0


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_one_class_alone_cannot_be_measured(labels):
    with pytest.raises(NothingToMeasure):
        measure(np.array(labels, dtype=bool), np.zeros(len(labels)))


def test_mail_of_one_kind_tells_one_rate():
    scores = np.array([0.1, 0.2, 0.5, 0.9])
    ham = measure_one_kind(np.zeros(4, dtype=bool), scores)
    assert ham.ham_misclassified_percent == 50.0
    assert math.isnan(ham.spam_misclassified_percent)
    assert not ham.complete()
    assert intervals_of_one_kind(ham, 4).keys() == {"ham_misclassified_percent"}
    spam = measure_one_kind(np.ones(4, dtype=bool), scores, threshold=0.6)
    assert spam.spam_misclassified_percent == 75.0
    assert math.isnan(spam.ham_misclassified_percent)
    with pytest.raises(NothingToMeasure):
        measure_one_kind(np.array([], dtype=bool), np.array([]))


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="not a number"):
        measure(np.array([True, False]), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="one label"):
        measure(np.array([True, False]), np.zeros(3))


@pytest.mark.parametrize("seed", range(4))
def test_a_weight_is_the_same_as_so_many_copies(seed):
    random = RANDOM(seed)
    is_spam, scores = stream(seed, size=1500)
    ham_weights = random.integers(0, 4, (~is_spam).sum())
    spam_weights = random.integers(0, 4, is_spam.sum())
    weights = np.empty(len(is_spam), dtype=int)
    weights[~is_spam], weights[is_spam] = ham_weights, spam_weights
    copied = measure(np.repeat(is_spam, weights), np.repeat(scores, weights))
    weighted = RankedScores(is_spam, scores).measure(ham_weights, spam_weights)
    assert weighted == copied


def test_intervals_hold_the_value_and_shrink_with_more_messages():
    small, large = (intervals(*stream(3, size=size), resamples=200) for size in (300, 30_000))
    found = measure(*stream(3, size=300)).as_dict()
    for name in MEASURE_NAMES:
        assert small[name].low <= found[name] <= small[name].high
        assert large[name].high - large[name].low < small[name].high - small[name].low


def test_the_interval_of_roca_covers_the_truth_about_as_often_as_it_says():
    # Normal scores one and a half apart: AUC = Phi(1.5 / sqrt(2)).
    truth = 100.0 * (1.0 - 0.5 * (1.0 + math.erf(1.5 / 2.0)))
    covered = 0
    for seed in range(60):
        found = intervals(*stream(seed, size=300, digits=9), resamples=120, seed=seed)
        interval = found["roca_complement_percent"]
        covered += interval.low <= truth <= interval.high
    assert covered >= 51  # 57 expected; fewer than 51 has a chance below one in a thousand


def test_no_error_at_all_is_not_a_certain_zero():
    labels = np.array([False] * 100 + [True] * 100)
    found = intervals(labels, labels.astype(float), resamples=50)
    assert found["ham_misclassified_percent"].low == 0.0
    assert found["ham_misclassified_percent"].high == pytest.approx(3.7, abs=0.1)  # Wilson


def test_the_same_seed_gives_the_same_intervals():
    labels, scores = stream(1)
    first, second = (intervals(labels, scores, resamples=50, seed=7) for _ in range(2))
    assert first == second
    assert intervals(labels, scores, resamples=50, seed=8) != first


def test_a_filter_does_not_differ_from_itself():
    labels, scores = stream(2)
    for difference in paired_differences(labels, scores, scores, resamples=50).values():
        assert (difference.value, difference.interval.low, difference.interval.high) == (0, 0, 0)
        assert not difference.interval.excludes_zero()


def test_pairing_sees_a_small_difference_that_two_intervals_hide():
    labels, better = stream(5, size=4000, digits=9)
    worse = better + RANDOM(6).normal(size=4000) * 0.4
    name = "roca_complement_percent"
    alone, other = (intervals(labels, s, resamples=200)[name] for s in (better, worse))
    assert alone.high > other.low  # they overlap
    difference = paired_differences(labels, better, worse, resamples=200)[name]
    assert difference.value < 0.0
    assert difference.interval.excludes_zero()
