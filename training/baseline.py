"""Builds the model that ships with the project: ``python -m training.baseline --corpus DIR``.

The same archives and seed give the same digest. Takes a few minutes and one core.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.bundle import Bundle
from models.calibration import BASELINE_CAP, Calibration, PointsScale
from models.classifier import ScoreParameters
from models.features import LEXICAL, SPACE, Features, extract
from models.manifest import Manifest
from models.message import scan
from training.baseline_card import model_card
from training.baseline_lessons import lessons
from training.baseline_sources import GERMAN, RECENT_SPAM, SOURCES, SPAMASSASSIN, read_source
from training.calibrate import fit_calibration
from training.fixed_set import FILE, Divided, divide, save
from training.measures import measure
from training.online import OnlineFilter
from training.publish import dated
from training.train import Example, fit_averaged

SEED: Final = 1
FOLDS: Final = 3
ORDERS: Final = 3
"""The second stage is the mean of what it learns in so many orders."""
MIN_TEXTS: Final = 3
"""What fewer texts hold is forgotten, however often each of them was dressed."""
KEPT_PATTERNS: Final = 500_000
HAM_POINTS_AT: Final = -1.8
NO_POINTS_AT: Final = -0.55
FULL_POINTS_AT: Final = 0.45
"""Log odds between which the baseline's points rise: half its cap about where nothing is sure."""
PARAMETERS: Final = ScoreParameters(naive_prior=8.0, label_slips=0.0)
"""On foreign mail few words are known well: a mean of three or four is mostly chance.

The labels of the public corpora have been looked at by many: none is taken for a slip.
"""
MAX_BYTES: Final = 8 * 1000 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """An example with the text it came from: one text is never on both sides of a fold."""

    example: Example
    group: str


def divided(corpus: Path) -> Divided:
    """Read the archives and take out what no model may learn."""
    english, recent, german = (
        read_source(corpus, source) for source in (SPAMASSASSIN, RECENT_SPAM, GERMAN)
    )
    return divide(english, recent, german)


def gather(corpus: Path, progress: Progress, seed: int) -> list[Gathered]:
    """Read the archives and extract features."""
    parts = divided(corpus)
    raws = lessons(parts.english, parts.recent, parts.german, seed)
    task = progress.add_task("features", total=len(raws))
    gathered = []
    for path, raw, is_spam in raws:
        stored = extract(scan(raw), raw).to_bytes()
        gathered.append(Gathered(example=Example(stored=stored, is_spam=is_spam), group=path))
        progress.advance(task)
    return gathered


def trained(
    gathered: Sequence[Gathered], seed: int, *, on_step: Callable[[], None] = lambda: None
) -> OnlineFilter:
    """Learn all of it, and forget what it can do without."""
    examples = [item.example for item in gathered]
    seeds = [seed * ORDERS + order for order in range(ORDERS)]
    learner = fit_averaged(examples, seeds=seeds, parameters=PARAMETERS, on_step=on_step)
    return pruned(learner, gathered)


def pruned(learner: OnlineFilter, gathered: Iterable[Gathered]) -> OnlineFilter:
    """Forget what few texts hold and all but the `KEPT_PATTERNS` heaviest patterns.

    Measured (``docs/classifier.md``): a tenth of the size, and better on foreign mail.
    """
    texts: dict[str, list[Features]] = {}
    for item in gathered:
        texts.setdefault(item.group, []).append(Features.from_bytes(item.example.stored))
    met = np.zeros(SPACE, np.int32)
    for dresses in texts.values():
        met[np.unique(np.concatenate([features.indices for features in dresses]))] += 1
    kept = met >= MIN_TEXTS
    patterns = np.flatnonzero(kept[LEXICAL:]) + LEXICAL
    heaviness = np.abs(learner.second.weights[patterns]) * np.sqrt(met[patterns])
    if len(patterns) > KEPT_PATTERNS:
        lightest = np.partition(heaviness, -KEPT_PATTERNS)[-KEPT_PATTERNS]
        kept[patterns] = heaviness >= lightest
    learner.second.weights[~kept] = 0
    learner.second.energy[~kept] = 0
    learner.counts.ham[~kept[:LEXICAL]] = 0
    learner.counts.spam[~kept[:LEXICAL]] = 0
    return learner


