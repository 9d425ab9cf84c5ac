"""The instruments of the training benches: they must tell good from bad, and make other mail."""

from pathlib import Path

import numpy as np
import pytest

from training.bench_calibration import reliability
from training.bench_training import many_messages
from training.dedup import campaigns, fingerprint

LABELS = np.arange(1000) % 2 == 0


def test_honest_probabilities_have_a_small_calibration_error() -> None:
    chance = np.random.default_rng(3)
    said = chance.random(100_000)
    is_spam = chance.random(100_000) < said
    found = reliability(is_spam, said, np.zeros(100_000))
    assert found.ece_percent < 1.0
    boasting = np.where(said >= 0.5, 0.99, 0.01)
    assert reliability(is_spam, boasting, np.zeros(100_000)).ece_percent > 20.0


def test_what_was_said_is_set_against_what_was_true() -> None:
    said = np.where(LABELS, 0.95, 0.05)
    said[np.flatnonzero(~LABELS)[:10]] = 0.6
    found = reliability(LABELS, said, np.where(LABELS, 5.0, 6.0))
    assert found.ham_called_spam_percent == 2.0
    assert (found.ham_held_percent, found.spam_held_percent) == (100.0, 0.0)
    assert found.unsure_percent == 50.0
    assert found.bins == ((490, 0), (0, 0), (0, 0), (10, 0), (0, 0), (0, 500))
    with pytest.raises(ValueError, match="ham and spam"):
        reliability(LABELS[:0], said[:0], said[:0])


def test_many_messages_are_all_different_and_most_are_no_copies(mail_data: Path) -> None:
    made = list(many_messages([mail_data], 300))
    assert len({raw for raw, _ in made}) == 300
    assert 0 < sum(is_spam for _, is_spam in made) < 300
    again = list(many_messages([mail_data], 300))
    assert made == again
    groups = campaigns([fingerprint(raw) for raw, _ in made])
    assert len(set(groups.tolist())) > 150
