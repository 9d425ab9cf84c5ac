"""What tells the many copies of one campaign apart from other mail: a small sketch of the text.

A message becomes the set of its word triples (w-shingles, Broder 1997), numbers and addresses left
out; a minhash sketch estimates how much two sets share. It is kept with a label, because training
needs it when the bytes are gone.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.message import ParsedMail, scan

SKETCH_SIZE: Final = 64
EXACT_BYTES: Final = 16

_MIN_SHINGLES = 16
_MAX_TEXT_CHARS = 20_000
_WORD = re.compile(r"[^\W\d_]{2,40}")
_SEED = np.uint64(0x9E3779B97F4A7C15)
PRIMES: Final = tuple(
    np.uint64(value) for value in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
)
_FORMAT: Final = 1
_KIND_SKETCH: Final = 0
_KIND_EXACT: Final = 1
_HEADER: Final = struct.Struct("<BB")

Sketch = npt.NDArray[np.uint64]


class StoredFingerprintError(ValueError):
    """Bytes that are no stored fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What of a message is compared: a minhash sketch of its text.

    ``exact`` is set for messages of few words, which are alike only when they are equal: two
    people's "thank you" are no campaign.
    """

    sketch: Sketch
    exact: bytes

    def to_bytes(self) -> bytes:
        """Write it compactly: 18 bytes for few words, else 514."""
        if self.exact:
            return _HEADER.pack(_FORMAT, _KIND_EXACT) + self.exact
        return _HEADER.pack(_FORMAT, _KIND_SKETCH) + self.sketch.astype("<u8").tobytes()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Fingerprint:
        """Read what `to_bytes` wrote. Raises StoredFingerprintError for anything else."""
        if len(stored) < _HEADER.size:
            raise StoredFingerprintError("a stored fingerprint is cut off")
        version, kind = _HEADER.unpack_from(stored)
        rest = stored[_HEADER.size :]
        if version != _FORMAT:
            raise StoredFingerprintError(f"a stored fingerprint of format {version}")
        if kind == _KIND_EXACT and len(rest) == EXACT_BYTES:
            return cls(sketch=np.zeros(SKETCH_SIZE, np.uint64), exact=rest)
        if kind == _KIND_SKETCH and len(rest) == 8 * SKETCH_SIZE:
            return cls(sketch=np.frombuffer(rest, "<u8").astype(np.uint64), exact=b"")
        raise StoredFingerprintError("a stored fingerprint has a wrong length")


def fingerprint(raw: bytes) -> Fingerprint:
    """Return the fingerprint of a message; never raises on any bytes."""
    return fingerprint_of(scan(raw))


def fingerprint_of(mail: ParsedMail) -> Fingerprint:
    """Return the fingerprint of a message that was parsed already."""
    text = mail.text[:_MAX_TEXT_CHARS]
    subject = mail.subject[:1000]
    prints = fingerprint_text(f"{subject}\n{text}")
    if not prints.exact:
        return prints
    # Little text: what else the mail carries (an image, a link) tells campaigns apart.
    body = hashlib.blake2b(prints.exact, digest_size=EXACT_BYTES)
    for part in mail.parts:
        body.update(f"{part.content_type}:{part.size_bytes};".encode())
    return Fingerprint(sketch=prints.sketch, exact=body.digest())


def fingerprint_text(text: str) -> Fingerprint:
    """Return the fingerprint of a text: linear in its length."""
    # Numbers and addresses are what a campaign varies from copy to copy.
    plain = (one for one in text.lower().split() if "@" not in one and "://" not in one)
    words = _WORD.findall(" ".join(plain))
    shingles = _shingles(words)
    if len(shingles) < _MIN_SHINGLES:
        exact = hashlib.blake2b(" ".join(words).encode(), digest_size=EXACT_BYTES).digest()
        return Fingerprint(sketch=np.zeros(SKETCH_SIZE, np.uint64), exact=exact)
    return Fingerprint(sketch=_sketch(shingles), exact=b"")


def similarity(first: Sketch, second: Sketch) -> float:
    """Estimate the Jaccard similarity of two sets of shingles from their sketches."""
    return float(np.mean(first == second))


def _shingles(words: list[str]) -> Sketch:
    """Hash each run of three words; a set, so that repeated text counts once."""
    hashed = np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint64)
    if len(hashed) < 3:
        return hashed[:0]
    mixed = hashed[:-2] * PRIMES[0] + hashed[1:-1] * PRIMES[1] + hashed[2:] * PRIMES[2]
    mixed = (mixed ^ (mixed >> np.uint64(31))) * _SEED
    return np.unique(mixed ^ (mixed >> np.uint64(29)))


def _sketch(shingles: Sketch) -> Sketch:
    """One-permutation minhash (Li, Owen, Zhang 2012): the least hash in each of 64 bins.

    An empty bin borrows from the next filled one (rotation, Shrivastava and Li 2014).
    """
    bins = (shingles >> np.uint64(64 - 6)).astype(np.int64)
    filled, first = np.unique(bins, return_index=True)  # shingles are sorted, so are bins
    sketch = np.zeros(SKETCH_SIZE, np.uint64)
    donor = np.searchsorted(filled, np.arange(SKETCH_SIZE)) % len(filled)
    distance = (filled[donor] - np.arange(SKETCH_SIZE)) % SKETCH_SIZE
    sketch[:] = shingles[first[donor]] + distance.astype(np.uint64) * _SEED
    return sketch