def calibrate(
    gathered: Sequence[Gathered], progress: Progress, seed: int
) -> tuple[Calibration, dict[str, float]]:
    """Cross-validate by text; return the calibration and the measures on what was left out."""
    folds = np.array([sum(item.group.encode()) % FOLDS for item in gathered])
    is_spam = np.array([item.example.is_spam for item in gathered])
    scores = np.zeros(len(gathered))
    task = progress.add_task("calibration", total=len(gathered) * (FOLDS - 1) * ORDERS)
    for fold in range(FOLDS):
        inside = [item for item, at in zip(gathered, folds, strict=True) if at != fold]
        learner = trained(inside, seed, on_step=lambda: progress.advance(task))
        for place in np.flatnonzero(folds == fold).tolist():
            features = Features.from_bytes(gathered[place].example.stored)
            scores[place] = learner.log_odds(features)
    calibration = fit_calibration(scores, is_spam)
    found = measure(is_spam, scores, threshold=0.0)
    names = ("roca_complement_percent", "spam_missed_percent_at_ham_0_1_percent")
    metrics = {f"held_out_{name}": round(float(getattr(found, name)), 2) for name in names}
    return calibration, metrics


def build(corpus: Path, progress: Progress, seed: int = SEED) -> Bundle:
    """Train the shipped model from the archives in ``corpus``."""
    return dated(from_gathered(gather(corpus, progress, seed), progress, seed))


def from_gathered(gathered: Sequence[Gathered], progress: Progress, seed: int) -> Bundle:
    """Calibrate on what each fold leaves out, then train on all of it."""
    calibration, metrics = calibrate(gathered, progress, seed)
    task = progress.add_task("training", total=len(gathered) * ORDERS)
    learner = trained(gathered, seed, on_step=lambda: progress.advance(task))
    manifest = Manifest(
        origin="baseline",
        ham_messages=0,
        spam_messages=0,
        points_cap=BASELINE_CAP,
        calibration=calibration,
        points_scale=PointsScale(
            surely_ham_from=0.001,
            ham_from=round(calibration.probability(HAM_POINTS_AT), 4),
            unsure_from=round(calibration.probability(NO_POINTS_AT), 4),
            sure_from=round(calibration.probability(FULL_POINTS_AT), 4),
        ),
        sources={source.name: source.terms for source in SOURCES},
        metrics=metrics,
    )
    return learner.publishable(manifest)


def replace_directory(bundle: Bundle, fixed: Sequence[Example], out: Path) -> int:
    """Put sparse model, card and fixed set in place of an older one; return the size in bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".baseline-") as temporary:
        fresh = Path(temporary) / "new"
        bundle.save_sparse(fresh)
        (fresh / "MODEL_CARD.md").write_text(model_card(bundle), encoding="utf-8")
        save(fixed, fresh / FILE)
        size = sum(path.stat().st_size for path in fresh.iterdir())
        if out.exists():
            shutil.move(out, Path(temporary) / "old")
        fresh.rename(out)
    return size


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--seed", type=int, default=SEED, show_default=True)
def main(corpus: Path, out: Path, seed: int) -> None:
    """Build the shipped model from CORPUS into OUT."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bundle = build(corpus, progress, seed)
        size = replace_directory(bundle, divided(corpus).fixed, out)
    console.print(f"{bundle.model_id}: {size / 1e6:.1f} MB in {out}")
    if size > MAX_BYTES:
        console.print(f"[red]larger than {MAX_BYTES / 1e6:g} MB: too large for git[/red]")
        sys.exit(1)


if __name__ == "__main__":
    main()
