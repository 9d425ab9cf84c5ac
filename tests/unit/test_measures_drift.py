"""Drift: quiet while the mail stays the same, loud with a step when it changes."""

import math
import random

import pytest

from models.drift import (
    DayFacts,
    DriftCode,
    Judged,
    Scored,
    Step,
    facts_by_day,
    findings,
    stability_index,
    window,
)

DAY_MS = 86_400_000


def mail(day: int, count: int, *, spam_share=0.5, known=0.9, seed=0):
    chance = random.Random(seed * 1000 + day)
    for _ in range(count):
        sure = chance.betavariate(1, 12)
        is_spam = chance.random() < spam_share
        yield Scored(
            at_ms=day * DAY_MS + chance.randrange(DAY_MS),
            probability=1.0 - sure if is_spam else sure,
            known_share=min(1.0, max(0.0, chance.gauss(known, 0.05))),
        )


def labels(day: int, count: int, wrong: int):
    return [
        Judged(at_ms=day * DAY_MS, is_spam=True, was_called_spam=number >= wrong)
        for number in range(count)
    ]


def facts(*, count=500, wrong=0, labelled=0, **changes) -> DayFacts:
    (day,) = facts_by_day(mail(1, count, **changes), labels(1, labelled, wrong))
    return day


def codes(before, now):
    return [finding.code for finding in findings(before, now)]


def test_days_hold_what_came_on_them():
    days = facts_by_day(
        [*mail(7, 30), *mail(5, 20)], [*labels(7, 4, wrong=1), *labels(9, 2, wrong=2)]
    )
    assert [(d.day, d.messages, d.labels, d.disagreements) for d in days] == [
        (5, 20, 0, 0),
        (7, 30, 4, 1),
        (9, 0, 2, 2),
    ]
    assert sum(days[1].score_bins) == 30
    whole = window(days, 5, 7)
    assert (whole.messages, whole.labels) == (50, 4)
    assert whole.unknown_share_sum == pytest.approx(
        days[0].unknown_share_sum + days[1].unknown_share_sum
    )


@pytest.mark.parametrize(("probability", "place"), [(0.0, 0), (0.0999, 0), (0.5, 5), (1.0, 9)])
def test_each_probability_has_its_bin(probability, place):
    (day,) = facts_by_day([Scored(at_ms=0, probability=probability, known_share=1.0)], [])
    assert day.score_bins[place] == 1
    assert day.unknown_share_sum == 0.0


def test_the_stability_index_is_the_textbook_sum():
    assert stability_index([50, 50], [50, 50]) == 0.0
    p, q = (50.5 / 101, 50.5 / 101), (90.5 / 101, 10.5 / 101)
    expected = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert stability_index([50, 50], [90, 10]) == pytest.approx(expected)
    assert stability_index([90, 10], [50, 50]) == pytest.approx(expected)
    assert math.isfinite(stability_index([100, 0], [0, 100]))


@pytest.mark.parametrize("seed", range(10))
def test_the_same_mail_raises_nothing(seed):
    assert codes(facts(), facts(seed=seed + 1, labelled=50, wrong=1)) == []


def test_another_mix_of_scores_is_a_shift():
    (finding,) = findings(facts(), facts(spam_share=0.95, seed=1))
    assert (finding.code, finding.step) == (DriftCode.SCORES_SHIFTED, Step.REVIEW_LABELS)
    assert finding.parameters["index"] > 0.25


def test_strange_mail_asks_for_a_retraining():
    (finding,) = findings(facts(), facts(known=0.7, seed=1))
    assert (finding.code, finding.step) == (DriftCode.MORE_UNKNOWN, Step.RETRAIN)
    assert finding.parameters["now"] == pytest.approx(0.3, abs=0.02)
    assert codes(facts(known=1.0), facts(known=0.985, seed=1)) == []


@pytest.mark.parametrize(
    ("labelled", "wrong", "raised"),
    [(29, 29, False), (30, 8, True), (200, 5, False), (200, 20, True)],
)
def test_people_who_disagree_more_than_by_chance(labelled, wrong, raised):
    found = codes(facts(labelled=200, wrong=2), facts(labelled=labelled, wrong=wrong, seed=1))
    assert found == ([DriftCode.MORE_DISAGREEMENT] if raised else [])


def test_too_little_mail_says_so_and_still_hears_people():
    found = codes(facts(), facts(count=100, spam_share=1.0, labelled=40, wrong=30))
    assert found == [DriftCode.TOO_LITTLE_MAIL, DriftCode.MORE_DISAGREEMENT]
