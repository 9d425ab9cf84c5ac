"""Plots of several filters on one stream, and the page that holds them beside the tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from training.bench_accuracy_tables import Result, Table, caption, cells, headings, lines
from training.measures import NothingToMeasure, measure
from training.report_plots import draw_roc, logistic_axes, new_figure, percent_ticks, svg
from training.report_style import STYLE

_COLOURS = ("#c2410c", "#1d5f9f", "#15803d", "#7e22ce", "#a16207")
_BLOCKS = 20
_ROC_CAPTION = "Both error rates for every threshold, on logistic axes; lower left is better."
_LEARNING_CAPTION = "1-ROCA of all that was scored up to there; lower is better."


def roc_overlay(name: str, results: Sequence[Result]) -> str:
    """Draw the error rates of all filters on the logistic axes of the TREC spam track."""
    with new_figure() as (figure, axes):
        for colour, result in zip(_COLOURS, results, strict=False):
            draw_roc(axes, result.is_spam, result.scores, colour=colour, name=result.filter_name)
        logistic_axes(axes)
        axes.set_xlabel("ham called spam")
        axes.set_ylabel("spam missed")
        axes.legend(loc="best")
        return svg(figure, f"roc-{name}")


def learning_overlay(name: str, results: Sequence[Result]) -> str:
    """Draw 1-ROCA of everything scored so far against the messages seen."""
    with new_figure() as (figure, axes):
        highest = 0.1
        for colour, result in zip(_COLOURS, results, strict=False):
            seen, values = _roca_so_far(result)
            axes.plot(seen, values, "-o", markersize=3, color=colour, label=result.filter_name)
            highest = max([highest, *values])
        axes.set_yscale("symlog", linthresh=0.001)
        percent_ticks(axes, [0, 0.001, 0.01, 0.1, 1, 10, 100])
        axes.set_ylim(0, 2.0 * highest)
        axes.set_xlabel("messages seen")
        axes.set_ylabel("1-ROCA so far")
        axes.legend(loc="best")
        return svg(figure, f"learning-{name}")


def as_page(parts: Sequence[tuple[Table, Sequence[Result]]]) -> str:
    """Return one self-contained page with a table and two plots for each stream and protocol."""
    sections = "".join(
        _section(number, table, results) for number, (table, results) in enumerate(parts)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Schwamm: accuracy</title><style>{STYLE} .wide {{ overflow-x: auto }}</style>"
        "</head><body><main><h1>Filters on the same mail</h1>"
        "<p>Measures of the TREC Spam Track, in percent with 95% intervals; less is better.</p>"
        f"{sections}</main></body></html>\n"
    )


def _section(number: int, table: Table, results: Sequence[Result]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in headings())
    rows = "".join(_row(cells(row)) for row in table.rows)
    notes = "".join(f"<li>{_line(line)}</li>" for line in lines(table))
    plots = (
        (roc_overlay(str(number), results), _ROC_CAPTION),
        (learning_overlay(str(number), results), _LEARNING_CAPTION),
    )
    figures = "".join(
        f"<figure>{plot}<figcaption>{text}</figcaption></figure>" for plot, text in plots
    )
    return (
        f"<section><h2>{escape(caption(table))}</h2>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<ul class="quiet">{notes}</ul><div class="plots">{figures}</div></section>'
    )


def _row(texts: Sequence[str]) -> str:
    """Return a row; an interval, where there is one, stands on a line of its own."""
    found = [f"<td>{escape(texts[0])}</td>"]
    for text in texts[1:]:
        value, _, interval = text.partition(" (")
        below = f"<small>{escape(interval.rstrip(')'))}</small>" if interval else ""
        found.append(f'<td class="number">{escape(value)}{below}</td>')
    return f"<tr>{''.join(found)}</tr>"


def _line(text: str) -> str:
    """Return a paired difference with its verdict, if it has one, in bold."""
    said, colon, verdict = text.rpartition(": ")
    if verdict not in ("better", "worse"):
        return escape(text)
    return f"{escape(said + colon)}<b>{escape(verdict)}</b>"


def _roca_so_far(result: Result) -> tuple[list[int], list[float]]:
    seen, values = [], []
    for end in np.linspace(0, len(result.scores), _BLOCKS + 1, dtype=int)[1:].tolist():
        try:
            found = measure(result.is_spam[:end], result.scores[:end])
        except NothingToMeasure:
            continue
        seen.append(end)
        values.append(found.roca_complement_percent)
    return seen, values
