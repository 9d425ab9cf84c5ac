"""Which words of a message spoke for spam and which against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from models.features import LEXICAL, Features
from models.features_spelling import Spelling

if TYPE_CHECKING:
    from models.classifier import Classifier

_MAX_WORD_CHARS: Final = 60
_LOOKED_AT_PER_WORD: Final = 20
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
    spelling = features.spelling
    if spelling is None or not len(spelling.indices):
        return ()
    weights = classifier.weights[spelling.indices] * classifier.worth_of_words(features)
    lexical = np.flatnonzero(spelling.indices < LEXICAL)
    naive, _ = classifier.naive.contributions(features)
    weights[lexical] += naive[np.searchsorted(features.lexical, spelling.indices[lexical])]
    against = _strongest(spelling, weights, n)
    for_spam = _strongest(spelling, -weights, n)
    return (
        *(WordWeight(word=word, weight=-weight) for word, weight in for_spam),
        *(WordWeight(word=word, weight=weight) for word, weight in reversed(against)),
    )


def _strongest(
    spelling: Spelling, weights: npt.NDArray[np.floating[Any]], n: int
) -> list[tuple[str, float]]:
    """Return the ``n`` different words with the lowest weights below zero, lowest first."""
    last = min(_LOOKED_AT_PER_WORD * n, len(weights)) - 1
    places = np.flatnonzero(weights <= np.partition(weights, last)[last])
    found: dict[int, tuple[str, float]] = {}
    for place in places[np.argsort(weights[places], kind="stable")].tolist():
        if weights[place] > -_MIN_WEIGHT or len(found) == n:
            break
        index = int(spelling.indices[place])
        if index not in found:
            found[index] = _printable(spelling.spell(place)), round(float(weights[place]), 4)
    return list(found.values())


def _printable(word: str) -> str:
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in word)
    return shown if len(shown) <= _MAX_WORD_CHARS else shown[: _MAX_WORD_CHARS - 1] + "…"
