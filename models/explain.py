"""Which words of a message spoke for spam and which against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.features import Features

if TYPE_CHECKING:
    from models.classifier import Classifier, Parts

_MAX_WORD_CHARS: Final = 60
_LEAST_LOOKED_AT: Final = (0.02, 0.001)  # a tenth of all words, enough mostly; all that count
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
    # A feature may stand in many places; the first of them spells it.
    places = (spelling.indices == features.words[chosen][:, None]).argmax(axis=1)
    spelled = spelling.spell(places.tolist())
    return tuple(
        WordWeight(word=_printable(word), weight=round(weight, 4))
        for word, weight in zip(spelled, weights[chosen].tolist(), strict=True)
    )


def _strongest(weights: npt.NDArray[np.floating[Any]], n: int) -> npt.NDArray[np.intp]:
    """Return the places of the ``n`` highest weights above zero and the ``n`` lowest below it.

    Falling; of equal weights the one with the lower place comes first.
    """
    sizes = np.abs(weights)
    for least in _LEAST_LOOKED_AT:
        places = np.flatnonzero(sizes >= least)
        falling = places[np.argsort(-weights[places], kind="stable")]
        for_spam = int(np.count_nonzero(weights[places] > 0.0))
        if min(for_spam, len(places) - for_spam) >= n:
            break
    against = max(for_spam, len(falling) - n)
    return np.concatenate([falling[: min(n, for_spam)], falling[against:]])


def _printable(word: str) -> str:
    shown = word
    if not word.isprintable():
        shown = "".join(char if char.isprintable() else _UNPRINTABLE for char in word)
    return shown if len(shown) <= _MAX_WORD_CHARS else shown[: _MAX_WORD_CHARS - 1] + "…"
