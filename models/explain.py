"""Which words of a message spoke for spam and which against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.features import Features

if TYPE_CHECKING:
    from models.classifier import Classifier, Parts

_MAX_WORD_CHARS: Final = 60
_MIN_WEIGHT: Final = 0.001
_UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"


class WordWeight(NamedTuple):
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
    said = parts or classifier.parts(features)
    weights = said.weight_of_each[: features.word_count] * classifier.worth_of_words(features)
    weights[: features.lexical_count] += said.naive_of_each
    chosen = _strongest(weights, n)
    words = features.words[chosen]
    # A feature may stand in many places; the first of them spells it.
    places = (spelling.indices == words[:, None]).argmax(axis=1)
    order = np.lexsort((places, -weights[chosen]))
    spelled = spelling.spell(places[order].tolist())
    return tuple(
        WordWeight(word=_printable(word), weight=round(weight, 4))
        for word, weight in zip(spelled, weights[chosen[order]].tolist(), strict=True)
    )


def _strongest(weights: npt.NDArray[np.floating[Any]], n: int) -> npt.NDArray[np.intp]:
    """Return the places of the ``n`` lowest weights below zero and the ``n`` highest above it."""
    if len(weights) <= 2 * n:
        return np.flatnonzero(np.abs(weights) >= _MIN_WEIGHT)
    parted = np.argpartition(weights, (n - 1, len(weights) - n))
    low, high = parted[:n], parted[len(weights) - n :]
    against, for_spam = weights[low] <= -_MIN_WEIGHT, weights[high] >= _MIN_WEIGHT
    return np.concatenate([low.compress(against), high.compress(for_spam)])


def _printable(word: str) -> str:
    shown = word
    if not word.isprintable():
        shown = "".join(char if char.isprintable() else _UNPRINTABLE for char in word)
    return shown if len(shown) <= _MAX_WORD_CHARS else shown[: _MAX_WORD_CHARS - 1] + "…"
