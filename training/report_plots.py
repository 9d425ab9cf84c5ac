"""The plots of the evaluation report, each as one SVG element to stand inside a page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from training.measures import BoolArray, FloatArray, measure
from training.protocols import Run

HAM_COLOUR = "#1d5f9f"
SPAM_COLOUR = "#c2410c"
_QUIET = "#6b7280"
_SIZE_INCHES = (5.6, 3.9)
_LOGIT_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5)
_WHOLE_LOGIT_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999)
_USUAL_RATE = 0.45
"""A filter with a rate above it would lie at the edge of the usual axes, or beyond."""
_LEAST_RATE = 0.00005
_MAX_LOG_ODDS = 20.0
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read, searched and scaled
    "svg.hashsalt": "schwamm",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _QUIET,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_REFERENCE = re.compile(r'(\bid="|url\(#|href="#)')

Words = Mapping[str, str]


def roc_plot(run: Run, words: Words) -> str:
    """Both error rates against each other on logistic axes, where good filters differ visibly."""
    called = float((run.scores[~run.is_spam] >= run.threshold).mean())
    missed = float((run.scores[run.is_spam] < run.threshold).mean())
    here = rates_as_logits((called, missed)).tolist()
    with new_figure() as (figure, axes):
        draw_roc(axes, run.is_spam, run.scores, colour=SPAM_COLOUR, name="")
        axes.plot([here[0]], [here[1]], "o", color=HAM_COLOUR)
        axes.annotate(
            words["threshold"],
            (here[0], here[1]),
            textcoords="offset points",
            xytext=(-8, 6) if called > _USUAL_RATE else (8, 6),
            horizontalalignment="right" if called > _USUAL_RATE else "left",
            color=HAM_COLOUR,
        )
        whole = max(called, missed, _equal_error_rate(run)) > _USUAL_RATE
        logistic_axes(axes, words["decimal_sign"], whole=whole)
        axes.set_xlabel(words["ham_called_spam"])
        axes.set_ylabel(words["spam_missed"])
        return svg(figure, "roc")


def learning_plot(run: Run, words: Words) -> str:
    """Errors while the stream went on, in blocks of equally many messages."""
    blocks = np.array_split(np.arange(len(run.scores)), max(1, min(40, len(run.scores) // 50)))
    wrong = np.where(run.is_spam, run.scores < run.threshold, run.scores >= run.threshold)
    ends = np.array([block[-1] + 1 for block in blocks if len(block)])
    with new_figure() as (figure, axes):
        for is_spam, colour, name in (
            (False, HAM_COLOUR, "ham_called_spam"),
            (True, SPAM_COLOUR, "spam_missed"),
        ):
            of_class = run.is_spam == is_spam
            if not of_class.any():
                continue
            rates = [_share(wrong[block], of_class[block]) for block in blocks]
            axes.plot(ends, rates, color=colour, alpha=0.35, linewidth=1)
            seen = np.cumsum(of_class)
            so_far = 100.0 * np.cumsum(wrong & of_class) / np.maximum(1, seen)
            so_far[seen == 0] = np.nan  # before the first of its kind there is no rate
            axes.plot(
                np.arange(1, len(wrong) + 1)[:: max(1, len(wrong) // 800)],
                so_far[:: max(1, len(wrong) // 800)],
                color=colour,
                linewidth=2,
                label=words[name],
            )
        axes.set_yscale("symlog", linthresh=0.1)
        percent_ticks(axes, [0, 0.1, 1, 10, 100], words["decimal_sign"])
        axes.set_ylim(0, 110)
        axes.set_xlim(0, len(wrong))
        axes.xaxis.set_major_locator(_whole_numbers())
        axes.set_xlabel(words["messages_seen"])
        axes.set_ylabel(words["share_wrong"])
        axes.legend(loc="best")
        return svg(figure, "learning")


def calibration_plot(run: Run, words: Words) -> str:
    """How often mail with a given probability really was spam."""
    edges = np.linspace(0.0, 1.0, 11)
    bins = np.clip(np.digitize(run.scores, edges) - 1, 0, 9)
    counts = np.bincount(bins, minlength=10)
    used = counts > 0
    said = np.bincount(bins, weights=run.scores, minlength=10)[used] / counts[used]
    was = np.bincount(bins, weights=run.is_spam, minlength=10)[used] / counts[used]
    spread = 1.96 * np.sqrt(np.maximum(was * (1.0 - was), 0.25 / counts[used]) / counts[used])
    with new_figure() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=_QUIET, linestyle=":", linewidth=1)
        low, high = np.minimum(spread, was), np.minimum(spread, 1.0 - was)
        axes.errorbar(said, was, yerr=np.stack([low, high]), fmt="o-", color=SPAM_COLOUR)
        for x, y, count in zip(said, was, counts[used], strict=True):
            axes.annotate(
                f"{count:,}".replace(",", "\N{THIN SPACE}"),
                (float(x), float(y)),
                textcoords="offset points",
                xytext=(7, -13) if y > 0.5 else (7, 6),
                fontsize=9,
                color=_QUIET,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
            )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
        axes.set_xlim(-0.02, 1.1)
        axes.set_ylim(-0.03, 1.05)
        axes.set_xlabel(words["probability_said"])
        axes.set_ylabel(words["share_spam"])
        return svg(figure, "calibration")


def histogram_plot(run: Run, words: Words) -> str:
    """Where the scores of ham and of spam lie; counts on a logarithmic scale."""
    as_log_odds = are_probabilities(run) and bool(((run.scores > 0.0) & (run.scores < 1.0)).all())
    with np.errstate(divide="ignore"):
        shown = np.log(run.scores / (1.0 - run.scores)) if as_log_odds else run.scores
    threshold = run.threshold
    if as_log_odds:
        shown = np.clip(shown, -_MAX_LOG_ODDS, _MAX_LOG_ODDS)
        threshold = float(np.log(run.threshold / (1.0 - run.threshold)))
    edges = np.histogram_bin_edges(shown, bins=60)
    with new_figure() as (figure, axes):
        for is_spam, colour, name in ((False, HAM_COLOUR, "ham"), (True, SPAM_COLOUR, "spam")):
            values = shown[run.is_spam == is_spam]
            if not len(values):
                continue
            axes.hist(values, bins=edges.tolist(), color=colour, alpha=0.55, label=words[name])
        axes.axvline(threshold, color=_QUIET, linestyle=":", linewidth=1)
        axes.set_yscale("log")
        axes.set_ylim(0.7, 3.0 * axes.get_ylim()[1])  # room for the legend
        axes.set_xlabel(words["log_odds"] if as_log_odds else words["score"])
        axes.set_ylabel(words["messages"])
        if as_log_odds:
            ticks = [
                value for value in (-18, -12, -6, 0, 6, 12, 18) if edges[0] <= value <= edges[-1]
            ]
            axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.legend(loc="upper center", ncols=2)
        return svg(figure, "histogram")


def roca_plot(run: Run, words: Words) -> str:
    """Show 1-ROCA of each tenth of the stream by itself: does the filter get better, or tire.

    Some tenth must hold both kinds (`roca_by_block`).
    """
    found = roca_by_block(run)
    with new_figure() as (figure, axes):
        # Not clipped: a block without a mistake lies on the axis itself.
        axes.plot(*zip(*found, strict=True), "o-", color=SPAM_COLOUR, clip_on=False)
        axes.set_yscale("symlog", linthresh=0.001)
        percent_ticks(axes, [0, 0.001, 0.01, 0.1, 1, 10, 100], words["decimal_sign"])
        axes.set_ylim(0, max([0.1, *(2.0 * value for _, value in found)]))
        axes.set_xlim(0, len(run.scores))
        axes.xaxis.set_major_locator(_whole_numbers())
        axes.set_xlabel(words["messages_seen"])
        axes.set_ylabel("1-ROCA")
        return svg(figure, "roca")


def roca_by_block(run: Run, blocks: int = 10) -> list[tuple[int, float]]:
    """Return (messages so far, 1-ROCA % of that block) for blocks that hold both kinds."""
    found = []
    for block in np.array_split(np.arange(len(run.scores)), blocks):
        labels: BoolArray = run.is_spam[block]
        if len(block) and labels.any() and not labels.all():
            value = measure(labels, run.scores[block], threshold=run.threshold)
            found.append((int(block[-1]) + 1, value.roca_complement_percent))
    return found


@contextmanager
def new_figure() -> Iterator[tuple[Figure, Axes]]:
    """Give an empty figure in the report's look, which holds while it is drawn."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        yield figure, figure.add_subplot()


