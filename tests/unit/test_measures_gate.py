"""The gate: who may serve, and what it says to who may not."""

import numpy as np
import pytest

from gateway.locale import translator
from models.calibration import SITE_CAP, points
from models.classifier import ContentScore
from training.cli_train_gate import COSTS_FROM, MIN_HELD_OUT, judge
from training.measures import NothingToMeasure

LABELS = np.arange(1000) % 2 == 0  # 500 ham, 500 spam
HAM, SPAM = np.flatnonzero(~LABELS), np.flatnonzero(LABELS)


def scores(*, ham_errors: int = 0, spam_errors: int = 0, seed: int = 0):
    random = np.random.default_rng(seed)
    found = np.where(LABELS, 0.9, 0.1) + random.normal(size=1000) * 0.01
    found[HAM[:ham_errors]] = 0.7
    found[SPAM[:spam_errors]] = 0.3
    return found


def reasons(candidate, live, labels=LABELS):
    result = judge(labels, candidate, live, str, threshold=0.5, resamples=200)
    assert result.passed is not bool(result.reasons)
    return result.reasons


def test_an_equal_and_a_better_candidate_pass():
    live = scores(ham_errors=5, spam_errors=20)
    assert reasons(live, live) == ()
    assert reasons(scores(ham_errors=2, spam_errors=3), live) == ()


def test_one_more_ham_that_would_be_marked_is_enough_to_refuse():
    candidate = scores(ham_errors=2, spam_errors=5)
    candidate[HAM[0]] = 0.95
    (reason,) = reasons(candidate, scores(ham_errors=2, spam_errors=20))
    assert reason.startswith("it costs ham: 1 more of the 500 held-out ham would be marked or held")


def test_ham_is_cost_from_the_points_on_that_have_it_marked():
    score = ContentScore(
        probability=COSTS_FROM,
        log_odds=0.0,
        known_share=1.0,
        naive_log_odds=0.0,
        pattern_log_odds=0.0,
    )
    assert points(score, SITE_CAP) == 4.0


def test_more_ham_called_spam_that_nobody_would_notice_refuses_only_beyond_chance():
    live = scores(ham_errors=2)
    assert reasons(scores(ham_errors=4), live) == ()
    (reason,) = reasons(scores(ham_errors=11), live)
    assert reason.startswith("it calls more good mail spam: 1.80 percentage points more")


def test_more_missed_spam_refuses_only_beyond_chance():
    live = scores(spam_errors=20)
    assert reasons(scores(spam_errors=21), live) == ()
    found = reasons(scores(spam_errors=90), live)
    assert any("misses more spam: 14.00 percentage points" in reason for reason in found)


def test_worse_ranks_refuse_where_no_threshold_shows_it():
    live = scores()
    candidate = live.copy()
    candidate[HAM[:100]] = 0.45
    candidate[SPAM[:100]] = 0.55
    candidate[SPAM[100:250]] = 0.52
    candidate[HAM[250:300]] = 0.49
    assert reasons(candidate, live) == ()  # order is kept: no error at any threshold
    candidate[SPAM[:100]] = 0.47
    candidate[HAM[:100]] = 0.48
    both = reasons(candidate, np.where(LABELS, live - 0.5, live - 0.9))
    assert any("tells ham and spam apart less well" in reason for reason in both)


def test_too_little_mail_is_no_proof():
    few = np.concatenate([SPAM[:200], HAM[: MIN_HELD_OUT - 1]])
    (reason,) = reasons(scores()[few], scores()[few], LABELS[few])
    assert reason.startswith("too little mail to judge by: 49 ham and 200 spam")


def test_without_a_serving_model_the_candidate_is_measured_alone():
    result = judge(LABELS, scores(ham_errors=5), None, str, threshold=0.5)
    assert result.passed
    assert result.live is None
    assert result.differences == {}
    assert result.candidate.ham_misclassified_percent == 1.0


def test_one_kind_of_mail_is_no_test():
    with pytest.raises(NothingToMeasure):
        judge(LABELS[HAM], scores()[HAM], None, str, threshold=0.5)


def test_a_candidate_that_calls_much_good_mail_spam_is_refused_whatever_serves():
    fifth = scores(ham_errors=94)  # 18.8 percent of 500
    for live in (None, fifth):
        assert reasons(fifth, live) == (
            "it calls good mail spam: 94 of 500 held-out ham, surely more than 2 %",
        )
    assert reasons(scores(ham_errors=12), None) == ()  # 2.4 percent may be chance


def test_the_ham_that_only_the_candidate_catches_is_named_the_surest_first():
    live, candidate = scores(ham_errors=2), scores(ham_errors=1)
    candidate[HAM[[5, 7]]] = [0.6, 0.96]
    result = judge(LABELS, candidate, live, str, threshold=0.5, resamples=50)
    assert result.newly_caught == (HAM[7], HAM[5])
    assert not result.passed


def test_the_ham_that_only_the_candidate_would_have_marked_is_named_too():
    """The serving model calls it spam as well, but not so surely that it costs anything."""
    live, candidate = scores(), scores()
    live[HAM[3]], candidate[HAM[3]] = 0.6, 0.99
    result = judge(LABELS, candidate, live, str, threshold=0.5, resamples=50)
    assert any("costs ham" in reason for reason in result.reasons)
    assert result.newly_caught == (HAM[3],)


def test_the_gate_speaks_german():
    german = translator("de")
    result = judge(LABELS, scores(ham_errors=94), scores(), german, threshold=0.5, resamples=50)
    assert result.reasons[0] == (
        "es nennt erwünschte Nachrichten Spam: 94 von 500 zurückgehaltenen, sicher mehr als 2 %"
    )
