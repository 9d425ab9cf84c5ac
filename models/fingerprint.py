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
_LETTERS = bytes(value for value in range(256) if re.match(r"[^\W\d_]", chr(value)))
_BYTE_WORD = re.compile(b"[" + re.escape(_LETTERS) + b"]{2,40}")
_LONGEST_WORD = 40
_SPACED = bytes(value if value in _LETTERS else ord(" ") for value in range(256))
_BLANKS = bytes(ord(" ") if chr(value).isspace() else value for value in range(256))
_ADDRESS_MARKS = (b"@", b"://")
_SEED = np.uint64(0x9E3779B97F4A7C15)
PRIMES: Final = tuple(
    np.uint64(value) for value in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
)
_BINS = np.arange(SKETCH_SIZE, dtype=np.uint64)
_BIN_SHIFT = np.uint64(64 - 6)
_BIN_STARTS = _BINS << _BIN_SHIFT
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
    words = _words(text.lower())
    shingles = _shingles(words)
    if len(shingles) < _MIN_SHINGLES:
        exact = hashlib.blake2b(b" ".join(words), digest_size=EXACT_BYTES).digest()
        return Fingerprint(sketch=np.zeros(SKETCH_SIZE, np.uint64), exact=exact)
    return Fingerprint(sketch=_sketch(shingles), exact=b"")


def similarity(first: Sketch, second: Sketch) -> float:
    """Estimate the Jaccard similarity of two sets of shingles from their sketches."""
    return float(np.mean(first == second))


def _words(text: str) -> list[bytes]:
    """Return the words of a text in UTF-8, without numbers and addresses.

    These are what a campaign varies from copy to copy.
    """
    try:
        plain = text.encode("latin-1")
    except UnicodeEncodeError:
        kept = (one for one in text.split() if "@" not in one and "://" not in one)
        return [word.encode() for word in _WORD.findall(" ".join(kept))]
    # Nearly all mail fits in one byte a letter, and there everything is done several times as fast.
    plain = _without_addresses(plain.translate(_BLANKS))
    words = [word for word in plain.translate(_SPACED).split() if len(word) > 1]
    if max(map(len, words), default=0) > _LONGEST_WORD:
        words = _BYTE_WORD.findall(plain)
    return words if plain.isascii() else b" ".join(words).decode("latin-1").encode().split()


def _without_addresses(text: bytes) -> bytes:
    """Leave out what holds a mark of an address, up to the blanks on both sides."""
    for mark in _ADDRESS_MARKS:
        kept, begin = [], 0
        while (hit := text.find(mark, begin)) >= 0:
            kept.append(text[begin : text.rfind(b" ", begin, hit) + 1])
            begin = text.find(b" ", hit)
            if begin < 0:
                begin = len(text)
        text = b"".join([*kept, text[begin:]])
    return text


def _shingles(words: list[bytes]) -> Sketch:
    """Hash each run of three words; a set, so that repeated text counts once."""
    hashed = np.fromiter(map(zlib.crc32, words), np.uint64, len(words))
    if len(hashed) < 3:
        return hashed[:0]
    mixed = hashed[:-2] * PRIMES[0] + hashed[1:-1] * PRIMES[1] + hashed[2:] * PRIMES[2]
    mixed = (mixed ^ (mixed >> np.uint64(31))) * _SEED
    mixed ^= mixed >> np.uint64(29)
    mixed.sort()
    keep = np.ones(len(mixed), np.bool_)
    np.not_equal(mixed[1:], mixed[:-1], out=keep[1:])
    unique: Sketch = mixed[keep]
    return unique


def _sketch(shingles: Sketch) -> Sketch:
    """One-permutation minhash (Li, Owen, Zhang 2012): the least hash in each of 64 bins.

    An empty bin borrows from the next filled one (rotation, Shrivastava and Li 2014).
    """
    first = shingles.searchsorted(_BIN_STARTS)
    first[first == len(shingles)] = 0
    # Shingles are sorted: the first one from a bin's start on is its own, or that of the next bin.
    found = shingles[first]
    distance = ((found >> _BIN_SHIFT) - _BINS) & np.uint64(SKETCH_SIZE - 1)
    sketch: Sketch = found + distance * _SEED
    return sketch
