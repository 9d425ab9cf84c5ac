"""What a model says of mail from another site, and how a site's learner should start from it.

``python -m training.ablation_foreign --corpus DIR --out DIR``, with the unpacked public corpora in
the first folder. Builds the baseline again without half of the German texts, half of the recent
spam and, for the start, without the SpamAssassin corpus; judges what was left out and CSDMC2010.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress

from models.bundle import Bundle
from models.features import extract
from models.manifest import Manifest
from models.message import scan
from models.registry import baseline_directory
from training.baseline import SEED, Gathered, from_gathered, trained
from training.baseline_lessons import lessons, text_of
from training.baseline_sources import (
    GERMAN,
    RECENT_SPAM,
    SPAMASSASSIN,
    Dresser,
    RecentDresser,
    SourceMessage,
    bare,
    read_source,
    split_header,
)
from training.bench_accuracy_streams import (
    Corpora,
    Labelled,
    csdmc_by_time,
    mostly_spam,
    shuffled,
    spamassassin_by_time,
)
from training.measures import measure
from training.online import OnlineFilter, StartShare
from training.protocols import Run, run_stream
from training.train import Example

Lesson = tuple[str, bytes, bool]

LABELS: Final = 200
FIRST: Final = 1000
"""So few labels of its own a site should feel."""

STARTS: Final[dict[str, StartShare | None]] = {
    "nothing": None,
    "all of it": StartShare(weights=1.0, energy=1.0, counts_divisor=1),
    "weights 0.3, energy 0.1, counts / 10 (shipped)": StartShare(),
    "weights 0.7, energy 0.1, counts / 5": StartShare(weights=0.7, energy=0.1, counts_divisor=5),
    "weights 1, energy 0.1, counts / 10": StartShare(weights=1.0, energy=0.1, counts_divisor=10),
    "weights 0.5, no energy, counts / 10": StartShare(weights=0.5, energy=0.0, counts_divisor=10),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """A source in two halves that share no text: one to learn from, one to judge."""

    learned: list[SourceMessage]
    judged: list[SourceMessage]

    @classmethod
    def of(cls, messages: Sequence[SourceMessage]) -> Halves:
        """Split by a checksum of the path."""
        sides: tuple[list[SourceMessage], list[SourceMessage]] = ([], [])
        for one in messages:
            sides[zlib.crc32(one.path.encode()) % 2].append(one)
        return cls(learned=sides[0], judged=sides[1])


def judged_sets(
    german: Halves, recent: Halves, foreign: Sequence[tuple[bytes, bool]]
) -> dict[str, list[bytes]]:
    """Return what is judged: name and messages."""
    ham = [raw for raw, is_spam in foreign if not is_spam]
    spam = [raw for raw, is_spam in foreign if is_spam]
    in_old, in_new = Dresser(ham, SEED), RecentDresser([one.raw for one in recent.judged], SEED)
    headers = [split_header(raw)[0] for raw in ham]
    texts = [one.raw for one in german.judged]
    return {
        "CSDMC2010 ham": ham,
        "German ham, bare": [bare(text) for text in texts],
        "German ham under CSDMC2010 headers": [in_old.dress(text) for text in texts],
        "German ham in recent dress": [
            in_new.dress(headers[place % len(headers)], text) for place, text in enumerate(texts)
        ],
        "CSDMC2010 ham in recent dress": [
            in_new.dress(split_header(raw)[0], text_of(raw)) for raw in ham
        ],
        "CSDMC2010 spam": spam,
        "CSDMC2010 spam in recent dress": [
            in_new.dress(split_header(raw)[0], text_of(raw)) for raw in spam
        ],
        "recent spam, other half": [one.raw for one in recent.judged],
    }


def gathered(raws: Sequence[Lesson]) -> list[Gathered]:
    """Extract the features of lessons."""
    return [
        Gathered(
            example=Example(stored=extract(scan(raw), raw).to_bytes(), is_spam=is_spam), group=path
        )
        for path, raw, is_spam in raws
    ]


def points_line(name: str, bundle: Bundle, raws: Sequence[bytes]) -> str:
    """Return a row: how many messages get how many points from this model alone."""
    scores = [bundle.score(scan(raw), raw) for raw in raws]
    given = np.array([bundle.points(score) for score in scores])
    known = np.mean([score.known_share for score in scores])
    half, cap = bundle.points_cap / 2.0, bundle.points_cap
    shares = (given > 0.0, given >= half, given >= cap)
    cells = " | ".join(f"{100.0 * float(np.mean(share)):.2f}" for share in shares)
    return f"| {name} | {len(raws):,} | {cells} | {known:.2f} |"


def foreign_tables(corpus: Path, console: Console) -> str:
    """Build baselines without what is judged, and return their tables."""
    english = read_source(corpus, SPAMASSASSIN)
    german = Halves.of(read_source(corpus, GERMAN))
    recent = Halves.of(read_source(corpus, RECENT_SPAM))
    corpora = Corpora(corpus, complain=lambda text: console.print(text, highlight=False))
    foreign = [(message.raw, is_spam) for message, is_spam in csdmc_by_time(corpora).messages]
    judged = judged_sets(german, recent, foreign)
    shipped_way = lessons(english, recent.learned, german.learned, SEED)
    undressed = [(one.path, one.raw, one.is_spam) for one in (*english, *recent.learned)]
    undressed += [(one.path, bare(one.raw), one.is_spam) for one in german.learned]
    without_german = lessons(english, recent.learned, (), SEED)
    parts = []
    for title, raws in (
        ("built as shipped", shipped_way),
        ("nothing dressed: recent headers only in spam", undressed),
        ("no German texts", without_german),
    ):
        with Progress(console=console) as progress:
            bundle = from_gathered(gathered(raws), progress, SEED)
        rows = [points_line(name, bundle, messages) for name, messages in judged.items()]
        parts.append(
            f"**{title}**\n\n| judged | messages | above 0 points % | half the cap or more % "
            "| the cap % | known share |\n| --- | --- | --- | --- | --- | --- |\n"
            + "\n".join(rows)
            + "\n"
        )
        console.print(parts[-1], highlight=False)
    return "\n".join(parts)


def foreign_baseline(corpora: Corpora, corpus: Path) -> Bundle:
    """Build a baseline from CSDMC2010 and the German texts, to start into other mail with."""
    first = [(one.source, one.raw, is_spam) for one, is_spam in csdmc_by_time(corpora).messages]
    first += [(one.path, bare(one.raw), False) for one in read_source(corpus, GERMAN)]
    learner = trained(gathered(first), SEED)
    return learner.publishable(Manifest(origin="baseline", ham_messages=0, spam_messages=0))


def start_table(bundle: Bundle, corpora: Corpora, console: Console) -> str:
    """Start with a share of that baseline into SpamAssassin's stream."""
    stream = spamassassin_by_time(corpora).messages
    rows = []
    for name, start in STARTS.items():
        tested = OnlineFilter(bundle if start else None, start=start)
        run = run_stream(stream, tested, learn=tested.train, feedback=None)
        cells = [_measured(run, 0, count) for count in (300, 1000, len(stream))]
        rows.append(f"| {name} | {' | '.join(cells)} |")
        console.print(rows[-1], highlight=False)
    columns = ("1-ROCA %, first 300", "missed", "1-ROCA %, first 1,000", "missed")
    return _table(("start with", *columns, "1-ROCA %, all", "missed"), rows)


