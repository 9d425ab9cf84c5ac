"""Which words of a message spoke for spam and which against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from models.classifier import Classifier
    from models.features import Features

_MAX_WORD_CHARS: Final = 60
_SPELLED_PER_WORD: Final = 6
_MIN_WEIGHT: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class WordWeight:
    """A word and what it adds to the log odds of spam; below zero it speaks for ham.

    The word is printable. A word of a header field or a link begins with the field's name and a
    colon, ``url:`` or ``host:``; two words that stand near each other are written as a pair.
    """

    word: str
    weight: float


def explain(features: Features, classifier: Classifier, n: int) -> tuple[WordWeight, ...]:
    """Return the ``n`` strongest words for spam and the ``n`` strongest against it.

    The strongest for spam come first. Byte patterns count in the score but are no words.
    """
    naive, _ = classifier.naive.contributions(features)
    weights = classifier.weights[features.indices] * classifier.unit
    weights[: features.lexical_count] += naive
    order = np.argsort(weights, kind="stable")
    reach = _SPELLED_PER_WORD * n
    ends = np.concatenate([order[:reach], order[len(order) - min(reach, len(order)) :]])
    ends = np.unique(ends)
    spelled = features.spell(features.indices[ends])
    found = [
        WordWeight(word=_printable(spelled[index]), weight=round(float(weights[place]), 4))
        for place, index in zip(ends.tolist(), features.indices[ends].tolist(), strict=True)
        if index in spelled and abs(float(weights[place])) >= _MIN_WEIGHT
    ]
    found.sort(key=lambda word: (-word.weight, word.word))
    for_spam = [word for word in found if word.weight > 0][:n]
    against = [word for word in found if word.weight < 0][-n:]
    return (*for_spam, *against)


def _printable(word: str) -> str:
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in word)
    return shown if len(shown) <= _MAX_WORD_CHARS else shown[: _MAX_WORD_CHARS - 1] + "…"
