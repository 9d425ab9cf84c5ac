"""Do a site's probabilities mean what they say: ``python -m training.bench_calibration``.

For each stream of public mail a candidate is made from the earlier three quarters exactly as
``schwamm train`` makes it, and its published model is asked about the last quarter, mail of other
campaigns that neither training nor gate has seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from models.bundle import Bundle
from models.features import Features
from models.registry import baseline_directory
from training.bench_accuracy_streams import (
    Corpora,
    Stream,
    csdmc_by_time,
    german_mix,
    spamassassin_by_time,
)
from training.candidate import Candidate, train_candidate
from training.dedup import campaigns
from training.lessons import Lessons, gather
from training.measures import BoolArray, FloatArray
from training.split import split_by_time

EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_TEST_SHARE = 0.25
_UNSURE_POINTS, _SPAM_POINTS = 4.0, 6.0

STREAMS: tuple[tuple[Callable[[Corpora], Stream], bool], ...] = (
    (spamassassin_by_time, False),
    (csdmc_by_time, False),
    (csdmc_by_time, True),
    (german_mix, False),
)
"""Which stream, and whether the candidate starts from the baseline: not where that knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """What a model said of later mail, and what it was; shares in percent.

    ``ece_percent`` is the expected calibration error (Naeini, Cooper and Hauskrecht 2015) in ten
    bins, both kinds weighing the same, as the calibration is fitted. ``bins`` holds, for each range
    of ``EDGES``, the number of ham and spam.
    """

    ham: int
    spam: int
    ece_percent: float
    ham_called_spam_percent: float
    ham_held_percent: float
    unsure_percent: float
    spam_missed_percent: float
    spam_held_percent: float
    bins: tuple[tuple[int, int], ...]


def reliability(is_spam: BoolArray, probability: FloatArray, points: FloatArray) -> Reliability:
    """Compare what was said with what was true. Raises ValueError without ham or without spam."""
    spam, ham = int(is_spam.sum()), int((~is_spam).sum())
    if not spam or not ham:
        raise ValueError("reliability needs ham and spam")
    unsure = (points >= _UNSURE_POINTS) & (points < _SPAM_POINTS)
    return Reliability(
        ham=ham,
        spam=spam,
        ece_percent=_ece(is_spam, probability),
        ham_called_spam_percent=_percent(probability[~is_spam] >= 0.5),
        ham_held_percent=_percent(points[~is_spam] >= _SPAM_POINTS),
        unsure_percent=_percent(unsure),
        spam_missed_percent=_percent(probability[is_spam] < 0.5),
        spam_held_percent=_percent(points[is_spam] >= _SPAM_POINTS),
        bins=tuple(
            (int((inside & ~is_spam).sum()), int((inside & is_spam).sum()))
            for inside in _inside(probability, EDGES)
        ),
    )


def _percent(chosen: BoolArray) -> float:
    return 100.0 * float(chosen.mean())


def _inside(probability: FloatArray, edges: tuple[float, ...]) -> Iterator[BoolArray]:
    place = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, len(edges) - 2)
    for number in range(len(edges) - 1):
        yield place == number


def _ece(is_spam: BoolArray, probability: FloatArray) -> float:
    weight = np.where(is_spam, 0.5 / is_spam.sum(), 0.5 / (~is_spam).sum())
    edges = tuple(number / 10 for number in range(11))
    return 100.0 * sum(
        abs(float((weight * probability)[inside].sum() - weight[inside & is_spam].sum()))
        for inside in _inside(probability, edges)
    )


def later_mail(
    lessons: Lessons, live: Bundle, start: Bundle | None, seed: int
) -> tuple[Candidate, Reliability]:
    """Make a candidate of the earlier mail, ask it about the later."""
    ordered = lessons.in_canonical_order()
    split = split_by_time(ordered.times, campaigns(ordered.prints), test_share=_TEST_SHARE)
    candidate = train_candidate(ordered.chosen(split.train), live, start, seed=seed)
    later = ordered.chosen(split.test)
    stored = (Features.from_bytes(example.stored) for example in later.examples)
    scores = [candidate.bundle.score_features(features) for features in stored]
    found = reliability(
        later.labels(),
        np.array([score.probability for score in scores]),
        np.array([candidate.bundle.points(score) for score in scores]),
    )
    return candidate, found


def lines(name: str, candidate: Candidate, found: Reliability) -> Iterator[str]:
    """Yield the table's row, the bins below it, and what the gate said."""
    fitted = candidate.bundle.manifest.calibration
    yield (
        f"{name:36} {found.ham:6} {found.spam:5} {found.ece_percent:6.2f} "
        f"{found.ham_called_spam_percent:8.2f} {found.ham_held_percent:8.2f} "
        f"{found.unsure_percent:7.2f} {found.spam_missed_percent:8.2f} "
        f"{found.spam_held_percent:7.2f}   {fitted.slope:.3f} {fitted.offset:+.3f}"
    )
    ranges = (f"{low:g}-{high:g}" for low, high in itertools.pairwise(EDGES))
    numbers = (f"{ham}/{spam}" for ham, spam in found.bins)
    pairs = zip(ranges, numbers, strict=True)
    yield "    said, ham/spam found: " + "  ".join(f"{one} {two}" for one, two in pairs)
    for reason in candidate.gate.reasons or ("passed",):
        yield f"    gate: {reason}"


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--seed", default=1, show_default=True, help="Another one trains in another order.")
def main(corpus: Path, seed: int) -> None:
    """Print how far a site's probabilities can be believed on later mail."""
    corpora = Corpora(corpus, complain=lambda text: click.echo(text, err=True))
    live = Bundle.load(baseline_directory())
    click.echo(
        f"{'later mail':36} {'ham':>6} {'spam':>5} {'ECE %':>6} {'ham>=.5%':>8} {'ham held':>8} "
        f"{'UNSURE%':>7} {'spam<.5%':>8} {'held %':>7}   slope offset"
    )
    for make, from_baseline in STREAMS:
        stream = make(corpora)
        lessons = gather(iter(stream.messages))
        start = live if from_baseline else None
        name = f"{stream.name}, from {'the baseline' if start else 'nothing'}"
        for line in lines(name, *later_mail(lessons, live, start, seed)):
            click.echo(line)


if __name__ == "__main__":
    main()