def first_table(bundle: Bundle, corpora: Corpora, console: Console) -> str:
    """Judge the first thousand messages of many streams, from nothing and from a baseline.

    SpamAssassin's mail is met by ``bundle``, CSDMC2010's by the shipped baseline.
    """
    shipped = Bundle.load(baseline_directory())
    by_time, other = spamassassin_by_time(corpora).messages, csdmc_by_time(corpora).messages
    thinned = mostly_spam(corpora).messages
    streams = [
        ("SpamAssassin by time", bundle, by_time),
        ("the same, last first", bundle, by_time[::-1]),
        ("the same, from 3,000", bundle, by_time[3000:]),
        ("the same, 71 % spam", bundle, thinned),
        *((f"SpamAssassin, shuffle {n}", bundle, shuffled(by_time, n)) for n in (1, 2)),
        ("71 % spam, shuffle 1", bundle, shuffled(thinned, 1)),
        ("CSDMC2010 by time", shipped, other),
        ("the same, last first", shipped, other[::-1]),
        *((f"CSDMC2010, shuffle {n}", shipped, shuffled(other, n)) for n in (1, 2)),
    ]
    rows = []
    for name, start, messages in streams:
        cells = []
        for model in (None, start):
            tested = OnlineFilter(model)
            run = run_stream(messages[:FIRST], tested, learn=tested.train, feedback=None)
            cells.append(_measured(run, 0, FIRST))
        rows.append(f"| {name} | {' | '.join(cells)} |")
        console.print(rows[-1], highlight=False)
    columns = ("from nothing: 1-ROCA %", "missed", "from the baseline: 1-ROCA %", "missed")
    return _table(("stream", *columns), rows)


