"""The accuracy bench's tables: measures with intervals, paired differences, three ways to print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from training.bench_accuracy_streams import Stream
from training.measures import MEASURE_NAMES, BoolArray, FloatArray, measure
from training.measures_bootstrap import intervals, paired_differences

_HEADINGS = {
    "roca_complement_percent": "1-ROCA %",
    "ham_misclassified_percent": "ham called spam %",
    "spam_misclassified_percent": "spam missed %",
    "lam_percent": "LAM %",
    "spam_missed_percent_at_ham_0_1_percent": "spam missed % at 0.1% ham",
}
_START = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One filter's answers on the measured part of a stream."""

    filter_name: str
    is_spam: BoolArray
    scores: FloatArray
    threshold: float
    messages_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A result, measured; ``start`` is 1-ROCA % of the first thousand messages, if measurable."""

    filter_name: str
    measures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    start_roca_complement_percent: float | None
    messages_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """First filter minus second with its 95% interval; below zero the first is better."""

    first: str
    second: str
    differences: dict[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All filters on one stream under one protocol."""

    stream: str
    title: str
    protocol: str
    ham: int
    spam: int
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def compare(
    stream: Stream,
    protocol: str,
    results: Sequence[Result],
    *,
    notes: tuple[str, ...],
    resamples: int,
) -> Table:
    """Measure the results; pair each of our own with every filter that is not ours."""
    labels = np.array(
        [is_spam for _, is_spam in stream.messages[stream.measured_from :]], dtype=np.bool_
    )
    ours = [result for result in results if result.filter_name.startswith("schwamm")]
    pairs = [
        (first, second)
        for first in ours
        for second in results
        if second is not first and (second not in ours or first.filter_name > second.filter_name)
    ]
    return Table(
        stream=stream.name,
        title=stream.title,
        protocol=protocol,
        ham=int((~labels).sum()),
        spam=int(labels.sum()),
        rows=tuple(_row(result, resamples) for result in results),
        comparisons=tuple(_comparison(one, two, resamples) for one, two in pairs),
        notes=notes,
    )


def as_json(tables: Sequence[Table]) -> str:
    """Return all tables as one JSON list."""
    return json.dumps([asdict(table) for table in tables], indent=1) + "\n"


def as_markdown(tables: Sequence[Table]) -> str:
    """Return all tables for the documentation."""
    return "\n".join(_markdown(table) for table in tables)


def show(table: Table, console: Console) -> None:
    """Print one table for people."""
    drawn = RichTable(title=caption(table), title_justify="left")
    for heading in headings():
        drawn.add_column(heading, justify="left" if heading == "filter" else "right")
    for row in table.rows:
        drawn.add_row(*cells(row))
    console.print(drawn)
    for line in lines(table):
        console.print(line, highlight=False)


def headings() -> list[str]:
    """Return the headings of a table's columns."""
    return ["filter", *_HEADINGS.values(), "1-ROCA % of the first 1000", "messages/s"]


def _row(result: Result, resamples: int) -> Row:
    labels, scores = result.is_spam, result.scores
    found = intervals(labels, scores, threshold=result.threshold, resamples=resamples)
    start = labels[:_START]
    measurable = len(labels) > _START and start.any() and not start.all()
    first = measure(start, scores[:_START]).roca_complement_percent if measurable else None
    return Row(
        filter_name=result.filter_name,
        measures=measure(labels, scores, threshold=result.threshold).as_dict(),
        intervals={name: (interval.low, interval.high) for name, interval in found.items()},
        start_roca_complement_percent=first,
        messages_per_second=result.messages_per_second,
    )


def _comparison(first: Result, second: Result, resamples: int) -> Comparison:
    found = paired_differences(
        first.is_spam,
        first.scores,
        second.scores,
        thresholds=(first.threshold, second.threshold),
        resamples=resamples,
    )
    return Comparison(
        first=first.filter_name,
        second=second.filter_name,
        differences={
            name: (difference.value, difference.interval.low, difference.interval.high)
            for name, difference in found.items()
        },
    )


def caption(table: Table) -> str:
    """Return what a table is about, in one line."""
    return f"{table.title}; {table.protocol}; {table.ham} ham, {table.spam} spam"


def cells(row: Row) -> list[str]:
    """Return a row's texts, one for each of the headings."""
    texts = [row.filter_name]
    for name in MEASURE_NAMES:
        low, high = row.intervals[name]
        texts.append(f"{row.measures[name]:.3f} ({low:.3f} to {high:.3f})")
    start = row.start_roca_complement_percent
    texts.append("" if start is None else f"{start:.3f}")
    texts.append(f"{row.messages_per_second:.0f}")
    return texts


def lines(table: Table) -> list[str]:
    """Return the paired differences and notes, one line each."""
    texts = []
    for pair in table.comparisons:
        for name in ("roca_complement_percent", "spam_missed_percent_at_ham_0_1_percent"):
            value, low, high = pair.differences[name]
            texts.append(
                f"{pair.first} minus {pair.second}, {_HEADINGS[name]}: "
                f"{value:+.3f} ({low:+.3f} to {high:+.3f}): {_verdict(low, high)}"
            )
    return [*texts, *table.notes]


def _verdict(low: float, high: float) -> str:
    if high < 0.0:
        return "better"
    return "worse" if low > 0.0 else "no difference shown"


def _markdown(table: Table) -> str:
    names = headings()
    rows = [f"| {' | '.join(cells(row))} |" for row in table.rows]
    return "\n".join(
        [
            f"### {caption(table)}",
            "",
            f"| {' | '.join(names)} |",
            f"| --- |{' ---: |' * (len(names) - 1)}",
            *rows,
            "",
            *(f"- {line}" for line in lines(table)),
            "",
        ]
    )
