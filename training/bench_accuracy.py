"""Our filter beside other free ones: same messages, same order, same protocol, same measures.

``python -m training.bench_accuracy --corpus DIR --out DIR``, where the first folder holds the
unpacked public corpora (``spamassassin``, ``csdmc2010``, ``codealltag``, ``spam-2023-2025``).
Writes ``accuracy.html``, ``accuracy.md``, ``accuracy.json``, plots and all scores; prints tables.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from models.bundle import Bundle, BundleError
from models.registry import baseline_directory
from training.bench_accuracy_plots import as_page, learning_overlay, roc_overlay
from training.bench_accuracy_rivals import (
    MissingRivalError,
    RivalFailedError,
    open_bogofilter,
)
from training.bench_accuracy_rspamd import open_rspamd
from training.bench_accuracy_spamassassin import open_spamassassin
from training.bench_accuracy_streams import STREAMS, Corpora, Stream
from training.bench_accuracy_tables import Result, Table, as_json, as_markdown, compare, show
from training.evaluate import FilterUnderTest
from training.online import OnlineFilter
from training.protocols import run_stream

BASELINE_SOURCES = frozenset({"spamassassin", "spam-2023-2025", "codealltag"})
"""What the shipped model was made from: on these it would repeat what it was told."""

_FEEDBACK_SHARE = 0.25
_CONTROL_TOLERANCE = 3.0


@contextmanager
def open_schwamm() -> Iterator[FilterUnderTest]:
    """Our classifier, knowing nothing."""
    tested = OnlineFilter(None)
    yield FilterUnderTest(name="schwamm", scorer=tested, learn=tested.train)


@contextmanager
def open_schwamm_with_baseline() -> Iterator[FilterUnderTest]:
    """Our classifier, starting from the shipped model. Raises MissingRivalError without one."""
    try:
        bundle = Bundle.load(baseline_directory())
    except BundleError as error:
        raise MissingRivalError(f"no baseline: {error}") from error
    tested = OnlineFilter(bundle)
    yield FilterUnderTest(name="schwamm+baseline", scorer=tested, learn=tested.train)


FILTERS: dict[str, Callable[[], AbstractContextManager[FilterUnderTest]]] = {
    "schwamm": open_schwamm,
    "schwamm+baseline": open_schwamm_with_baseline,
    "bogofilter": open_bogofilter,
    "rspamd": open_rspamd,
    "spamassassin": open_spamassassin,
}


def protocols_of(stream: Stream) -> tuple[str, ...]:
    """Return the protocols a stream is run under."""
    if stream.measured_from:
        return ("delayed",)
    if stream.name == "shuffled-labels":
        return ("online",)
    return ("online", "delayed")


def run_filter(
    stream: Stream,
    protocol: str,
    name: str,
    *,
    on_step: Callable[[], None] = lambda: None,
) -> Result:
    """Run one filter over one stream. Raises MissingRivalError, RivalFailedError."""
    total = len(stream.messages)
    feedback = (
        None if protocol == "online" else stream.measured_from or round(_FEEDBACK_SHARE * total)
    )
    with FILTERS[name]() as tested:
        run = run_stream(
            stream.messages,
            tested.scorer,
            learn=_told(tested.learn, stream.told_wrong),
            feedback=feedback,
            threshold=tested.threshold,
            on_step=on_step,
        )
    return Result(
        filter_name=name,
        is_spam=run.is_spam[stream.measured_from :],
        scores=run.scores[stream.measured_from :],
        threshold=run.threshold,
        messages_per_second=total / run.filter_seconds,
    )


def _told(
    learn: Callable[[bytes, bool], None] | None, wrong: frozenset[int]
) -> Callable[[bytes, bool], None] | None:
    """Return a ``learn`` for each message in turn that tells the other label where it is wrong."""
    if learn is None or not wrong:
        return learn
    positions = itertools.count()

    def tell(raw: bytes, is_spam: bool) -> None:
        learn(raw, is_spam is not (next(positions) in wrong))

    return tell


def run_table(
    stream: Stream,
    protocol: str,
    filters: tuple[str, ...],
    *,
    out: Path,
    console: Console,
    resamples: int,
) -> tuple[Table, list[Result]]:
    """Run all filters over one stream and compare ours with each of the others.

    Labels and scores go to ``out/scores``, so that plots need no second run.
    """
    results: list[Result] = []
    notes: list[str] = []
    for name in filters:
        if name == "schwamm+baseline" and stream.sources & BASELINE_SOURCES:
            notes.append("the baseline was made from mail of this stream and is left out")
            continue
        begun = time.perf_counter()
        try:
            results.append(run_filter(stream, protocol, name))
        except MissingRivalError as error:
            notes.append(str(error))
            continue
        except RivalFailedError as error:
            notes.append(f"{name} failed and is left out: {error}")
            continue
        seconds = time.perf_counter() - begun
        console.print(f"{stream.name}, {protocol}, {name}: {seconds:.0f} s", highlight=False)
    _save_scores(out / "scores" / f"{stream.name}-{protocol}.npz", results)
    notes_found = tuple(notes)
    return compare(stream, protocol, results, notes=notes_found, resamples=resamples), results


def _save_scores(path: Path, results: list[Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {result.filter_name: result.scores for result in results}
    if results:
        np.savez_compressed(path, is_spam=results[0].is_spam, allow_pickle=False, **arrays)


def control_failures(tables: list[Table]) -> list[str]:
    """Return a line for each filter that did better than chance on shuffled labels."""
    failures = []
    for table in tables:
        if table.stream != "shuffled-labels":
            continue
        for row in table.rows:
            roca = row.measures["roca_complement_percent"]
            if abs(roca - 50.0) > _CONTROL_TOLERANCE:
                failures.append(f"{row.filter_name}: 1-ROCA {roca:.1f}% on shuffled labels, not 50")
    return failures


@click.command()
@click.option(
    "--corpus", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--streams", default=",".join(STREAMS), show_default=True)
@click.option("--filters", default=",".join(FILTERS), show_default=True)
@click.option("--limit", type=click.IntRange(min=100), help="Only the first N messages of each.")
@click.option("--resamples", type=click.IntRange(min=10), default=1000, show_default=True)
def main(
    *, corpus: Path, out: Path, streams: str, filters: str, limit: int | None, resamples: int
) -> None:
    """Compare filters on public mail; exit 1 if the control with shuffled labels fails."""
    console = Console(stderr=True)
    corpora = Corpora(corpus, complain=lambda text: console.print(text, highlight=False))
    parts: list[tuple[Table, list[Result]]] = []
    out.mkdir(parents=True, exist_ok=True)
    chosen = _chosen(filters, FILTERS)
    for name in _chosen(streams, STREAMS):
        try:
            stream = STREAMS[name](corpora)
        except FileNotFoundError as error:
            console.print(f"{name}: {error}", highlight=False)
            continue
        if limit is not None:
            stream = stream.first(limit)
        for protocol in protocols_of(stream):
            part = run_table(
                stream, protocol, chosen, out=out, console=console, resamples=resamples
            )
            show(part[0], Console())
            parts.append(part)
            _write(out, parts)
    failures = control_failures([table for table, _ in parts])
    for failure in failures:
        console.print(failure, highlight=False)
    sys.exit(1 if failures or not parts else 0)


def _write(out: Path, parts: list[tuple[Table, list[Result]]]) -> None:
    """Write what there is so far: a long run that is stopped leaves its tables."""
    tables = [table for table, _ in parts]
    (out / "accuracy.json").write_text(as_json(tables), encoding="utf-8")
    (out / "accuracy.md").write_text(as_markdown(tables), encoding="utf-8")
    (out / "accuracy.html").write_text(as_page(parts), encoding="utf-8")
    plots = out / "plots"
    plots.mkdir(exist_ok=True)
    for table, results in parts:
        name = f"{table.stream}-{table.protocol}"
        (plots / f"roc-{name}.svg").write_text(roc_overlay(name, results), encoding="utf-8")
        learning = learning_overlay(name, results)
        (plots / f"learning-{name}.svg").write_text(learning, encoding="utf-8")


def _chosen(given: str, known: Iterable[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise click.UsageError(f"'{name}' is none of {', '.join(known)}")
    return names


if __name__ == "__main__":
    main()
