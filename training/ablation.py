"""Which parts of the classifier earn their cost: each is changed alone, on several streams.

``python -m training.ablation --corpus DIR --out DIR``, with the unpacked public corpora in the
first folder. Writes ``ablation.md`` and ``ablation.svg``: measures of every variant under the
online protocol, and their differences to the whole with paired bootstrap intervals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console

from models.classifier import ScoreParameters
from models.features import LEXICAL, WORDS, Features, extract
from models.message import scan
from training.ablation_tables import Outcome, as_markdown, as_svg
from training.bench_accuracy_streams import Corpora, Labelled, german_mix, spamassassin_by_time
from training.online import OnlineFilter
from training.protocols import run_stream

_MIME: Final = re.compile(rb"(?i)content-[a-z-]+:|mime-version:")


Extracted = dict[bytes, Features]
"""Features by message: extracted once for all variants that see whole messages."""


class Reduced(OnlineFilter):
    """A learner that sees only some features, or only some of a message's bytes."""

    def __init__(
        self,
        extracted: Extracted,
        parameters: ScoreParameters | None = None,
        *,
        keep: Callable[[Features], Features] = lambda features: features,
        edit: Callable[[bytes], bytes] | None = None,
    ) -> None:
        super().__init__(None, parameters)
        self._extracted = extracted
        self._keep = keep
        self._edit = edit

    def features(self, raw: bytes) -> Features:
        """Return the features that are left."""
        if self._edit is None:
            return self._keep(self._extracted[raw])
        return self._keep(super().features(self._edit(raw)))

    def classify(self, raw: bytes) -> float:
        """Score by the whole message: a second view would bring back what was taken away."""
        return self.calibration.probability(self.log_odds(self.features(raw)))


class NaiveBayesAlone(Reduced):
    """Counts only; the second stage never learns."""

    def refine(self, features: Features, *, is_spam: bool) -> None:
        """Learn nothing here."""


class TrainOnError(Reduced):
    """Counts a message only if it was not yet clearly on its side (a thick threshold)."""

    def learn(self, features: Features, *, is_spam: bool) -> None:
        """Learn a message; count it if it was a near miss."""
        sure = self.log_odds(features) > 3.0 if is_spam else self.log_odds(features) < -3.0
        self.refine(features, is_spam=is_spam)
        if not sure:
            self.counts.add(features, is_spam=is_spam)


def _without(low: int, high: int) -> Callable[[Features], Features]:
    def keep(features: Features) -> Features:
        indices = features.indices
        return Features(indices[(indices < low) | (indices >= high)])

    return keep


def _body_only(raw: bytes) -> bytes:
    head, mark, body = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
    fields = re.split(rb"\n(?![ \t])", head)
    return b"\n".join(field for field in fields if _MIME.match(field)) + mark + body


def _header_only(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n\n"


VARIANTS: Final[dict[str, Callable[[Extracted], OnlineFilter]]] = {
    "all of it": Reduced,
    "naive Bayes alone": NaiveBayesAlone,
    "no naive Bayes": lambda known: Reduced(known, ScoreParameters(naive_weight=0.0)),
    "no byte patterns": lambda known: Reduced(known, keep=_without(WORDS, 1 << 31)),
    "no pairs": lambda known: Reduced(known, keep=_without(LEXICAL, WORDS)),
    "byte patterns alone": lambda known: Reduced(
        known, ScoreParameters(naive_weight=0.0), keep=_without(0, WORDS)
    ),
    "no header": lambda known: Reduced(known, edit=_body_only),
    "no body": lambda known: Reduced(known, edit=_header_only),
    # A first energy that nothing learned ever outweighs leaves the same step to every weight.
    "equal steps instead of AdaGrad": lambda known: Reduced(
        known, ScoreParameters(rate=0.008 * 100, first_energy=10_000.0)
    ),
    "half the rate": lambda known: Reduced(known, ScoreParameters(rate=0.004)),
    "twice the rate": lambda known: Reduced(known, ScoreParameters(rate=0.016)),
    "every label believed": lambda known: Reduced(known, ScoreParameters(label_slips=0.0)),
    "no balance for long mail": lambda known: Reduced(
        known, ScoreParameters(typical_features=1_000_000)
    ),
    "all words heard": lambda known: Reduced(known, ScoreParameters(clear_log_odds=0.0)),
    "root instead of mean": lambda known: Reduced(
        known, ScoreParameters(naive_power=0.5, naive_weight=0.1)
    ),
    "more smoothing": lambda known: Reduced(known, ScoreParameters(smoothing=0.5)),
    "train on error": TrainOnError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedStream:
    """Messages in order, under a name for the tables."""

    name: str
    messages: tuple[Labelled, ...]


def streams_of(corpora: Corpora) -> Iterator[NamedStream]:
    """Yield the streams: by time, in the order of an index, and shuffled with German."""
    by_time = spamassassin_by_time(corpora)
    yield NamedStream(name="spamassassin", messages=by_time.messages)
    yield NamedStream(name="csdmc2010 (whole)", messages=tuple(corpora.messages("csdmc2010")))
    yield NamedStream(name="german", messages=german_mix(corpora).messages)


def run_variants(
    stream: NamedStream, names: tuple[str, ...], say: Callable[[str], None]
) -> list[Outcome]:
    """Run variants over one stream, each learning every message after it was scored."""
    outcomes = []
    extracted = {
        message.raw: Features(extract(scan(message.raw), message.raw).indices)
        for message, _ in stream.messages
    }
    for name in names:
        learner = VARIANTS[name](extracted)
        run = run_stream(stream.messages, learner, learn=learner.train, feedback=None)
        outcomes.append(
            Outcome(stream=stream.name, variant=name, is_spam=run.is_spam, scores=run.scores)
        )
        say(f"{stream.name}, {name}: {run.filter_seconds:.0f} s")
    return outcomes


@click.command()
@click.option(
    "--corpus", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--variants", default=",".join(VARIANTS), help="Names, separated by commas.")
@click.option("--limit", type=click.IntRange(min=100), help="Only the first N messages of each.")
@click.option("--resamples", type=click.IntRange(min=10), default=500, show_default=True)
def main(*, corpus: Path, out: Path, variants: str, limit: int | None, resamples: int) -> None:
    """Measure what each part of the classifier is worth."""
    console = Console(stderr=True)
    names = tuple(name.strip() for name in variants.split(","))
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise click.UsageError(f"'{unknown[0]}' is none of {', '.join(VARIANTS)}")
    corpora = Corpora(corpus, complain=lambda text: console.print(text, highlight=False))
    out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    for stream in streams_of(corpora):
        cut = NamedStream(name=stream.name, messages=stream.messages[:limit])
        outcomes += run_variants(cut, names, console.print)
        (out / "ablation.md").write_text(as_markdown(outcomes, resamples), encoding="utf-8")
    (out / "ablation.svg").write_bytes(as_svg(outcomes))
    np.savez_compressed(
        out / "ablation.npz",
        allow_pickle=False,
        **{f"{one.stream}/{one.variant}": one.scores for one in outcomes},
    )


if __name__ == "__main__":
    main()
