"""Which words of a message spoke for spam and which against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from models.features import LEXICAL, Features
from models.features_spelling import Spelling
from models.features_stored import Indices

if TYPE_CHECKING:
    from models.classifier import Classifier, Parts

_MAX_WORD_CHARS: Final = 60
_LOOKED_AT_PER_WORD: Final = (3, 20)  # enough nearly always; enough with a word all over the text
_MIN_WEIGHT: Final = 0.001
_UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WordWeight:
    """A word and what it adds to the log odds of spam; below zero it speaks for ham.

    The word is printable. A word of a header field or a link begins with the field's name and a
    colon, ``url:`` or ``host:``; two words that stand near each other are written as a pair.
    """

    word: str
    weight: float


def explain(
    features: Features, classifier: Classifier, n: int, *, parts: Parts | None = None
) -> tuple[WordWeight, ...]:
    """Return the ``n`` strongest words for spam and the ``n`` strongest against it.

    The strongest for spam come first. Byte patterns count in the score but are no words. ``parts``
    is what ``classifier`` said of these features, if it was asked already.
    """
    spelling = features.spelling
    if spelling is None or not len(spelling.indices):
        return ()
    weights = classifier.weights[spelling.indices] * classifier.worth_of_words(features)
    lexical = np.flatnonzero(spelling.indices < LEXICAL)
    naive = (parts or classifier.parts(features)).naive_of_each
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
    found: dict[int, tuple[int, float]] = {}
    for looked_at in _LOOKED_AT_PER_WORD:
        last = min(looked_at * n, len(weights)) - 1
        bound = np.partition(weights, last)[last]
        places = np.flatnonzero(weights <= bound)
        places = places[np.argsort(weights[places], kind="stable")]
        found = _first_of_each(spelling.indices[places], places, weights[places], n)
        if len(found) == n or bound > -_MIN_WEIGHT:
            break
    return [(_printable(spelling.spell(place)), weight) for place, weight in found.values()]


def _first_of_each(
    indices: Indices, places: npt.NDArray[np.intp], weights: npt.NDArray[np.floating[Any]], n: int
) -> dict[int, tuple[int, float]]:
    """Return place and weight of the first ``n`` different indices that weigh enough."""
    found: dict[int, tuple[int, float]] = {}
    for index, place, weight in zip(
        indices.tolist(), places.tolist(), weights.tolist(), strict=True
    ):
        if weight > -_MIN_WEIGHT or len(found) == n:
            break
        if index not in found:
            found[index] = place, round(weight, 4)
    return found


def _printable(word: str) -> str:
    shown = word
    if not word.isprintable():
        shown = "".join(char if char.isprintable() else _UNPRINTABLE for char in word)
    return shown if len(shown) <= _MAX_WORD_CHARS else shown[: _MAX_WORD_CHARS - 1] + "…"
