"""The classifier: a naive Bayes from integer counts, and a second stage that corrects it.

*Naive Bayes*: Bernoulli presence counts per class, each class given the same weight whatever its
size (Rennie, Shih, Teevan and Karger 2003 on unequal classes), averaged over the features that
speak clearly, for words of one mail repeat each other's evidence.

*Second stage*: two logistic regressions, one over words and pairs, one over runs of four raw bytes.
Each learns one message at a time (Goodman and Yih 2006) what has to be added to the naive Bayes,
each weight with a step of its own that shrinks as it is used (AdaGrad: Duchi, Hazan and Singer
2011); the mean of the two is what is added. Their weights are integers too, so sums are exact and
the same messages in the same order give the same model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from models.counts import CountArray, Counts
from models.explain import WordWeight
from models.features import SPACE, Features
from models.features_stored import Indices

Weights = npt.NDArray[np.int32] | npt.NDArray[np.int16]
Energy = npt.NDArray[np.float32]
LogOdds = npt.NDArray[np.float64]
Likely = TypeVar("Likely", float, npt.NDArray[np.float64])

PUBLISHED_UNIT: Final = 1.0 / (1 << 12)
"""What one step of a published 16-bit weight is worth."""
LEARNING_UNIT: Final = 1.0 / (1 << 20)
"""What one step of a weight is worth while it is being learned."""

EXPERT_SHARE: Final = 0.5
"""Each of the two experts of the second stage counts for half."""

_ERROR_STEPS: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreParameters:
    """How counts and weights become a score. They belong to a model and stand in its manifest.

    ``smoothing`` is added to every balanced count; ``clear_log_odds`` is how clearly a feature must
    speak to be heard by the naive Bayes; ``naive_weight``, ``naive_prior`` and ``naive_power``
    scale its sum over n features (weight * sum / (n + prior) ** power): with a prior, a handful
    that speaks clearly by chance does not decide. ``min_class_messages`` is how many messages of
    each class it needs before it says anything. ``rate`` and ``first_energy`` rule the second
    stage's steps, ``typical_features`` is the number of features at which an expert's sum counts
    as it is. ``label_slips`` is the share of labels that may be slips of the hand: the second
    stage learns from a label as much as it is likely to be right.
    """

    smoothing: float = 0.02
    clear_log_odds: float = 3.0
    naive_weight: float = 0.7
    naive_power: float = 1.0
    naive_prior: float = 0.0
    min_class_messages: int = 10
    rate: float = 0.008
    first_energy: float = 0.001
    typical_features: int = 2500
    label_slips: float = 0.01

    def reach(self, features: int) -> float:
        """Return by what an expert's sum is multiplied: long messages count for less a feature."""
        return min(2.0, max(0.5, math.sqrt(self.typical_features / max(1, features))))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentScore:
    """What a model says of one message.

    ``log_odds`` above zero speaks for spam; it is the sum of ``naive_log_odds`` (naive Bayes) and
    ``pattern_log_odds`` (second stage) before calibration. ``probability`` is calibrated.
    ``known_share`` is the share of the message's lexical features that the model has met in
    training, 0 to 1; a published model leaves out what it knows by chance (`beyond_chance`).
    ``whole`` are the features of the whole message, whichever view of it was scored; None where
    features were given.
    """

    probability: float
    log_odds: float
    known_share: float
    naive_log_odds: float
    pattern_log_odds: float
    words: tuple[WordWeight, ...] = ()
    whole: Features | None = field(default=None, repr=False, compare=False)


class NaiveBayes:
    """Class-balanced Bernoulli naive Bayes over the lexical features, scored from counts."""

    def __init__(self, counts: Counts, parameters: ScoreParameters) -> None:
        self.counts = counts
        self.parameters = parameters

    def feature_log_odds(self, lexical: Indices) -> LogOdds:
        """Return log P(feature | spam) - log P(feature | ham) for each feature.

        Equal to scikit-learn's ``BernoulliNB(alpha=smoothing)`` fitted with sample weights that
        give both classes the harmonic mean of their sizes.
        """
        return self._log_odds(self.counts.ham[lexical], self.counts.spam[lexical])

    def _log_odds(self, ham: CountArray, spam: CountArray) -> LogOdds:
        counts, smoothing = self.counts, self.parameters.smoothing
        mean = 2.0 * counts.spam_messages * counts.ham_messages
        mean /= max(1, counts.spam_messages + counts.ham_messages)
        in_spam = spam * (mean / max(1, counts.spam_messages)) + smoothing
        in_ham = ham * (mean / max(1, counts.ham_messages)) + smoothing
        return np.asarray(np.log(in_spam / in_ham), np.float64)

    def contributions(self, features: Features) -> tuple[LogOdds, float]:
        """Return what each lexical feature adds to the log odds, and the share that is known."""
        lexical = features.lexical
        counts = self.counts
        if min(counts.ham_messages, counts.spam_messages) < self.parameters.min_class_messages:
            return np.zeros(len(lexical)), 0.0
        # Twice as fast as indexing; no feature lies outside, or `Features` would not hold it.
        ham, spam = (table.take(lexical, mode="clip") for table in (counts.ham, counts.spam))
        known = (ham | spam) != 0
        odds = self._log_odds(ham, spam)
        heard = np.abs(odds) > self.parameters.clear_log_odds
        heard &= known
        number = int(np.count_nonzero(heard))
        among = max(1.0, number + self.parameters.naive_prior)
        scale = self.parameters.naive_weight / among**self.parameters.naive_power
        share = float(np.count_nonzero(known)) / max(1, len(lexical))
        return np.where(heard, odds * scale, 0.0), share


