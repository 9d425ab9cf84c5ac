"""One evaluation: a stream, a protocol, a filter; measures with intervals come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gateway.locale import N_, Translator
from models.bundle import Bundle
from models.calibration import SITE_CAP, Calibration
from models.mailboxes.message import OnProblem
from models.manifest import Manifest
from training.corpus import CorpusMessage, CorpusProblem, read_index
from training.corpus.index import expected_messages
from training.dedup import campaigns
from training.lessons import gather
from training.measures import Measures, measure, measure_one_kind
from training.measures_bootstrap import Interval, intervals, intervals_of_one_kind
from training.protocols import (
    MORE_LIKELY_SPAM,
    EvaluationProtocol,
    LabelledStream,
    ProtocolKind,
    Run,
    Scorer,
    WordWeights,
    run_stream,
)
from training.split import order_by_time, split_by_time
from training.trainer import Trainer

Learn = Callable[[bytes, bool], None]
Step = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterUnderTest:
    """A filter as the evaluation drives it.

    ``learn`` is None for one that cannot learn, ``threshold`` is the score from which it says spam.
    ``as_trained`` gives one that starts empty with a model in it; None where it has one.
    """

    name: str
    scorer: Scorer
    learn: Learn | None = None
    explain: Callable[[bytes], WordWeights] | None = None
    threshold: float = MORE_LIKELY_SPAM
    as_trained: Callable[[Bundle], FilterUnderTest] | None = None


_KINDS = {"classifier": N_("classifier"), "pipeline": N_("the gateway's whole scoring")}
_NOTHING = N_("from nothing")


def filter_in_words(name: str, _: Translator) -> str:
    """Return a filter's name for people; machines get it as it is."""
    kind, comma, start = name.partition(", ")
    known = _(_KINDS[kind]) if kind in _KINDS else kind
    if start.startswith("model "):
        start = _("model {model}").format(model=start.removeprefix("model "))
    return known + comma + (_(start) if start == _NOTHING else start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything a report or a JSON line tells about one run."""

    filter_name: str
    protocol: EvaluationProtocol
    run: Run
    measures: Measures
    intervals: dict[str, Interval]
    skipped: int
    note: str = ""

    def as_json(self) -> dict[str, object]:
        """Return the contract's keys, and after them what else is worth keeping.

        A measure that needs both kinds of mail is None where there was only one.
        """
        return {
            **{
                name: None if math.isnan(value) else value
                for name, value in self.measures.as_dict().items()
            },
            "messages": len(self.run.scores),
            "seconds": round(self.run.seconds, 3),
            "ham": int((~self.run.is_spam).sum()),
            "spam": int(self.run.is_spam.sum()),
            "learned": self.run.learned,
            "skipped": self.skipped,
            "protocol": str(self.protocol),
            "filter": self.filter_name,
            "filter_seconds": round(self.run.filter_seconds, 3),
            "intervals_95": {
                name: [interval.low, interval.high] for name, interval in self.intervals.items()
            },
            "note": self.note,
        }


@dataclass(slots=True)
class Corpus:
    """An index file that can be read several times; problems are told the first time only."""

    index: Path
    limit: int | None
    on_problem: OnProblem
    skipped: int = field(default=0, init=False)
    _told: bool = field(default=False, init=False)

    def stream(self) -> Iterator[tuple[CorpusMessage, bool]]:
        """Yield the messages in order, from the first to the limit."""
        tell = not self._told
        self._told = True

        def note(problem: CorpusProblem) -> None:
            if tell:
                self.skipped += 1
                self.on_problem(problem)

        yield from islice(read_index(self.index, on_problem=note), self.limit)

    def lines(self) -> int:
        """Return how many messages to expect, for a progress display."""
        return expected_messages(self.index, self.limit)


def evaluate(
    corpus: Corpus,
    tested: FilterUnderTest,
    protocol: EvaluationProtocol,
    *,
    on_step: Step = lambda: None,
    resamples: int = 1000,
    say: Translator = str,
) -> Evaluation:
    """Run the protocol over the corpus and measure.

    A filter that knows nothing has nothing to show in a batch: it is then trained on the earlier
    half by time of arrival as a site's model is, and tested on the later half's other campaigns.

    Mail of one kind gives its one error rate. Raises NothingToMeasure without any mail.
    """
    note, scorer, explain = "", tested.scorer, tested.explain
    stream: LabelledStream = corpus.stream()
    if protocol.kind is ProtocolKind.BATCH and tested.as_trained is not None:
        bundle, note, stream = _trained_on_earlier_half(corpus, on_step, say)
        trained = tested.as_trained(bundle)
        scorer, explain = trained.scorer, trained.explain
    run = run_stream(
        stream,
        scorer,
        learn=tested.learn,
        feedback=protocol.feedback,
        threshold=tested.threshold,
        explain=explain,
        on_step=on_step,
    )
    measures, found = _measured(run, resamples)
    return Evaluation(
        filter_name=tested.name,
        protocol=protocol,
        run=run,
        measures=measures,
        intervals=found,
        skipped=corpus.skipped,
        note=note,
    )


def _measured(run: Run, resamples: int) -> tuple[Measures, dict[str, Interval]]:
    labels, scores, threshold = run.is_spam, run.scores, run.threshold
    if labels.any() and not labels.all():
        found = intervals(labels, scores, threshold=threshold, resamples=resamples)
        return measure(labels, scores, threshold=threshold), found
    measures = measure_one_kind(labels, scores, threshold=threshold)
    return measures, intervals_of_one_kind(measures, len(scores))


def _trained_on_earlier_half(
    corpus: Corpus, on_step: Step, _: Translator
) -> tuple[Bundle, str, LabelledStream]:
    lessons = gather(corpus.stream(), on_step=on_step)
    order, _filled = order_by_time(lessons.times)
    lessons = lessons.chosen(order)
    groups = campaigns(lessons.prints)
    split = split_by_time(lessons.times, groups)
    trainer = Trainer(lessons, groups, None, on_step)
    fit = trainer.fitted(split.train)
    try:
        calibration = trainer.calibration(fit)
    except ValueError:  # mail of one kind says nothing about the other
        calibration = Calibration()
    counts = fit.learner.counts
    note = _(
        "trained on {lessons} of the earlier {earlier} messages (each campaign once a day), "
        "tested on {later} later ones of other campaigns"
    ).format(
        lessons=counts.ham_messages + counts.spam_messages,
        earlier=len(split.train),
        later=len(split.test),
    )
    manifest = Manifest(
        origin="site",
        ham_messages=0,
        spam_messages=0,
        points_cap=SITE_CAP,
        calibration=calibration,
    )
    tested = frozenset(order[split.test].tolist())
    return fit.learner.publishable(manifest), note, _at(corpus, tested)


def _at(corpus: Corpus, positions: frozenset[int]) -> Iterator[tuple[CorpusMessage, bool]]:
    for position, labelled in enumerate(corpus.stream()):
        if position in positions:
            yield labelled
