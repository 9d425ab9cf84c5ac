"""The gateway's whole scoring as a filter under test, with a content model that can learn.

Training may not import the gateway's pipeline; its command line hands a factory down instead:
``factory(models)`` returns a function from a message to points. ``models`` is what the content
check asks (its ``current()`` is the model), or None for the model that serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gateway.core.routing import Domain
from models.bundle import Bundle
from models.calibration import DEFAULT_SCALE, SITE_CAP, points
from models.classifier import ContentScore
from models.message import ParsedMail
from training.online import OnlineFilter

SPAM_POINTS: Final = Domain(name="default.invalid", next_hops=()).spam_score
"""From so many points on the gateway catches mail, where a domain chose nothing else."""

_FINEST: Final = 0.0005


class Model(Protocol):
    """What the content check needs of a model."""

    @property
    def model_id(self) -> str:
        """The name that verdicts tell."""

    def score(self, mail: ParsedMail, raw: bytes, words: int = 0) -> ContentScore:
        """Score a scanned message."""

    def points(self, score: ContentScore) -> float:
        """Return what the score is worth."""


class Models(Protocol):
    """Where the content check asks for the model."""

    def current(self) -> Model:
        """Return the model that serves."""


PipelineFactory = Callable[[Models | None], Callable[[bytes], float]]


class _Watched:
    """A model that remembers what it said last, and stands for a registry that holds it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._last: ContentScore | None = None

    def take_last(self) -> ContentScore | None:
        """Return the score given since this was last asked, if any."""
        last, self._last = self._last, None
        return last

    @property
    def model_id(self) -> str:
        return self._model.model_id

    def current(self) -> Model:
        return self

    def score(self, mail: ParsedMail, raw: bytes, words: int = 0) -> ContentScore:
        self._last = self._model.score(mail, raw, words)
        return self._last

    def points(self, score: ContentScore) -> float:
        return self._model.points(score)


class _Learning:
    """The classifier while it learns, in the form of a model that serves."""

    model_id = "learning"

    def __init__(self, learner: OnlineFilter) -> None:
        self._learner = learner

    def score(self, mail: ParsedMail, raw: bytes, words: int = 0) -> ContentScore:
        del mail  # the learner keeps the features it needs again when it is told the answer
        return self._learner.score(raw, words)

    def points(self, score: ContentScore) -> float:
        return points(score, SITE_CAP, DEFAULT_SCALE)


class PipelineFilter:
    """The pipeline's points as scores; below their last digit the classifier orders the ties.

    Points are rounded and capped for people. Ranks are not for people: two messages with equal
    points are told apart by the log odds of their content, by less than any point could.
    """

    def __init__(self, factory: PipelineFactory, model: Model | None) -> None:
        self._watched = None if model is None else _Watched(model)
        self._score = factory(self._watched)

    def classify(self, raw: bytes) -> float:
        """Return the points, with the order of ties below the last digit."""
        if self._watched is None:
            return self._score(raw)
        found = self._score(raw)
        content = self._watched.take_last()
        if content is None:
            return found
        return found + _FINEST * content.log_odds / (1.0 + abs(content.log_odds))

    def explain(self, raw: bytes) -> Sequence[tuple[str, float]]:
        """Return the words that the gateway's verdict names, if its factory tells them."""
        words: Callable[[bytes], Sequence[tuple[str, float]]] | None
        words = getattr(self._score, "words", None)
        return words(raw) if words else ()


class PipelineLearner:
    """Teaches the model behind a pipeline what the pipeline let it score.

    The gateway sees lines that end in CRLF, stored mail mostly has LF. They differ in a few byte
    patterns; and features that were made to score a message need not be made again to learn it.
    """

    def __init__(self, learner: OnlineFilter) -> None:
        self._learner = learner

    def train(self, raw: bytes, is_spam: bool) -> None:
        """Learn a message."""
        self._learner.train(_as_received(raw), is_spam)

    def explain(self, raw: bytes, n: int) -> Sequence[tuple[str, float]]:
        """Return the strongest words for and against spam."""
        return self._learner.explain(_as_received(raw), n)


def learning_model(bundle: Bundle | None) -> tuple[Model, PipelineLearner]:
    """Return a model that learns, from a bundle or from nothing, and who teaches it."""
    learner = OnlineFilter(bundle)
    return _Learning(learner), PipelineLearner(learner)


def _as_received(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
