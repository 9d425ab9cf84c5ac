"""The classifier as a learner: scores a message, is told what it was, and is wiser for the next.

The same object runs the evaluation's online protocols, the outside judge and the training of a
published model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from models.bundle import Bundle, Manifest
from models.calibration import Calibration
from models.classifier import (
    LEARNING_UNIT,
    PUBLISHED_UNIT,
    Classifier,
    ContentScore,
    NaiveBayes,
    Parts,
    ScoreParameters,
    SecondStage,
)
from models.counts import Counts
from models.explain import explain
from models.features import Features, extract, extract_ends
from models.message import scan

_REMEMBERED: Final = 64
_REMEMBERED_BYTES: Final = 256 * 1024
_FINER: Final = round(PUBLISHED_UNIT / LEARNING_UNIT)
_INT16: Final = np.iinfo(np.int16)
_MOST_ENERGY: Final = np.finfo(np.float16).max


@dataclass(frozen=True, slots=True, kw_only=True)
class StartShare:
    """How much of the shipped model's weights, caution and counts a learner starts with.

    Measured in ``docs/classifier.md``: all of it would take a site's own mail too long to outweigh.
    """

    weights: float = 0.3
    energy: float = 0.1
    counts_divisor: int = 10


class OnlineFilter:
    """A naive Bayes with its second stage, learning one message at a time.

    Without a bundle it starts from nothing; with one it starts from a copy of it, and the bundle
    stays as it is. The shipped baseline is taken with a grain of salt, so that the site's own mail
    soon outweighs it.
    """

    def __init__(
        self,
        bundle: Bundle | None = None,
        parameters: ScoreParameters | None = None,
        start: StartShare | None = None,
    ) -> None:
        if bundle is not None:
            parameters = parameters or _learning(bundle)
        self.parameters = parameters or ScoreParameters()
        self.second = SecondStage(self.parameters)
        self.counts = Counts()
        self.calibration = Calibration()
        if bundle is not None:
            self._start_from(bundle, start or StartShare())
        naive = NaiveBayes(self.counts, self.parameters)
        self.classifier = Classifier(naive, self.second.weights, LEARNING_UNIT)
        self._scored: tuple[Features, Parts] | None = None
        self._recent: OrderedDict[bytes, tuple[Features, ...]] = OrderedDict()

    def _start_from(self, bundle: Bundle, start: StartShare) -> None:
        self.second.weights[:] = bundle.weights.astype(np.int32) * _FINER
        self.second.energy[:] = bundle.energy
        if bundle.origin != "baseline":
            self.counts = bundle.counts.copy()
            return
        self.counts = bundle.counts.thinned(start.counts_divisor)
        self.second.weights[:] = np.rint(self.second.weights * start.weights).astype(np.int32)
        self.second.energy *= np.float32(start.energy)

    def features(self, raw: bytes) -> Features:
        """Extract features, remembering those of the last few messages."""
        return self._views(raw)[0]

    def _views(self, raw: bytes) -> tuple[Features, ...]:
        """Return the whole of a message and the ends of a long one."""
        found = self._recent.get(raw)
        if found is not None:
            return found
        mail = scan(raw)
        found = extract(mail, raw), *extract_ends(mail, raw)
        if len(raw) <= _REMEMBERED_BYTES:
            self._recent[raw] = found
            if len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        return found

    def _worst_view(self, raw: bytes) -> Features:
        """Return the view of a long message that looks most like spam, as when it is served."""
        views = self._views(raw)
        return views[0] if len(views) == 1 else self.classifier.worst(*views)

    def classify(self, raw: bytes) -> float:
        """Return the spam probability; its order is that of the log odds to the last bit."""
        return self.calibration.probability(self.log_odds(self._worst_view(raw)))

    def score(self, raw: bytes, words: int = 0) -> ContentScore:
        """Score a message with everything there is to say about it."""
        features = self._worst_view(raw)
        parts = self._parts(features)
        return ContentScore(
            probability=self.calibration.probability(parts.log_odds),
            log_odds=parts.log_odds,
            known_share=parts.known_share,
            naive_log_odds=parts.naive,
            pattern_log_odds=parts.second,
            words=explain(features, self.classifier, words, parts=parts) if words else (),
        )

    def explain(self, raw: bytes, n: int = 8) -> Sequence[tuple[str, float]]:
        """Return the strongest words for and against spam."""
        return [(word.word, word.weight) for word in self.score(raw, n).words]

    def log_odds(self, features: Features) -> float:
        """Return the log odds of spam, uncalibrated."""
        return self._parts(features).log_odds

    def _parts(self, features: Features) -> Parts:
        """Score features, once only if they are learned right after they were scored."""
        if self._scored is None or self._scored[0] is not features:
            self._scored = features, self.classifier.parts(features)
        return self._scored[1]

    def train(self, raw: bytes, is_spam: bool) -> None:
        """Learn a message."""
        self.learn(self.features(raw), is_spam=is_spam)

    def untrain(self, raw: bytes, is_spam: bool) -> None:
        """Take a message back from the counts. Raises ValueError if it was not learned so.

        The second stage can't forget exactly; it is refitted from stored features in training.
        """
        self.counts.subtract(self.features(raw), is_spam=is_spam)
        self._scored = None

    def learn(self, features: Features, *, is_spam: bool) -> None:
        """Learn a message's features: one step of the second stage, then the counts."""
        self.refine(features, is_spam=is_spam)
        self.counts.add(features, is_spam=is_spam)
        self._scored = None

    def refine(self, features: Features, *, is_spam: bool) -> None:
        """Let only the second stage learn, as in a further epoch over counted messages."""
        self.second.learn(features, self._parts(features), is_spam=is_spam)
        self._scored = None

    def publishable(self, manifest: Manifest) -> Bundle:
        """Return what was learned as a sealed bundle with this manifest's texts and limits."""
        weights = np.rint(self.second.weights / _FINER)
        weights = np.clip(weights, _INT16.min, _INT16.max).astype(np.int16)
        manifest = replace(
            manifest,
            ham_messages=self.counts.ham_messages,
            spam_messages=self.counts.spam_messages,
            parameters=self.parameters,
        )
        # Only mail of contradicting labels gets there; infinity would make the model unusable.
        energy = np.minimum(self.second.energy, _MOST_ENERGY).astype(np.float16)
        return Bundle(manifest, self.counts.copy(), weights, energy).sealed()


def _learning(bundle: Bundle) -> ScoreParameters:
    """Return the parameters of a learner that starts from a model.

    The baseline's prior is caution about mail it does not know; a site's own labels need none
    (measured: with it, a learner misses more spam after the feedback ends). How many of those
    labels may be slips is not a matter of the model that it starts from.
    """
    usual = ScoreParameters()
    parameters = replace(bundle.manifest.parameters, label_slips=usual.label_slips)
    if bundle.origin == "baseline":
        return replace(parameters, naive_prior=usual.naive_prior)
    return parameters