def labels_table(bundle: Bundle, corpora: Corpora, console: Console) -> str:
    """Judge the thousand messages behind the first `LABELS`, with and without their labels.

    SpamAssassin's mail is met by ``bundle``, CSDMC2010's by the shipped baseline.
    """
    shipped = Bundle.load(baseline_directory())
    by_time, other = spamassassin_by_time(corpora).messages, csdmc_by_time(corpora).messages
    streams = (
        ("SpamAssassin", bundle, by_time),
        ("SpamAssassin from 1,500", bundle, by_time[1500:]),
        ("SpamAssassin from 3,000", bundle, by_time[3000:]),
        ("SpamAssassin, last first", bundle, by_time[::-1]),
        ("CSDMC2010", shipped, other),
        ("CSDMC2010, last first", shipped, other[::-1]),
    )
    rows = []
    for name, start, messages in streams:
        cut = _both_kinds(messages)
        for what, model, feedback in (
            ("the baseline, no label", start, 0),
            (f"the baseline and {LABELS} labels", start, LABELS),
            (f"nothing but {LABELS} labels", None, LABELS),
        ):
            # Without labels a model is judged as it serves: whole, not as a learner's start.
            share = StartShare(weights=1.0, energy=1.0, counts_divisor=1)
            tested = OnlineFilter(model, start=share if feedback == 0 else None)
            run = run_stream(cut, tested, learn=tested.train, feedback=feedback)
            rows.append(f"| {name} | {what} | {_measured(run, LABELS, len(cut))} |")
            console.print(rows[-1], highlight=False)
    return _table(("stream", "known", "1-ROCA %", "missed"), rows)


def _table(columns: Sequence[str], rows: Sequence[str]) -> str:
    rule = ("---" for _ in columns)
    return "\n".join([f"| {' | '.join(line)} |" for line in (columns, rule)] + [*rows, ""])


def _both_kinds(messages: Sequence[Labelled]) -> Sequence[Labelled]:
    """Skip what comes before there is a sixth of either kind in the first `LABELS`."""
    for begin in range(0, len(messages) - LABELS, 50):
        spam = sum(is_spam for _, is_spam in messages[begin : begin + LABELS])
        if LABELS // 6 <= spam <= LABELS - LABELS // 6:
            return messages[begin : begin + LABELS + 1000]
    raise ValueError("a stream without ham and spam side by side")


def _measured(run: Run, begin: int, end: int) -> str:
    found = measure(run.is_spam[begin:end], run.scores[begin:end])
    missed = found.spam_missed_percent_at_ham_0_1_percent
    return f"{found.roca_complement_percent:.3f} | {missed:.1f}"


@click.command()
@click.option(
    "--corpus", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(*, corpus: Path, out: Path) -> None:
    """Judge the baseline on mail of other sites."""
    console = Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    corpora = Corpora(corpus, complain=lambda text: console.print(text, highlight=False))
    bundle = foreign_baseline(corpora, corpus)
    tables = (
        start_table(bundle, corpora, console),
        first_table(bundle, corpora, console),
        labels_table(bundle, corpora, console),
        foreign_tables(corpus, console),
    )
    text = "\n".join(tables)
    (out / "foreign.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
