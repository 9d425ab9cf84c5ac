"""Whose opinion a site's calibration is fitted on: a learner's, of mail that is new to it."""

import numpy as np
import pytest

from training.trainer import asked


def test_only_the_first_of_a_campaign_is_new() -> None:
    random = np.random.default_rng(5)
    groups = random.integers(0, 200, size=600)
    found = asked(groups, random.random(600) < 0.5)
    for place in np.flatnonzero(found).tolist():
        assert groups[place] not in groups[:place]


def test_the_first_third_is_learned_unasked() -> None:
    found = asked(np.arange(300), np.arange(300) % 2 == 0)
    assert np.flatnonzero(found).tolist() == list(range(100, 300))


@pytest.mark.parametrize("spam", [range(10), range(290)])
def test_where_a_kind_would_be_missing_all_counts(spam: range) -> None:
    found = asked(np.arange(300), np.isin(np.arange(300), spam))
    assert found.all() == (spam == range(10))


def test_nothing_is_asked_of_nothing() -> None:
    assert asked(np.arange(0), np.zeros(0, np.bool_)).tolist() == []
