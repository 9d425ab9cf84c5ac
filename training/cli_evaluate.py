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

from gateway.locale import Translator, translator
from gateway.locale.mailboxes import explain_problem
from models.mailboxes.message import CorpusProblem
from training.cli_language import no_index
from training.corpus.index import find_index
from training.evaluate import (
    Corpus,
    Evaluation,
    FilterUnderTest,
    evaluate,
    filter_in_words,
)
from training.evaluate_filters import UnusableFilterError, open_filter
from training.measures import MEASURE_NAMES, NothingToMeasure
from training.protocols import EvaluationProtocol, ProtocolKind
from training.report_file import check_report_path, write_report
from training.report_texts import LANGUAGES

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
    _ = translator(request.language)
    protocol = _protocol(request.protocol, _)

    def complain(problem: CorpusProblem) -> None:
        click.echo(explain_problem(problem, _), err=True)

    corpus = Corpus(index=_index(request.index, _), limit=request.limit, on_problem=complain)
    if request.report is not None:
        check_report_path(request.report, corpus.index, _)
    try:
        learning = protocol.kind is not ProtocolKind.BATCH
        tested = open_filter(request.scorer, request.model, request.pipeline, _, learning=learning)
        _refuse_learning_without(tested, protocol, _)
        evaluation = _evaluated(corpus, tested, protocol, request)
    except UnusableFilterError as error:
        raise click.ClickException(str(error)) from error
    except NothingToMeasure as error:
        raise click.ClickException(f"{corpus.index}: {_(str(error))}") from error
    if request.as_json:
        click.echo(json.dumps(evaluation.as_json()))
    else:
        _print(evaluation, request.language)
    if request.report is not None:
        write_report(request.report, evaluation, request.language)


def _protocol(text: str, _: Translator) -> EvaluationProtocol:
    try:
        return EvaluationProtocol.parse(text)
    except ValueError as error:
        why = _("'{text}' is none of batch, online, delayed:N (N a number of messages)")
        raise click.UsageError(f"--protocol: {why.format(text=text)}") from error


def _index(given: Path | None, _: Translator) -> Path:
    if given is None:
        raise click.UsageError(_("--index FILE says which mail to measure on"))
    try:
        return find_index(given)
    except FileNotFoundError as error:
        raise click.UsageError(f"--index: {no_index(given, _)}") from error


def _refuse_learning_without(
    tested: FilterUnderTest, protocol: EvaluationProtocol, _: Translator
) -> None:
    if tested.learn is None and protocol.kind is not ProtocolKind.BATCH:
        text = _("the {name} cannot learn here: use --protocol batch")
        raise click.UsageError(text.format(name=filter_in_words(tested.name, _)))


def _evaluated(
    corpus: Corpus,
    tested: FilterUnderTest,
    protocol: EvaluationProtocol,
    request: EvaluateRequest,
) -> Evaluation:
    two_passes = protocol.kind is ProtocolKind.BATCH and tested.as_trained is not None
    wanted = sys.stderr.isatty() if request.progress is None else request.progress
    total = corpus.lines() * (2 if two_passes else 1) if wanted else None
    with progress_display(total, wanted=wanted, _=translator(request.language)) as step:
        return evaluate(corpus, tested, protocol, on_step=step, say=translator(request.language))


@contextmanager
def progress_display(
    total: int | None, *, wanted: bool | None, _: Translator
) -> Iterator[Callable[[], None]]:
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
        TextColumn(_("left")),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(_("messages"), total=total)
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            if done % _STEPS_PER_UPDATE == 0:
                if total is not None and done > total:
                    display.tasks[0].total = None  # how many more, nobody knows
                display.update(task, completed=done)

        yield step
        display.update(task, completed=done)


def _print(evaluation: Evaluation, language: str) -> None:
    _, texts, run = translator(language), LANGUAGES[language], evaluation.run
    title = f"{filter_in_words(evaluation.filter_name, _)}, {evaluation.protocol}"
    table = Table(title=title, title_justify="left")
    table.add_column(texts["measure"])
    table.add_column("%", justify="right")
    table.add_column(texts["interval"], justify="right")
    values = evaluation.measures.as_dict()
    for name in MEASURE_NAMES:
        if (interval := evaluation.intervals.get(name)) is None:
            table.add_row(texts[name], "", _("needs both kinds"))
            continue
        value, low, high = (
            f"{number:.3f}".replace(".", texts["decimal_sign"])
            for number in (values[name], interval.low, interval.high)
        )
        table.add_row(texts[name], value, _("{low} to {high}").format(low=low, high=high))
    console = Console()
    console.print(table)
    ham = int((~run.is_spam).sum())
    summary = _(
        "{messages} messages ({ham} ham, {spam} spam), {learned} learned, {skipped} skipped; "
        "{seconds} s, {rate} messages a second"
    ).format(
        messages=len(run.scores),
        ham=ham,
        spam=len(run.scores) - ham,
        learned=run.learned,
        skipped=evaluation.skipped,
        seconds=f"{run.seconds:.1f}".replace(".", texts["decimal_sign"]),
        rate=f"{len(run.scores) / max(run.seconds, 1e-9):.0f}",
    )
    console.print(summary, highlight=False, soft_wrap=True)
    if evaluation.note:
        console.print(evaluation.note, highlight=False)
