"""The learner behind evaluation, judge and training."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle
from models.manifest import Manifest
from models.registry import baseline_directory
from training.online import OnlineFilter
from training.train import Example, canonical_order, fit

Mail = list[tuple[bytes, bool]]


@pytest.fixture(scope="module")
def mail(mail_data: Path) -> Mail:
    """The shared messages, ham and spam in turn as far as both last."""
    lines = [line.split(" ", 1) for line in (mail_data / "index").read_text().splitlines()]
    loaded = [((mail_data / path).read_bytes(), label == "spam") for label, path in lines]
    ham = [item for item in loaded if not item[1]]
    spam = [item for item in loaded if item[1]]
    turns = itertools.zip_longest(ham, spam)
    return [item for pair in turns for item in pair if item is not None]


def test_learning_moves_the_score_the_right_way(mail: Mail) -> None:
    learner = OnlineFilter()
    unsure = 0
    for raw, is_spam in mail:
        before = learner.classify(raw)
        learner.train(raw, is_spam)
        # Of what is sure already nothing is left to learn, and the class sizes shift the balance.
        if 0.01 < before < 0.99:
            unsure += 1
            assert (learner.classify(raw) > before) is is_spam
    assert unsure > 20


def test_what_was_learned_is_known_afterwards(mail: Mail) -> None:
    learner = OnlineFilter()
    for raw, is_spam in mail * 2:
        learner.train(raw, is_spam)
    assert all((learner.classify(raw) > 0.5) is is_spam for raw, is_spam in mail)


def test_a_bundle_scores_as_its_learner_does_and_goes_on_from_there(mail: Mail) -> None:
    learner = OnlineFilter()
    for raw, is_spam in mail[:40]:
        learner.train(raw, is_spam)
    bundle = learner.publishable(Manifest(origin="site", ham_messages=0, spam_messages=0))
    again = OnlineFilter(bundle)
    untouched = bundle.compute_digest()
    for raw, is_spam in mail[40:]:
        # Published weights are rounded to 2**-12; a few thousand of them are summed.
        difference = again.log_odds(again.features(raw)) - learner.log_odds(learner.features(raw))
        assert abs(difference) < 0.1
        again.train(raw, is_spam)
        learner.train(raw, is_spam)
    assert bundle.compute_digest() == untouched


def test_unlearning_takes_a_message_out_of_the_counts(mail: Mail) -> None:
    learner = OnlineFilter()
    for raw, is_spam in mail[:20]:
        learner.train(raw, is_spam)
    before = learner.counts.digest()
    learner.train(mail[20][0], True)
    learner.untrain(mail[20][0], True)
    assert learner.counts.digest() == before
    with pytest.raises(ValueError, match="not counted"):
        learner.untrain(b"Subject: never\n\nnever seen before\n", True)


def test_training_does_not_depend_on_the_order_of_gathering(mail: Mail) -> None:
    extractor = OnlineFilter()
    examples = [
        Example(stored=extractor.features(raw).to_bytes(), is_spam=is_spam) for raw, is_spam in mail
    ]
    first = fit(examples, seed=1, epochs=2)
    second = fit(reversed(examples), seed=1, epochs=2)
    assert np.array_equal(first.second.weights, second.second.weights)
    assert first.counts.digest() == second.counts.digest()
    assert first.counts.ham_messages + first.counts.spam_messages == len(mail)
    assert canonical_order(examples, 1) != canonical_order(examples, 2)


def test_starting_from_the_baseline_helps_at_once(mail: Mail) -> None:
    bundle = Bundle.load(baseline_directory())
    ready = OnlineFilter(bundle)
    wrong = sum((ready.classify(raw) > 0.5) is not is_spam for raw, is_spam in mail)
    assert wrong <= 0.05 * len(mail)
    assert OnlineFilter().classify(mail[0][0]) == 0.5


def test_empty_and_odd_bytes_are_scored() -> None:
    learner = OnlineFilter(Bundle.load(baseline_directory()))
    for raw in (b"", b"\n", b"\0" * 100, bytes(range(256)) * 40, b"Subject:\n" * 3000):
        assert 0.0 < learner.classify(raw) < 1.0
        learner.train(raw, True)


def test_weights_moved_without_end_still_make_a_model(mail: Mail, tmp_path: Path) -> None:
    learner = OnlineFilter()
    for raw, is_spam in mail[:40]:
        learner.train(raw, is_spam)
    learner.second.energy *= np.float32(1e8)  # as after very many labels that contradict each other
    learner.second.weights *= 1000
    bundle = learner.publishable(Manifest(origin="site", ham_messages=0, spam_messages=0))
    bundle.save(tmp_path / "model")
    loaded = Bundle.load(tmp_path / "model")
    assert loaded.digest == bundle.digest
    assert bool(np.isfinite(loaded.energy).all())