@dataclass(slots=True)
class Parts:
    """What each part of a classifier says of one message, in log odds of spam. Read only."""

    naive: float
    words: float
    grams: float
    known_share: float
    naive_of_each: LogOdds = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    """What each lexical feature adds to ``naive``."""
    weight_of_each: Weights = field(
        default_factory=lambda: np.zeros(0, np.int32), repr=False, compare=False
    )
    """The second stage's weight of each feature, in steps."""

    @property
    def second(self) -> float:
        """What the second stage adds: the mean of its two experts."""
        return EXPERT_SHARE * (self.words + self.grams)

    @property
    def log_odds(self) -> float:
        """The sum of all parts."""
        return self.naive + self.second


class Classifier:
    """Scores features: naive Bayes plus second stage.

    ``weights`` are steps of ``unit``; published models map 16-bit ones, learners hold 32-bit ones.
    """

    def __init__(self, naive: NaiveBayes, weights: Weights, unit: float) -> None:
        if weights.shape != (SPACE,):
            raise ValueError(f"weights have shape {weights.shape}, not ({SPACE},)")
        self.naive = naive
        self.weights = weights
        self.unit = unit

    def parts(self, features: Features) -> Parts:
        """Return what naive Bayes and experts say of a message."""
        contributions, share = self.naive.contributions(features)
        # Rounded to steps before it is summed: exact whatever order the processor adds in.
        # Whole numbers this small are exact as floats, too.
        naive = float(np.rint(contributions * (1 << 20)).sum()) / (1 << 20)
        weights = self.weights.take(features.indices, mode="clip")
        words, grams = _sums(weights, features.word_count)
        reach = self.naive.parameters.reach
        return Parts(
            naive,
            words * self.unit * reach(features.word_count),
            grams * self.unit * reach(len(features) - features.word_count),
            share,
            contributions,
            weights,
        )

    def worst(self, *views: Features) -> Features:
        """Return the view of a message that looks most like spam, the first of those that tie."""
        return max(views, key=lambda view: self.parts(view).log_odds)

    def worth_of_words(self, features: Features) -> float:
        """Return what one step of a word's weight adds to the log odds of this message."""
        return EXPERT_SHARE * self.unit * self.naive.parameters.reach(features.word_count)


class SecondStage:
    """The learner of the second stage's weights."""

    def __init__(self, parameters: ScoreParameters) -> None:
        self._parameters = parameters
        self.weights = np.zeros(SPACE, np.int32)
        self.energy: Energy = np.zeros(SPACE, np.float32)

    def learn(self, features: Features, parts: Parts, *, is_spam: bool) -> None:
        """Let each expert take one step towards the truth about a message.

        ``parts`` is what the classifier with these weights says of it now.
        """
        words = features.word_count
        towards_label = parts.log_odds if is_spam else -parts.log_odds
        belief = label_belief(sigmoid(towards_label), self._parameters.label_slips)
        first = self._error(parts.naive + parts.words, words, belief, is_spam=is_spam)
        other = self._error(
            parts.naive + parts.grams, len(features) - words, belief, is_spam=is_spam
        )
        if first == other == 0.0:
            return
        energy = self.energy.take(features.indices, mode="clip")
        energy[:words] += np.float32(first * first)
        energy[words:] += np.float32(other * other)
        self.energy[features.indices] = energy
        root = np.sqrt(energy.astype(np.float64) + self._parameters.first_energy)
        steps = np.empty(len(root))
        steps[:words] = self._parameters.rate * first / LEARNING_UNIT
        steps[words:] = self._parameters.rate * other / LEARNING_UNIT
        steps /= root
        self.weights[features.indices] = parts.weight_of_each + np.rint(steps).astype(np.int32)

    def _error(self, log_odds: float, features: int, belief: float, *, is_spam: bool) -> float:
        error = (float(is_spam) - sigmoid(log_odds)) * self._parameters.reach(features) * belief
        # In steps of 2**-16, so that the last bit of exp() cannot make two machines differ.
        return round(error * _ERROR_STEPS) / _ERROR_STEPS


def _sums(weights: Weights, word_count: int) -> tuple[int, int]:
    """Return the sum of the words' weights and that of the grams', exactly."""
    if 0 < word_count < len(weights):
        # A quarter of the time of two sums; it knows no empty sections.
        words, grams = np.add.reduceat(weights, (0, word_count), dtype=np.int64).tolist()
        return words, grams
    whole = int(weights.sum(dtype=np.int64))
    return (whole, 0) if word_count else (0, whole)


def beyond_chance(known_share: float, filled_share: float) -> float:
    """Return the share of features that are known, without those that only share a number.

    Where ``filled_share`` of all numbers are taken, a word that was never met has this chance to
    fall on one of them: of invented words a large model would seem to know two fifths.
    """
    if filled_share >= 1.0:
        return 0.0
    return max(0.0, (known_share - filled_share) / (1.0 - filled_share))


def label_belief(likely: Likely, slips: float) -> Likely:
    """Return how far a label is to be believed, 0 to 1: the chance that it is no slip of the hand.

    ``likely`` is what the model gives the label's class, ``slips`` the share of slips among all
    labels. Bayes' rule, as in logistic regression with noisy labels (Bootkrajang and Kabán 2012).
    """
    right = (1.0 - slips) * likely
    return right / (right + slips * (1.0 - likely))


def sigmoid(log_odds: float) -> float:
    """Return the probability of these log odds, without overflow."""
    if log_odds >= 0.0:
        return 1.0 / (1.0 + math.exp(-min(log_odds, 700.0)))
    grown = math.exp(max(log_odds, -700.0))
    return grown / (1.0 + grown)
