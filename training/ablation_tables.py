"""Tables and the plot of the ablation: every variant beside the whole."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from training.measures import BoolArray, FloatArray, Measures, measure
from training.measures_bootstrap import Difference, paired_differences

_ROCA: Final = "roca_complement_percent"
_MISSED: Final = "spam_missed_percent_at_ham_0_1_percent"
_HEAD: Final = """\
| variant | 1-ROCA % | difference (95 %) | spam missed % at 0.1 % ham | difference (95 %) |
| --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one variant answered on one stream, in order."""

    stream: str
    variant: str
    is_spam: BoolArray
    scores: FloatArray

    def measures(self) -> Measures:
        """Return the measures over the whole stream."""
        return measure(self.is_spam, self.scores)


def as_markdown(outcomes: Sequence[Outcome], resamples: int) -> str:
    """Return one table a stream; the first variant is what the others are compared with.

    Differences whose interval excludes zero are set in bold.
    """
    parts = []
    for stream in dict.fromkeys(outcome.stream for outcome in outcomes):
        rows = [outcome for outcome in outcomes if outcome.stream == stream]
        whole = rows[0]
        ham = int((~whole.is_spam).sum())
        title = f"**{stream}**, {ham:,} ham, {len(whole.is_spam) - ham:,} spam\n\n"
        lines = [_line(whole, None)]
        for row in rows[1:]:
            found = paired_differences(whole.is_spam, row.scores, whole.scores, resamples=resamples)
            lines.append(_line(row, found))
        parts.append(title + _HEAD + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(row: Outcome, differences: dict[str, Difference] | None) -> str:
    found = row.measures()
    cells = [row.variant]
    for name, digits in ((_ROCA, 3), (_MISSED, 2)):
        cells.append(f"{getattr(found, name):.{digits}f}")
        cells.append("" if differences is None else _shown(differences[name], digits))
    return "| " + " | ".join(cells) + " |"


def _shown(difference: Difference, digits: int) -> str:
    low, high = difference.interval.low, difference.interval.high
    text = f"{difference.value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
    return f"**{text}**" if low > 0.0 or high < 0.0 else text


def as_svg(outcomes: Sequence[Outcome]) -> bytes:
    """Draw 1-ROCA of every variant, one panel a stream, on a logarithmic axis."""
    streams = list(dict.fromkeys(outcome.stream for outcome in outcomes))
    variants = list(dict.fromkeys(outcome.variant for outcome in outcomes))
    with mpl.rc_context({"svg.hashsalt": "ablation", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10.0, 0.6 + 0.28 * len(variants)), layout="constrained")
        axes = figure.subplots(1, len(streams), sharey=True, squeeze=False)[0]
        for panel, stream in zip(axes, streams, strict=True):
            found = {
                outcome.variant: outcome.measures().roca_complement_percent
                for outcome in outcomes
                if outcome.stream == stream
            }
            values = [max(found[variant], 1e-4) for variant in variants]
            panel.axvline(values[0], color="0.7", linewidth=1.0)
            panel.scatter(values, range(len(variants)), s=22, color="#2a6f97")
            panel.set(title=stream, xlabel="1-ROCA %", xscale="log")
            panel.grid(axis="x", which="both", color="0.92")
            panel.set_yticks(range(len(variants)), variants)
        axes[0].invert_yaxis()
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
