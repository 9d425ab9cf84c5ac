"""A fingerprint kept with a label tells campaigns apart as well as a fresh one."""

import numpy as np
import pytest

from models.fingerprint import Fingerprint, StoredFingerprintError, fingerprint
from training.dedup import campaigns

LONG = "From: a@example.org\nSubject: Offer\n\n" + " ".join(
    f"wort{chr(97 + n % 26)}{chr(97 + n // 26)} angebot" for n in range(60)
)
SHORT = "From: a@example.org\nSubject: Hi\n\nthank you\n"


@pytest.mark.parametrize("text", [LONG, SHORT, ""])
def test_what_is_stored_is_what_was_there(text: str) -> None:
    made = fingerprint(text.encode())
    read = Fingerprint.from_bytes(made.to_bytes())
    assert read.exact == made.exact
    assert np.array_equal(read.sketch, made.sketch)
    assert read.sketch.dtype == np.uint64
    assert campaigns([made, read]).tolist() == [0, 0]


def test_it_is_small() -> None:
    assert len(fingerprint(SHORT.encode()).to_bytes()) == 18
    assert len(fingerprint(LONG.encode()).to_bytes()) == 514


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\1",
        b"\1\0",
        b"\1\1" + bytes(15),
        b"\1\1" + bytes(17),
        b"\1\0" + bytes(511),
        b"\2\1" + bytes(16),
        b"\1\2" + bytes(16),
    ],
)
def test_other_bytes_are_refused(stored: bytes) -> None:
    with pytest.raises(StoredFingerprintError):
        Fingerprint.from_bytes(stored)
