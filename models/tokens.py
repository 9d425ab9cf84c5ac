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
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
ByteClass = bytes

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
    """Return a `bytes.translate` table: 1 for these bytes and for every byte above 127, else 0.

    Bytes above 127 are parts of UTF-8 letters, so words of every script stay whole.
    """
    return bytes(value > 127 or value in members for value in range(256))


WORD_BYTES: Final = byte_class(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$!'_-",
)
"""What words are made of. Money and shouting are words of spam, so ``$`` and ``!`` belong to it."""

ATOM_BYTES: Final = byte_class(bytes(set(range(33, 127)) - set(b'<>()",;[]{}|=')))
"""What addresses and host names are made of: all that is printable save brackets and quotes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where words stand: ``salt`` keeps the same word apart in different places.

    It is a number of 64 bits, kept as bytes so that those of many places need only be joined.
    """

    label: str
    salt: bytes


@lru_cache(maxsize=4096)
def place(label: str) -> Place:
    """Return the place of this name, with the number that stands for it."""
    salt = zlib.crc32(label.encode("utf-8", "replace")) * _BASE % _MODULUS
    return Place(label, salt.to_bytes(8, "little"))


class Tokens:
    """The tokens of a message: where they are, whose they are, and their salted hashes.

    ``edges`` are the offsets of the byte before each token and of its last byte, in turn. Read
    only; a plain slotted class for the reason `Header` is one.
    """

    __slots__ = ("buffer", "edges", "hashes", "owners", "places")

    def __init__(
        self,
        buffer: bytes,
        places: Sequence[Place],
        edges: Offsets,
        owners: Offsets,
        hashes: Hashes,
    ) -> None:
        self.buffer = buffer
        self.places = places
        self.edges = edges
        self.owners = owners
        self.hashes = hashes

    def word(self, position: int) -> tuple[str, str]:
        """Return the label and the text of one token."""
        before, last = self.edges.item(2 * position), self.edges.item(2 * position + 1)
        text = self.buffer[before + 1 : last + 1].decode("utf-8", "replace")
        return self.places[self.owners.item(position)].label, text

    def pairs(self, window: int) -> Pairs:
        """Sparse bigrams: each token with each of the next ``window - 1`` of its own segment.

        Source: orthogonal sparse bigrams, Siefkes, Assis, Chhabra and Yerazunis 2004.
        """
        hashes, owners = self.hashes, self.owners
        counts = [max(0, len(hashes) - distance) for distance in range(1, window)]
        values: Hashes = np.empty(sum(counts), np.uint64)
        together = np.empty(len(values), np.bool_)
        end = 0
        for distance, count in enumerate(counts, 1):
            begin, end = end, end + count
            of_distance = values[begin:end]
            np.multiply(hashes[:-distance], _PAIR_SALTS[distance], out=of_distance)
            of_distance += hashes[distance:]
            np.equal(owners[:-distance], owners[distance:], out=together[begin:end])
        return Pairs(mix(values.compress(together)), together, counts)


class Pairs:
    """All pairs of near tokens: first those of neighbours, then of tokens two apart, and so on.

    ``together`` tells of any two tokens so near whether they are of one segment, and so a pair;
    ``counts`` how many such twos there are of each distance.
    """

    __slots__ = ("counts", "hashes", "together")

    def __init__(
        self, hashes: Hashes, together: npt.NDArray[np.bool_], counts: Sequence[int]
    ) -> None:
        self.hashes = hashes
        self.together = together
        self.counts = counts

    def tokens(self, positions: Sequence[int]) -> list[tuple[int, int]]:
        """Return the positions of the first and the second token of these pairs."""
        if not positions:
            return []
        joined = self.together.nonzero()[0]
        return [self._tokens(joined.item(position)) for position in positions]

    def _tokens(self, two: int) -> tuple[int, int]:
        for distance, count in enumerate(self.counts, 1):
            if two < count:
                return two, two + distance
            two -= count
        raise IndexError(two)


