"""A fingerprint kept with a label tells campaigns apart as well as a fresh one."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from models.fingerprint import (
    Fingerprint,
    StoredFingerprintError,
    fingerprint,
    fingerprint_text,
)
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


def test_fingerprints_are_those_of_stored_labels(mail_data: Path) -> None:
    """Labels and count files keep them; others need another format."""
    digest = hashlib.sha256()
    for path in sorted(mail_data.glob("*/*.eml")):
        digest.update(fingerprint(path.read_bytes()).to_bytes())
    assert digest.hexdigest() == "3361bb78aa95440892c657b67b8c2f0cf8be4f2b9190725c5499256f658da78c"


@pytest.mark.parametrize("odd", ["", " Straße Ökonomie", " \N{EURO SIGN} 20 \N{SNOWMAN}"])
def test_addresses_and_numbers_say_nothing_in_any_script(odd: str) -> None:
    words = " ".join(f"wort{chr(97 + n % 26)}" * 2 for n in range(40)) + odd
    more = words.replace(" ", " a@b.example x://y/z 2005 \N{NO-BREAK SPACE}d ", 3)
    found = [fingerprint_text(text) for text in (words, more)]
    assert np.array_equal(found[0].sketch, found[1].sketch)
    long = fingerprint_text(f"{words} {'x' * 41} {'y' * 85}")
    assert np.array_equal(
        long.sketch, fingerprint_text(f"{words} {'x' * 40} {'y' * 40} {'y' * 40} {'y' * 5}").sketch
    )
