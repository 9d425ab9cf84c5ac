"""The way back from a feature's number to the word a person can read."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from models.features_stored import Indices
from models.tokens import Pairs, Tokens

Fact = tuple[str, str]
"""Where a fact was seen and what it says, e.g. ``("order", "to>from")``."""

ZONE_BITS: Final = 21
"""Each kind of feature is hashed into a zone of its own; why 21 bits: ``docs/classifier.md``."""


@lru_cache(maxsize=4096)
def fact_index(label: str, text: str) -> int:
    """Return the number that stands for a fact."""
    hashed = zlib.crc32(f"{label}\0{text}".encode("utf-8", "replace"))
    return (hashed * 0x9E3779B1 & 0xFFFFFFFF) >> (32 - ZONE_BITS)


@dataclass(frozen=True, slots=True)
class Spelling:
    """Everything in a message that can be spelled, in the order of ``indices``.

    ``indices`` holds facts, then words, then atoms, then pairs, as they occur: not sorted, and with
    repeats. Spelling is worked out only for the few places that are asked for.
    """

    indices: Indices
    facts: Sequence[Fact]
    tokens: tuple[Tokens, Tokens]
    pairs: Sequence[Pairs]

    def spell(self, places: Sequence[int]) -> list[str]:
        """Return the words at these places of ``indices``, with their field's name if any."""
        firsts: dict[int, npt.NDArray[np.intp]] = {}
        return [self._spelled(place, firsts) for place in places]

    def _spelled(self, place: int, firsts: dict[int, npt.NDArray[np.intp]]) -> str:
        if place < len(self.facts):
            return ":".join(self.facts[place])
        place -= len(self.facts)
        for tokens in self.tokens:
            if place < len(tokens.hashes):
                label, word = tokens.word(place)
                return f"{label}:{word}" if label else word
            place -= len(tokens.hashes)
        for pairs in self.pairs:
            if place < len(pairs.hashes):
                if pairs.distance not in firsts:
                    firsts[pairs.distance] = pairs.firsts()
                return self._pair(firsts[pairs.distance].item(place), pairs.distance)
            place -= len(pairs.hashes)
        raise IndexError(place)

    def _pair(self, first: int, distance: int) -> str:
        label, word = self.tokens[0].word(first)
        second = self.tokens[0].word(first + distance)[1]
        pair = f"{word} {second}" if distance == 1 else f"{word} … {second}"
        return f"{label}:{pair}" if label else pair