def draw_roc(axes: Axes, is_spam: BoolArray, scores: FloatArray, *, colour: str, name: str) -> None:
    """Draw spam missed against ham called spam for every threshold, on logistic axes."""
    called, missed = _rates(is_spam, scores)
    logits = rates_as_logits(called), rates_as_logits(missed)
    axes.plot(*logits, color=colour, drawstyle="steps-post", label=name)


def logistic_axes(axes: Axes, decimal_sign: str = ".", *, whole: bool = False) -> None:
    """Label both axes with percentages on the logistic scale; mark 0.1% of ham.

    They end a little above one half, beyond which no useful filter lies; ``whole`` ones do not.
    """
    axes.axvline(float(rates_as_logits(np.array(0.001))), color=_QUIET, linestyle=":", linewidth=1)
    ticks = _WHOLE_LOGIT_TICKS if whole else _LOGIT_TICKS
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([float(v) for v in rates_as_logits(ticks)]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(
            FuncFormatter(lambda value, _: _percent_of_logit(value).replace(".", decimal_sign))
        )
    most = 1.0 - _LEAST_RATE if whole else 0.6
    low, high = (float(rates_as_logits(np.array(rate))) for rate in (_LEAST_RATE, most))
    above = 0.2 if whole else 0.0
    axes.set_xlim(low - 0.2, high + above)
    axes.set_ylim(low - 0.2, high + above)


def percent_ticks(axes: Axes, ticks: list[float], decimal_sign: str = ".") -> None:
    """Label the vertical axis with these percentages only."""
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}%".replace(".", decimal_sign))
    )


