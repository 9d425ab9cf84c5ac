"""How much of a message a model knows: words that only share a number with others do not count."""

import random

import numpy as np
import pytest

from models.bundle import Bundle
from models.classifier import beyond_chance
from models.features import LEXICAL, extract
from models.manifest import Manifest
from models.message import scan
from training.online import OnlineFilter


def crowded(share: float) -> Bundle:
    """A model that has met this share of all numbers, in messages of its own."""
    chance = np.random.default_rng(5)
    learner = OnlineFilter()
    met = chance.choice(LEXICAL, round(LEXICAL * share), replace=False)
    learner.counts.ham[met[::2]] = 1
    learner.counts.spam[met[1::2]] = 1
    learner.counts.ham_messages = learner.counts.spam_messages = 1000
    return learner.publishable(Manifest(origin="site", ham_messages=0, spam_messages=0))


def invented(seed: int) -> bytes:
    letters = random.Random(seed)
    words = ("".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(400))
    return b"Subject: x\n\n" + " ".join(words).encode()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_of_invented_words_a_model_knows_none(share: float) -> None:
    model = crowded(share)
    raws = [invented(seed) for seed in range(10)]
    found = [model.score(scan(raw), raw) for raw in raws]
    by_number = np.mean([model.classifier.parts(extract(scan(r), r)).known_share for r in raws])
    assert by_number == pytest.approx(share, abs=0.02)
    assert np.mean([one.known_share for one in found]) < 0.03
    assert [model.points(one) for one in found] == [0.0] * len(found)


def test_what_all_of_is_known_stays_known() -> None:
    assert beyond_chance(1.0, 0.4) == 1.0
    assert beyond_chance(0.7, 0.4) == pytest.approx(0.5)
    assert beyond_chance(0.3, 0.4) == 0.0
    assert beyond_chance(1.0, 1.0) == 0.0
    assert beyond_chance(0.61, 0.0) == 0.61
