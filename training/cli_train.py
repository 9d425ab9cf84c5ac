"""``schwamm train``: from labelled mail to a candidate model with its evaluation.

The earliest part of the mail is learned, the next part calibrates, the latest is held out for the
gate; then everything is learned for the model that is kept. Campaigns count once a day and never
stand on both sides of a cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import click
import numpy as np

from models.bundle import Bundle, BundleError
from models.calibration import SITE_CAP, Calibration
from models.features import Features, extract
from models.mailboxes.message import OnProblem
from models.manifest import Manifest
from models.message import scan
from models.registry import Registry, baseline_directory
from training.calibrate import fit_calibration
from training.cli_corpus import archive_of
from training.cli_evaluate import progress_display
from training.cli_model import GATE, models_directory
from training.cli_train_gate import GateResult, judge
from training.corpus import CorpusMessage, CorpusProblem, read_index
from training.corpus.index import find_index
from training.dedup import Fingerprint, campaigns, fingerprint_of
from training.measures import BoolArray, FloatArray
from training.online import OnlineFilter
from training.protocols import LabelledStream
from training.publish import publish
from training.report_texts import ENGLISH
from training.split import IntArray, arrival_time, once_a_day, order_by_time, split_by_time
from training.train import Example, canonical_order

_SEED = 1
_HELD_OUT_SHARE = 0.25
_CALIBRATION_SHARE = 0.2
_GATE_THRESHOLD = 0.5
LEARNED_UNTIL = "learned_until"
"""The metric of a site model that tells when the last mail it learned came (seconds, UTC)."""


@dataclass(slots=True)
class Lessons:
    """Everything that training needs of the mail, in memory: features, not messages."""

    examples: list[Example]
    times: list[float | None]
    prints: list[Fingerprint]

    def labels(self) -> BoolArray:
        """Return the labels in order."""
        return np.array([example.is_spam for example in self.examples], dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model ready to be published, and what the gate says about it."""

    bundle: Bundle
    gate: GateResult
    learned: int
    calibrated_on: int
    held_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Positions of the mail by its use, in order of time; ``latest`` is the time of the last."""

    learned: IntArray
    calibrated_on: IntArray
    test: IntArray
    latest: float


def gather(stream: LabelledStream, *, on_step: Callable[[], None] = lambda: None) -> Lessons:
    """Read the mail once."""
    lessons = Lessons([], [], [])
    for message, is_spam in stream:
        mail = scan(message.raw)
        stored = extract(mail, message.raw).to_bytes()
        lessons.examples.append(Example(stored=stored, is_spam=is_spam))
        lessons.times.append(arrival_time(mail))
        lessons.prints.append(fingerprint_of(mail))
        on_step()
    return lessons


def train_candidate(
    lessons: Lessons,
    live: Bundle | None,
    start: Bundle | None,
    *,
    on_step: Callable[[], None] = lambda: None,
) -> Candidate:
    """Train, calibrate, judge. ``start`` is the model to begin with, None for nothing.

    Raises NothingToMeasure or ValueError when ham or spam is missing in a part.
    """
    labels, groups = lessons.labels(), campaigns(lessons.prints)
    parts = _cut(lessons, groups, None if live is None else live.metrics.get(LEARNED_UNTIL))
    if not 0 < labels[parts.test].sum() < len(parts.test):
        raise ValueError("too little ham or spam came after what the serving model learned")

    def fitted(positions: IntArray) -> OnlineFilter:
        kept = once_a_day(np.sort(positions), lessons.times, groups, labels)
        chosen = [lessons.examples[position] for position in kept]
        return _fitted(chosen, start, on_step)

    learner = fitted(parts.learned)
    held_back = _log_odds(learner, lessons, parts.calibrated_on)
    calibration = fit_calibration(held_back, labels[parts.calibrated_on])
    gate = judge(
        labels[parts.test],
        _probabilities(_log_odds(learner, lessons, parts.test), calibration),
        None if live is None else _served(live, lessons, parts.test),
        threshold=_GATE_THRESHOLD,
    )
    final = fitted(np.arange(len(labels)))
    return Candidate(
        bundle=final.publishable(_manifest(calibration, gate, parts.latest)),
        gate=gate,
        learned=len(parts.learned),
        calibrated_on=len(parts.calibrated_on),
        held_out=len(parts.test),
    )


def _cut(lessons: Lessons, groups: IntArray, learned_until: float | None) -> Parts:
    split = split_by_time(
        lessons.times, groups, test_share=_HELD_OUT_SHARE, learned_until=learned_until
    )
    order, filled = order_by_time(lessons.times)
    early = order[np.isin(order, split.train)]
    cut = len(early) - round(len(early) * _CALIBRATION_SHARE)
    fresh = ~np.isin(groups[early[cut:]], groups[early[:cut]])
    return Parts(
        learned=early[:cut],
        calibrated_on=early[cut:][fresh],
        test=split.test,
        latest=float(filled.max(initial=0.0)),
    )


def run_train(
    *,
    corpus: Sequence[Path],
    config: Path | None,
    from_nothing: bool,
    as_json: bool,
    progress: bool | None,
) -> None:
    """Train and publish a candidate; exit 1 if the gate refuses it or there is too little mail."""
    problems: list[CorpusProblem] = []

    def note(problem: CorpusProblem) -> None:
        problems.append(problem)
        click.echo(str(problem), err=True)

    try:
        directory = models_directory(config)
        start = None if from_nothing else Bundle.load(baseline_directory())
    except BundleError as error:
        raise click.ClickException(str(error)) from error
    live = _live(directory)
    with progress_display(None, wanted=progress) as step:
        lessons = gather(_mail(corpus, config, note), on_step=step)
        try:
            candidate = train_candidate(lessons, live, start, on_step=step)
        except ValueError as error:  # also NothingToMeasure
            raise click.ClickException(f"no model can be made of this mail: {error}") from error
    name = publish(candidate.bundle, directory)
    _tell(name, candidate, len(problems), as_json=as_json)
    if not candidate.gate.passed:
        click.get_current_context().exit(1)


def _fitted(
    chosen: Sequence[Example], start: Bundle | None, on_step: Callable[[], None]
) -> OnlineFilter:
    learner = OnlineFilter(start)
    for example in canonical_order(chosen, _SEED):
        learner.learn(Features.from_bytes(example.stored), is_spam=example.is_spam)
        on_step()
    return learner


def _log_odds(learner: OnlineFilter, lessons: Lessons, positions: IntArray) -> FloatArray:
    stored = (lessons.examples[position].stored for position in positions)
    return np.array([learner.log_odds(Features.from_bytes(one)) for one in stored])


def _probabilities(log_odds: FloatArray, calibration: Calibration) -> FloatArray:
    return np.array([calibration.probability(float(one)) for one in log_odds])


def _served(live: Bundle, lessons: Lessons, positions: IntArray) -> FloatArray:
    stored = (lessons.examples[position].stored for position in positions)
    return np.array([live.score_features(Features.from_bytes(one)).probability for one in stored])


def _manifest(calibration: Calibration, gate: GateResult, latest: float) -> Manifest:
    metrics = {
        f"held_out_{name}": round(value, 4) for name, value in gate.candidate.as_dict().items()
    }
    return Manifest(
        origin="site",
        ham_messages=0,
        spam_messages=0,
        points_cap=SITE_CAP,
        calibration=calibration,
        metrics={**metrics, GATE: float(gate.passed), LEARNED_UNTIL: latest},
    )


def _mail(
    corpus: Sequence[Path], config: Path | None, note: OnProblem
) -> Iterable[tuple[CorpusMessage, bool]]:
    """The labelled archive, or instead of it the index files that were named."""
    if not corpus:
        return archive_of(config).stream(on_problem=note)
    try:
        indexes = [find_index(one) for one in corpus]
    except FileNotFoundError as error:
        raise click.UsageError(f"--corpus: {error}") from error
    return chain.from_iterable(read_index(index, on_problem=note) for index in indexes)


def _live(directory: Path) -> Bundle | None:
    try:
        return Registry(directory).current()
    except BundleError as error:
        click.echo(f"the model that serves cannot be compared with: {error}", err=True)
        return None


def _tell(name: str, candidate: Candidate, skipped: int, *, as_json: bool) -> None:
    gate = candidate.gate
    told = {
        "model": name,
        "gate_passed": gate.passed,
        "reasons": list(gate.reasons),
        "learned": candidate.learned,
        "calibrated_on": candidate.calibrated_on,
        "held_out": candidate.held_out,
        "skipped": skipped,
        "candidate": gate.candidate.as_dict(),
        "live": None if gate.live is None else gate.live.as_dict(),
        "differences": {
            key: [one.value, one.interval.low, one.interval.high]
            for key, one in gate.differences.items()
        },
    }
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(
        f"{name}: learned {candidate.learned}, calibrated on {candidate.calibrated_on}, "
        f"judged on {candidate.held_out} later messages"
    )
    for key, value in gate.candidate.as_dict().items():
        live = "" if gate.live is None else f"   serving model {gate.live.as_dict()[key]:.3f}"
        click.echo(f"  {ENGLISH[key]:28} {value:8.3f}%{live}")
    for reason in gate.reasons:
        click.echo(f"refused: {reason}")
    if gate.passed:
        click.echo(f"passed its gate; to let it serve: schwamm model promote {name}")