def rates_as_logits(rates: FloatArray | tuple[float, ...]) -> FloatArray:
    """Return rates (0 to 1) on the logistic scale, kept off its infinite ends."""
    bounded = np.clip(np.asarray(rates, dtype=np.float64), _LEAST_RATE, 1.0 - _LEAST_RATE)
    result: FloatArray = np.log(bounded / (1.0 - bounded))
    return result


def _whole_numbers() -> MaxNLocator:
    return MaxNLocator(integer=True, steps=[1, 2, 5, 10])


def are_probabilities(run: Run) -> bool:
    """Whether the scores are probabilities of spam; points may lie between 0 and 1 by chance."""
    return run.threshold < 1.0 and bool(((run.scores >= 0.0) & (run.scores <= 1.0)).all())


def _equal_error_rate(run: Run) -> float:
    """Return the rate at which both kinds of error are about equally frequent."""
    called, missed = _rates(run.is_spam, run.scores)
    nearest = int(np.abs(called - missed).argmin())
    return float(max(called[nearest], missed[nearest]))


def _rates(is_spam: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return ham called spam and spam missed for each threshold there is."""
    ham, spam = np.sort(scores[~is_spam]), np.sort(scores[is_spam])
    thresholds = np.append(np.unique(scores), np.inf)  # the last one catches nothing
    called: FloatArray = 1.0 - np.searchsorted(ham, thresholds, side="left") / len(ham)
    missed: FloatArray = np.searchsorted(spam, thresholds, side="left") / len(spam)
    return called, missed


def _percent_of_logit(value: float) -> str:
    return f"{100.0 / (1.0 + np.exp(-value)):.4g}%"


def _share(wrong: BoolArray, of_class: BoolArray) -> float:
    return 100.0 * float(wrong[of_class].mean()) if of_class.any() else float("nan")


def svg(figure: Figure, name: str) -> str:
    """Return the figure as an ``<svg>`` element whose ids are its own: several fit on a page."""
    with io.StringIO() as text:
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        drawn = text.getvalue()
    element = drawn[drawn.index("<svg") :]
    return _REFERENCE.sub(lambda match: f"{match.group(1)}{name}-", element)
