"""``schwamm evaluate``: options in, one run, a table or JSON out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from models.mailboxes.message import CorpusProblem
from training.corpus.index import find_index
from training.evaluate import Corpus, Evaluation, FilterUnderTest, evaluate
from training.evaluate_filters import UnusableFilterError, open_filter
from training.measures import MEASURE_NAMES, NothingToMeasure
from training.protocols import EvaluationProtocol, ProtocolKind
from training.report_texts import ENGLISH

_STEPS_PER_UPDATE = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest:
    """The options of ``schwamm evaluate``; ``pipeline`` is what the gateway handed down."""

    index: Path | None
    protocol: str
    scorer: str
    limit: int | None
    model: str | None
    as_json: bool
    report: Path | None
    language: str
    progress: bool | None
    pipeline: object


def run_evaluate(request: EvaluateRequest) -> None:
    """Run and print; raises click's errors (exit code 2 for bad usage, 1 for a failure)."""
    protocol = _protocol(request.protocol)
    corpus = Corpus(index=_index(request.index), limit=request.limit, on_problem=_complain)
    try:
        learning = protocol.kind is not ProtocolKind.BATCH
        tested = open_filter(request.scorer, request.model, request.pipeline, learning=learning)
        _refuse_learning_without(tested, protocol)
        evaluation = _evaluated(corpus, tested, protocol, request)
    except UnusableFilterError as error:
        raise click.ClickException(str(error)) from error
    except NothingToMeasure as error:
        raise click.ClickException(f"{corpus.index}: {error}") from error
    if request.as_json:
        click.echo(json.dumps(evaluation.as_json()))
    else:
        _print(evaluation)
    if request.report is not None:
        _write_report(request.report, evaluation, request.language)


def _protocol(text: str) -> EvaluationProtocol:
    try:
        return EvaluationProtocol.parse(text)
    except ValueError as error:
        raise click.UsageError(f"--protocol: {error}") from error


def _index(given: Path | None) -> Path:
    if given is None:
        raise click.UsageError("--index FILE says which mail to measure on")
    try:
        return find_index(given)
    except FileNotFoundError as error:
        raise click.UsageError(f"--index: {error}") from error


def _refuse_learning_without(tested: FilterUnderTest, protocol: EvaluationProtocol) -> None:
    if tested.learn is None and protocol.kind is not ProtocolKind.BATCH:
        raise click.UsageError(f"the {tested.name} cannot learn here: use --protocol batch")


def _complain(problem: CorpusProblem) -> None:
    click.echo(str(problem), err=True)


def _evaluated(
    corpus: Corpus,
    tested: FilterUnderTest,
    protocol: EvaluationProtocol,
    request: EvaluateRequest,
) -> Evaluation:
    two_passes = protocol.kind is ProtocolKind.BATCH and tested.knows_nothing
    wanted = sys.stderr.isatty() if request.progress is None else request.progress
    total = corpus.lines() * (2 if two_passes else 1) if wanted else None
    with progress_display(total, wanted=wanted) as step:
        return evaluate(corpus, tested, protocol, on_step=step)


@contextmanager
def progress_display(total: int | None, *, wanted: bool | None) -> Iterator[Callable[[], None]]:
    """Show messages done and the time left on standard error; give what to call for each.

    ``total`` is None where it is not known; ``wanted`` None means: on a terminal.
    """
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task("messages", total=total)
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            if done % _STEPS_PER_UPDATE == 0:
                display.update(task, completed=done)

        yield step
        display.update(task, completed=done)


def _write_report(path: Path, evaluation: Evaluation, language: str) -> None:
    if not evaluation.measures.complete():
        raise click.ClickException("a report needs mail of both kinds, ham and spam")
    # Matplotlib takes a second to import and writes a cache: only a report needs it.
    from training.report import html_report  # noqa: PLC0415

    try:
        path.write_text(html_report(evaluation, language=language), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"the report cannot be written: {error}") from error


def _print(evaluation: Evaluation) -> None:
    run = evaluation.run
    table = Table(title=f"{evaluation.filter_name}, {evaluation.protocol}", title_justify="left")
    table.add_column("Measure")
    table.add_column("%", justify="right")
    table.add_column("95% interval", justify="right")
    values = evaluation.measures.as_dict()
    for name in MEASURE_NAMES:
        if (interval := evaluation.intervals.get(name)) is None:
            table.add_row(ENGLISH[name], "", "needs both kinds")
            continue
        table.add_row(
            ENGLISH[name], f"{values[name]:.3f}", f"{interval.low:.3f} to {interval.high:.3f}"
        )
    console = Console()
    console.print(table)
    ham = int((~run.is_spam).sum())
    console.print(
        f"{len(run.scores)} messages ({ham} ham, {len(run.scores) - ham} spam), "
        f"{run.learned} learned, {evaluation.skipped} skipped; {run.seconds:.1f} s, "
        f"{len(run.scores) / max(run.seconds, 1e-9):.0f} messages a second",
        highlight=False,
        soft_wrap=True,
    )
    if evaluation.note:
        console.print(evaluation.note, highlight=False)
