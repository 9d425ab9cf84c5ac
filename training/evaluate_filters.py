"""Which filter an evaluation or the jig drives: our classifier, or the gateway's whole scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from models.bundle import Bundle, BundleError
from models.message import scan
from models.registry import baseline_directory
from training.evaluate import FilterUnderTest
from training.online import OnlineFilter

NO_MODEL = "none"
_WORDS = 14


class UnusableFilterError(Exception):
    """The filter that was asked for cannot be had; the text says why."""


@runtime_checkable
class PipelineScorer(Protocol):
    """The gateway's scoring, handed in by its command line: bytes in, a score out.

    It may carry ``threshold`` (the score from which it says spam, else 0.5) and
    ``train(raw, is_spam)``; without that it cannot learn.
    """

    def __call__(self, raw: bytes) -> float:
        """Score one message."""


class _Called:
    """A scoring function in the form of a scorer."""

    def __init__(self, function: PipelineScorer) -> None:
        self.classify = function


class _Published:
    """A model as the gateway serves it: it scores and does not learn."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def classify(self, raw: bytes) -> float:
        return self._bundle.score(scan(raw), raw).probability

    def explain(self, raw: bytes) -> list[tuple[str, float]]:
        words = self._bundle.score(scan(raw), raw, words=_WORDS).words
        return [(word.word, word.weight) for word in words]


def open_filter(
    scorer: str, model: str | None, pipeline: object, *, learning: bool
) -> FilterUnderTest:
    """Open the filter that the command line's options name.

    ``model`` is a bundle's folder, ``none``, or None for the shipped baseline. Without
    ``learning`` a model is measured exactly as it serves. Raises UnusableFilterError with a
    sentence for a person.
    """
    if scorer == "pipeline":
        return _pipeline_filter(model, pipeline)
    if model == NO_MODEL:
        return _learner("classifier, from nothing", None)
    try:
        bundle = Bundle.load(baseline_directory() if model is None else Path(model))
    except BundleError as error:
        raise UnusableFilterError(f"model: {error}") from error
    name = f"classifier, model {bundle.model_id}"
    if learning:
        return _learner(name, bundle)
    published = _Published(bundle)
    return FilterUnderTest(name=name, scorer=published, explain=published.explain)


def _learner(name: str, bundle: Bundle | None) -> FilterUnderTest:
    tested = OnlineFilter(bundle)
    return FilterUnderTest(
        name=name,
        scorer=tested,
        learn=tested.train,
        explain=lambda raw: tested.explain(raw, _WORDS),
        knows_nothing=bundle is None,
    )


def _pipeline_filter(model: str | None, pipeline: object) -> FilterUnderTest:
    if not isinstance(pipeline, PipelineScorer):
        raise UnusableFilterError(
            "the pipeline scorer belongs to the gateway's own command: use 'schwamm' for it"
        )
    if model is not None:
        raise UnusableFilterError("--model chooses a classifier: leave it out with the pipeline")
    threshold = getattr(pipeline, "threshold", 0.5)
    return FilterUnderTest(
        name="pipeline",
        scorer=_Called(pipeline),
        learn=getattr(pipeline, "train", None),
        threshold=float(threshold),
    )
