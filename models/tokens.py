"""Words of a message and their hashes, found for a whole message at once.

A polynomial hash over prefixes (Rabin and Karp 1987) taken modulo 2**64 gives every token's hash as
a difference of two running sums. The multiplier is odd, so it has an inverse and the position of a
token cancels out. All steps are exact integer arithmetic: the same bytes give the same hashes on
every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
ByteClass = npt.NDArray[np.bool_]

MAX_BUFFER_BYTES: Final = 64 * 1024
"""Bytes of one message that are split into words; the caller decides which."""

_BASE: Final = 0x9E3779B97F4A7C15
_MODULUS: Final = 1 << 64


def _powers(base: int) -> Hashes:
    steps = np.full(MAX_BUFFER_BYTES + 1, base, np.uint64)
    steps[0] = 1
    return np.cumprod(steps, dtype=np.uint64)


_POWERS: Final = _powers(_BASE)
_INVERSES: Final = _powers(pow(_BASE, -1, _MODULUS))
_MIX: Final = np.uint64(0xD6E8FEB86659FD93)
_HALF: Final = np.uint64(32)
_ONE: Final = np.uint64(1)
_PAIR_SALTS: Final = tuple(
    np.uint64(zlib.crc32(b"pair%d" % distance) * _BASE % _MODULUS | 1) for distance in range(8)
)


def byte_class(members: bytes) -> ByteClass:
    """Return a look-up table that is true for these bytes and for every byte above 127.

    Bytes above 127 are parts of UTF-8 letters, so words of every script stay whole.
    """
    table = np.zeros(256, np.bool_)
    table[np.frombuffer(members, np.uint8)] = True
    table[128:] = True
    return table


WORD: Final = byte_class(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$!'_-",
)
"""What words are made of. Money and shouting are words of spam, so ``$`` and ``!`` belong to it."""

ATOM: Final = byte_class(bytes(set(range(33, 127)) - set(b'<>()",;[]{}|=')))
"""What addresses and host names are made of: all that is printable save brackets and quotes."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text to split: ``salt`` keeps the same word apart in different fields."""

    label: str
    salt: int
    data: bytes

    @classmethod
    def of(cls, label: str, data: bytes) -> Segment:
        """Make a segment whose words are those of the place that ``label`` names."""
        return cls(label, field_salt(label), data)


@lru_cache(maxsize=4096)
def field_salt(label: str) -> int:
    """Return the 64-bit number that stands for a place where words occur."""
    return zlib.crc32(label.encode("utf-8", "replace")) * _BASE % _MODULUS


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a message: where they are, whose they are, and their salted hashes."""

    buffer: bytes
    segments: Sequence[Segment]
    starts: Offsets
    ends: Offsets
    owners: Offsets
    hashes: Hashes

    def word(self, position: int) -> tuple[str, str]:
        """Return the label and the text of one token."""
        start, end = int(self.starts[position]), int(self.ends[position])
        owner = self.segments[int(self.owners[position])]
        return owner.label, self.buffer[start:end].decode("utf-8", "replace")

    def pairs(self, window: int) -> tuple[Pairs, ...]:
        """Sparse bigrams: each token with each of the next ``window - 1`` of its own segment.

        Source: orthogonal sparse bigrams, Siefkes, Assis, Chhabra and Yerazunis 2004.
        """
        found = []
        for distance in range(1, window):
            first, second = self.hashes[:-distance], self.hashes[distance:]
            together = np.flatnonzero(self.owners[:-distance] == self.owners[distance:])
            mixed = mix(first[together] * _PAIR_SALTS[distance] + second[together])
            found.append(Pairs(distance, mixed, together))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs of tokens ``distance`` apart: their hashes and the places of their first tokens."""

    distance: int
    hashes: Hashes
    firsts: Offsets


def mix(values: Hashes) -> Hashes:
    """Spread every input bit over all output bits (multiply and shift, twice)."""
    values = (values ^ (values >> _HALF)) * _MIX
    values = (values ^ (values >> _HALF)) * _MIX
    return values ^ (values >> _HALF)


def split(segments: Sequence[Segment], members: ByteClass, max_token_bytes: int) -> Tokens:
    """Split segments into runs of ``members`` bytes and hash each run with its segment's salt.

    A longer run is cut to ``max_token_bytes``. Only `MAX_BUFFER_BYTES` in all are read.
    """
    joined = b"\0".join([segment.data for segment in segments])[: MAX_BUFFER_BYTES - 1] + b"\0"
    data = np.frombuffer(joined, np.uint8)
    inside = np.zeros(len(data) + 1, np.bool_)
    np.take(members, data, out=inside[1:])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts = edges[0::2]
    ends = np.minimum(edges[1::2], starts + max_token_bytes)
    sums = np.zeros(len(data) + 1, np.uint64)
    # Plus one, or leading NUL bytes would not count.
    np.cumsum((data + _ONE) * _INVERSES[: len(data)], out=sums[1:])
    plain = (sums[ends] - sums[starts]) * _POWERS[starts]
    lengths = np.fromiter((len(segment.data) + 1 for segment in segments), np.int64, len(segments))
    owners = np.searchsorted(np.cumsum(lengths), starts, side="right")
    salts = np.array([segment.salt for segment in segments], np.uint64)
    return Tokens(joined, segments, starts, ends, owners, mix(plain ^ salts[owners]))


def byte_grams(data: bytes) -> npt.NDArray[np.uint32]:
    """Hash every run of four bytes (Sculley and Wachman 2007; Cormack 2007 on 4-gram features)."""
    values = np.frombuffer(data, np.uint8).astype(np.uint32)
    if len(values) < 4:
        return np.zeros(0, np.uint32)
    word = values[:-3].copy()
    for place in (1, 2, 3):
        word |= values[place : len(values) - 3 + place] << np.uint32(8 * place)
    word *= np.uint32(0x9E3779B1)
    word ^= word >> np.uint32(15)
    word *= np.uint32(0x85EBCA77)
    return word


def sorted_unique(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Sort and drop repeats; three times as fast as ``np.unique`` on a few thousand values."""
    if len(values) < 2:
        return values
    values = np.sort(values)
    keep = np.empty(len(values), np.bool_)
    keep[0] = True
    np.not_equal(values[1:], values[:-1], out=keep[1:])
    return values[keep]
