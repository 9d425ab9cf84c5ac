"""Which filter an evaluation or the jig drives: our classifier, or the gateway's whole scoring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, runtime_checkable

from models.bundle import Bundle, BundleError
from models.registry import expand_baseline
from training.evaluate import FilterUnderTest
from training.online import OnlineFilter

NO_MODEL = "none"


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


@contextmanager
def open_filter(scorer: str, model: str | None, pipeline: object) -> Iterator[FilterUnderTest]:
    """Open the filter that the command line's options name.

    ``model`` is a bundle's folder, ``none``, or None for the shipped baseline. Raises
    UnusableFilterError with a sentence for a person.
    """
    if scorer == "pipeline":
        yield _pipeline_filter(model, pipeline)
        return
    if model == NO_MODEL:
        yield _classifier_filter("classifier, from nothing", None)
        return
    try:
        if model is not None:
            yield _classifier_filter(f"classifier, model {model}", Bundle.load(Path(model)))
            return
        with TemporaryDirectory(prefix="schwamm-baseline-") as folder:
            bundle = Bundle.load(expand_baseline(Path(folder)))
            yield _classifier_filter(f"classifier, baseline {bundle.model_id}", bundle)
    except BundleError as error:
        raise UnusableFilterError(str(error)) from error


def _classifier_filter(name: str, bundle: Bundle | None) -> FilterUnderTest:
    tested = OnlineFilter(bundle)
    return FilterUnderTest(
        name=name,
        scorer=tested,
        learn=tested.train,
        explain=lambda raw: [(word.word, word.weight) for word in tested.explain(raw, 14)],
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