def mix(values: Hashes) -> Hashes:
    """Spread every input bit over all output bits (multiply and shift, twice); in place."""
    for _ in range(2):
        values ^= values >> _HALF
        values *= _MIX
    values ^= values >> _HALF
    return values


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of token: which bytes it is made of, and where a longer run of them is cut."""

    members: ByteClass
    max_bytes: int


def split(pieces: Sequence[bytes], kinds: Sequence[tuple[Kind, Sequence[Place]]]) -> list[Tokens]:
    """Split pieces of a message into tokens of several kinds.

    Each kind is looked for in the first pieces, one for each of its places, with whose salt its
    tokens are hashed. Only `MAX_BUFFER_BYTES` of all pieces are read.
    """
    # A byte that no token has stands in front, behind and between.
    buffer = b"\0".join([b"", *pieces])[:MAX_BUFFER_BYTES] + b"\0"
    bounds = np.array(list(accumulate([len(piece) + 1 for piece in pieces], initial=0)))
    runs, owners, salts = [], [], []
    for kind, places in kinds:
        edges = _edges(buffer, kind, bounds.item(len(places)))
        firsts = edges[0::2].searchsorted(bounds[: len(places) + 1])
        owner = np.arange(len(places)).repeat(firsts[1:] - firsts[:-1])
        salt = np.frombuffer(b"".join([place.salt for place in places]), "<u8")
        runs.append(edges)
        owners.append(owner)
        salts.append(salt[owner])
    hashes = _hash_runs(buffer, np.concatenate(runs), np.concatenate(salts))
    found, end = [], 0
    for (_, places), edges, owner in zip(kinds, runs, owners, strict=True):
        begin, end = end, end + len(owner)
        found.append(Tokens(buffer, places, edges, owner, hashes[begin:end]))
    return found


def _edges(buffer: bytes, kind: Kind, end: int) -> Offsets:
    """Return the offsets of the byte before each run of one kind and of its last byte, in turn."""
    flags = np.frombuffer(buffer[: end + 1].translate(kind.members), np.uint8)
    edges: Offsets = (flags[1:] != flags[:-1]).nonzero()[0]
    np.minimum(edges[1::2], edges[0::2] + kind.max_bytes, out=edges[1::2])
    return edges


def _hash_runs(buffer: bytes, edges: Offsets, salts: Hashes) -> Hashes:
    values = np.frombuffer(buffer, np.uint8) + _ONE  # or leading NUL bytes would not count
    values *= _INVERSES[: len(values)]
    values.cumsum(out=values)
    sums = values[edges]
    hashes: Hashes = sums[1::2] - sums[0::2]
    hashes *= _POWERS[1:][edges[0::2]]
    hashes ^= salts
    return mix(hashes)


def byte_grams(data: bytes) -> npt.NDArray[np.uint32]:
    """Hash every run of four bytes (Sculley and Wachman 2007; Cormack 2007 on 4-gram features)."""
    if len(data) < 4:
        return np.zeros(0, np.uint32)
    # Every byte begins a number of four: a view of overlapping numbers, copied.
    grams = np.ndarray((len(data) - 3,), "<u4", data, 0, (1,)).astype(np.uint32)
    grams *= np.uint32(0x9E3779B1)
    grams ^= grams >> np.uint32(15)
    grams *= np.uint32(0x85EBCA77)
    return grams


def sort_unique(values: npt.NDArray[np.uint32], ends: Sequence[int]) -> npt.NDArray[np.uint32]:
    """Sort in place and return without repeats what comes in sections, each above the last.

    ``ends`` is where sections end. Sorting small sections is faster than sorting all at once, and
    either is three times as fast as ``np.unique`` on a few thousand values.
    """
    begin = 0
    for end in ends:
        values[begin:end].sort()
        begin = end
    if len(values) < 2:
        return values
    keep = np.empty(len(values), np.bool_)
    keep[0] = True
    np.not_equal(values[1:], values[:-1], out=keep[1:])
    return values.compress(keep)  # half the time of a mask as index
