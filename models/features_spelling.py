"""The way back from a feature's number to the word a person can read."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

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


@dataclass(slots=True)
class Spelling:
    """Everything in a message that can be spelled, in the order of ``indices``.

    ``indices`` holds facts, then words, then atoms, then pairs, as they occur: not sorted, and with
    repeats. Spelling is worked out only for the few places that are asked for. Read only.
    """

    indices: Indices
    facts: Sequence[Fact]
    tokens: tuple[Tokens, Tokens]
    pairs: Pairs

    def spell(self, places: Sequence[int]) -> list[str]:
        """Return the words at these places of ``indices``, with their field's name if any."""
        words, atoms = self.tokens
        first_word = len(self.facts)
        first_atom = first_word + len(words.hashes)
        first_pair = first_atom + len(atoms.hashes)
        pairs = [place - first_pair for place in places if place >= first_pair]
        pairs_tokens = iter(self.pairs.tokens(pairs))
        spelled = []
        for place in places:
            if place < first_word:
                spelled.append(":".join(self.facts[place]))
            elif place < first_atom:
                spelled.append(_labelled(*words.word(place - first_word)))
            elif place < first_pair:
                spelled.append(_labelled(*atoms.word(place - first_atom)))
            else:
                spelled.append(self._pair(*next(pairs_tokens)))
        return spelled

    def _pair(self, first: int, second: int) -> str:
        label, word = self.tokens[0].word(first)
        other = self.tokens[0].word(second)[1]
        near = second - first == 1
        return _labelled(label, f"{word} {other}" if near else f"{word} … {other}")


def _labelled(label: str, word: str) -> str:
    return f"{label}:{word}" if label else word
