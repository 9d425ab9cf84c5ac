"""The way back from a feature's number to the word a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.features_stored import Indices
from models.tokens import Pairs, Tokens

Fact = tuple[str, str]
"""Where a fact was seen and what it says, e.g. ``("order", "to>from")``."""


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

    def spell(self, place: int) -> str:
        """Return the word at this place of ``indices``, with its field's name if it has one."""
        if place < len(self.facts):
            label, text = self.facts[place]
            return f"{label}:{text}"
        place -= len(self.facts)
        for tokens in self.tokens:
            if place < len(tokens.hashes):
                return _labelled(*tokens.word(place))
            place -= len(tokens.hashes)
        for pairs in self.pairs:
            if place < len(pairs.hashes):
                first = int(pairs.firsts[place])
                label, word = self.tokens[0].word(first)
                gap = " " if pairs.distance == 1 else " … "
                return _labelled(label, word + gap + self.tokens[0].word(first + pairs.distance)[1])
            place -= len(pairs.hashes)
        raise IndexError(place)


def _labelled(label: str, word: str) -> str:
    return f"{label}:{word}" if label else word
