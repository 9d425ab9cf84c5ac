"""Stored features of many messages: the same bytes, for half of what extraction costs otherwise.

Hashing a message takes some fifty calls of NumPy, and on a few hundred words the calls cost more
than the sums. Training has thousands of messages at hand, so it joins some before it hashes
them; a message's number above each feature's keeps them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from models.features import (
    ATOM,
    FEATURE_SPEC,
    LEXICAL,
    PAIR_WINDOW,
    WORD,
    WORDS,
    Evidence,
    evidence,
)
from models.features_spelling import ZONE_BITS
from models.features_stored import Indices, pack_many
from models.message import ParsedMail
from models.tokens import MAX_BUFFER_BYTES, byte_grams, sort_unique, split

_MOST_MESSAGES: Final = 32
_NUMBER_SHIFT: Final = np.uint32(ZONE_BITS + 2)
_FEATURE: Final = np.uint32((1 << (ZONE_BITS + 2)) - 1)
_GRAM_BYTES: Final = 4


class StoredFeatures:
    """Collects messages, and hands out their stored features in the order they came."""

    def __init__(self) -> None:
        self._joined: list[Evidence] = []
        self._bytes = 1
        self._stored: list[bytes] = []

    def add(self, mail: ParsedMail, raw: bytes) -> None:
        """Take a message; nothing of it is held but what will be hashed."""
        found = evidence(mail, raw)
        size = sum(map(len, found.pieces)) + len(found.pieces)
        if self._bytes + size > MAX_BUFFER_BYTES or len(self._joined) == _MOST_MESSAGES:
            self._hash()
        if size >= MAX_BUFFER_BYTES:  # only so much of it is read, which this does
            self._stored.append(found.features().to_bytes())
            return
        self._joined.append(found)
        self._bytes += size

    def take(self) -> list[bytes]:
        """Return the features of all messages since the last time."""
        self._hash()
        stored, self._stored = self._stored, []
        return stored

    def _hash(self) -> None:
        if self._joined:
            indices, bounds = _indices(self._joined)
            self._stored += pack_many(FEATURE_SPEC, indices, bounds)
        self._joined, self._bytes = [], 1


def _indices(messages: Sequence[Evidence]) -> tuple[Indices, list[int]]:
    """Return the features of these messages one behind the other, and where each one's begin."""
    numbers = np.arange(len(messages) + 1, dtype=np.uint32) << _NUMBER_SHIFT
    facts = np.fromiter(chain.from_iterable(one.numbers for one in messages), np.uint32)
    facts += numbers[:-1].repeat([len(one.numbers) for one in messages])
    lexical, pairs = _words(messages, numbers)
    grams = _grams([one.view for one in messages], numbers)
    everything = np.concatenate([facts, lexical, pairs, grams])
    found = sort_unique(everything, (len(everything),))
    bounds = found.searchsorted(numbers).tolist()
    found &= _FEATURE
    return found, bounds


def _words(messages: Sequence[Evidence], numbers: Indices) -> tuple[Indices, Indices]:
    """Return words and atoms, and pairs, each with its message's number above it."""
    with_atoms = [len(one.atom_places) for one in messages]
    halves = list(zip(messages, with_atoms, strict=True))
    pieces = [piece for one, end in halves for piece in one.pieces[:end]]
    places = [place for one, end in halves for place in one.places[:end]]
    atom_places = [place for one in messages for place in one.atom_places]
    pieces += [piece for one, end in halves for piece in one.pieces[end:]]
    places += [place for one, end in halves for place in one.places[end:]]
    without = [len(one.pieces) - end for one, end in halves]
    of_piece = np.concatenate([numbers[:-1].repeat(with_atoms), numbers[:-1].repeat(without)])
    words, atoms = split(pieces, ((WORD, places), (ATOM, atom_places)))
    of_word = of_piece[words.owners]
    pairs = words.pairs(PAIR_WINDOW)
    lexical = _folded([words.hashes, atoms.hashes])
    lexical += np.concatenate([of_word, of_piece[atoms.owners]])
    paired = _folded([pairs.hashes])
    first_of = [of_word[:count] for count in pairs.counts]
    paired += np.concatenate(first_of)[pairs.together]
    paired += np.uint32(LEXICAL)
    return lexical, paired


def _folded(hashes: Sequence[npt.NDArray[np.uint64]]) -> Indices:
    return (np.concatenate(hashes) >> np.uint64(64 - ZONE_BITS)).astype(np.uint32)


def _grams(views: Sequence[bytes], numbers: Indices) -> Indices:
    """Return the byte patterns of each view, none that reaches over an end."""
    lengths = [len(view) for view in views]
    grams = byte_grams(b"".join(views))
    grams >>= np.uint32(32 - ZONE_BITS)
    grams += np.uint32(WORDS)
    grams += numbers[:-1].repeat(lengths)[: len(grams)]
    behind = np.cumsum(lengths).repeat(lengths)[: len(grams)]
    return grams[behind - np.arange(len(grams)) >= _GRAM_BYTES]
