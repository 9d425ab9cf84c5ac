"""Which filter an evaluation or the jig drives: our classifier, or the gateway's whole scoring."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

from gateway.locale import Translator
from gateway.locale.bundles import explain_bundle_error
from models.bundle import Bundle, BundleError
from models.message import scan
from models.registry import baseline_directory
from training.evaluate import FilterUnderTest
from training.evaluate_pipeline import (
    SPAM_POINTS,
    PipelineFactory,
    PipelineFilter,
    learning_model,
)
from training.online import OnlineFilter

NO_MODEL = "none"
_WORDS = 14


class UnusableFilterError(Exception):
    """The filter that was asked for cannot be had; the text says why."""


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
    scorer: str, model: str | None, pipeline: object, _: Translator, *, learning: bool
) -> FilterUnderTest:
    """Open the filter that the command line's options name.

    ``model`` is a bundle's folder, ``none``, or None for the shipped baseline (with the pipeline:
    for the model that serves). Without ``learning`` a model is measured exactly as it serves.
    ``pipeline`` is the gateway's factory of ``evaluate_pipeline``. Raises UnusableFilterError with
    a sentence for a person.
    """
    if scorer == "pipeline":
        return _pipeline_filter(model, pipeline, _, learning=learning)
    bundle = _bundle(model, _)
    if bundle is None or learning:
        return _learner(bundle)
    return _published(bundle)


def _bundle(model: str | None, _: Translator) -> Bundle | None:
    if model == NO_MODEL:
        return None
    try:
        return Bundle.load(baseline_directory() if model is None else Path(model))
    except BundleError as error:
        raise UnusableFilterError(
            _("model: {error}").format(error=explain_bundle_error(error, _))
        ) from error


def _published(bundle: Bundle) -> FilterUnderTest:
    served = _Published(bundle)
    return FilterUnderTest(
        name=f"classifier, model {bundle.model_id}", scorer=served, explain=served.explain
    )


def _learner(bundle: Bundle | None) -> FilterUnderTest:
    tested = OnlineFilter(bundle)
    start = "from nothing" if bundle is None else f"model {bundle.model_id}"
    return FilterUnderTest(
        name=f"classifier, {start}",
        scorer=tested,
        learn=tested.train,
        explain=lambda raw: tested.explain(raw, _WORDS),
        as_trained=_published if bundle is None else None,
    )


def _pipeline_filter(
    model: str | None, pipeline: object, _: Translator, *, learning: bool
) -> FilterUnderTest:
    if not callable(pipeline):
        raise UnusableFilterError(
            _("the pipeline scorer belongs to the gateway's own command: use 'schwamm' for it")
        )
    factory = cast("PipelineFactory", pipeline)
    if not learning and model is None:
        served = PipelineFilter(factory, None)
        return FilterUnderTest(
            name="pipeline", scorer=served, explain=served.explain, threshold=SPAM_POINTS
        )
    bundle = _bundle(model, _)
    if bundle is not None and not learning:
        return _published_pipeline(factory, bundle)
    content, learner = learning_model(bundle)
    start = "from nothing" if bundle is None else f"model {bundle.model_id}"
    return FilterUnderTest(
        name=f"pipeline, {start}",
        scorer=PipelineFilter(factory, content),
        learn=learner.train,
        explain=lambda raw: learner.explain(raw, _WORDS),
        threshold=SPAM_POINTS,
        as_trained=partial(_published_pipeline, factory) if bundle is None else None,
    )


def _published_pipeline(factory: PipelineFactory, bundle: Bundle) -> FilterUnderTest:
    served = PipelineFilter(factory, bundle)
    return FilterUnderTest(
        name=f"pipeline, model {bundle.model_id}",
        scorer=served,
        explain=served.explain,
        threshold=SPAM_POINTS,
    )
