"""The folds that a site's calibration is fitted across."""

import numpy as np
import pytest

from training.candidate import folds


@pytest.mark.parametrize("pattern", ["hs", "hhs", "hssh", "h" * 20 + "s" * 20, "hhhhhhhhhs"])
def test_each_fold_has_its_share_of_ham_and_spam(pattern: str) -> None:
    is_spam = np.array([kind == "s" for kind in pattern * (240 // len(pattern))])
    found = folds(np.arange(len(is_spam)), is_spam)
    for kind in (True, False):
        counts = np.bincount(found[is_spam == kind])
        assert len(counts) > 1
        assert counts.max() - counts.min() <= 1


def test_a_campaign_is_never_on_both_sides() -> None:
    random = np.random.default_rng(5)
    groups = random.integers(0, 40, size=400)
    found = folds(groups, random.random(400) < 0.5)
    assert all(len(set(found[groups == group])) == 1 for group in set(groups.tolist()))
