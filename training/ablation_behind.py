"""What is left of a model's points when spam hides behind much harmless text.

``python -m training.ablation_behind --corpus DIR --out DIR``, with the unpacked public corpora in
the first folder: CSDMC2010's spam behind 64 KiB of that corpus's good texts, scored by the shipped
model, which knows neither; and as a control that corpus's ham in the same place.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console

from models.bundle import Bundle
from models.charset import decode
from models.message import scan
from models.registry import baseline_directory
from models.text import is_text
from training.baseline_sources import split_header
from training.bench_accuracy_streams import Corpora, chance_of, csdmc_by_time

HARMLESS_BYTES: Final = 64 * 1024
_MESSAGES: Final = 150
_SEED: Final = 3
_CONTENT: Final = (b"content-", b"mime-version")
_PLAIN: Final = b'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: 8bit\n\n'


class Harmless:
    """Good texts, put together to as much as is asked for; the same in every run."""

    def __init__(self, ham: Sequence[bytes]) -> None:
        self._texts = [text for text in (scan(raw).text for raw in ham) if len(text) > 200]
        self._chance = chance_of(_SEED)

    def text(self) -> str:
        """Return at least `HARMLESS_BYTES` of texts."""
        found, size = [], 0
        while size < HARMLESS_BYTES:
            found.append(self._chance.choice(self._texts))
            size += len(found[-1].encode("utf-8", "replace"))
        return "\n".join(found)


def behind_text(raw: bytes, harmless: str) -> bytes:
    """Put a harmless text in front of a message's own, inside the same part and of its type."""
    texts = [part for part in scan(raw).parts if is_text(part.content_type)]
    shown = [part for part in texts if part.content_type == "text/html"] or texts
    if not shown:
        return behind_part(raw, harmless)
    part, front = shown[-1], harmless
    if part.content_type == "text/html":
        front = f"<pre>{html.escape(harmless)}</pre>"
    kind = f'MIME-Version: 1.0\nContent-Type: {part.content_type}; charset="utf-8"\n'
    fields = _own_fields(raw) + kind.encode() + b"Content-Transfer-Encoding: 8bit\n\n"
    content = decode(part.payload(), part.charset)
    return fields + f"{front}\n\n{content}".encode("utf-8", "replace")


def behind_part(raw: bytes, harmless: str) -> bytes:
    """Put a harmless text in front as a part of its own; the message's body is the last part."""
    content = b"\n".join(_fields(raw, of_content=True))
    front = b"\n--=_x\n" + _PLAIN + harmless.encode("utf-8", "replace")
    last = b"\n--=_x\n" + content + b"\n\n" + split_header(raw)[1]
    kind = b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="=_x"\n'
    return _own_fields(raw) + kind + front + last + b"\n--=_x--\n"


def _own_fields(raw: bytes) -> bytes:
    return b"".join(line + b"\n" for line in _fields(raw, of_content=False))


def _fields(raw: bytes, *, of_content: bool) -> Iterator[bytes]:
    wanted = False
    for line in split_header(raw)[0]:
        if not line.startswith((b" ", b"\t")):
            wanted = line.lower().startswith(_CONTENT) is of_content
        if wanted:
            yield line


PLACES: Final[dict[str, Callable[[bytes, str], bytes]]] = {
    "alone": lambda raw, _: raw,
    "behind the text": behind_text,
    "in the last part": behind_part,
}


def points_behind(
    bundle: Bundle, raws: Sequence[bytes], ham: Sequence[bytes], place: str
) -> list[float]:
    """Return the points a model gives each message in that one of `PLACES`."""
    harmless = Harmless(ham)
    found = []
    for raw in raws:
        hidden = PLACES[place](raw, harmless.text())
        found.append(bundle.points(bundle.score(scan(hidden), hidden)))
    return found


def table(bundle: Bundle, ham: Sequence[bytes], spam: Sequence[bytes]) -> str:
    """Return how many of both kinds keep how many points in each place."""
    rows = []
    for kind, raws in (("spam", spam), ("ham", ham)):
        for place in PLACES:
            given = np.array(points_behind(bundle, raws, ham, place))
            shares = (given > 0.0, given >= bundle.points_cap / 2.0, given >= bundle.points_cap)
            cells = " | ".join(f"{100.0 * float(np.mean(share)):.1f}" for share in shares)
            rows.append(f"| {kind} {place} | {len(raws)} | {cells} |")
    head = "| | messages | above 0 points % | half the cap or more % | the cap % |\n"
    return head + "| --- | --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"


def foreign(corpora: Corpora) -> tuple[list[bytes], list[bytes]]:
    """Return CSDMC2010's ham and spam to judge by, evenly over its time."""
    messages = csdmc_by_time(corpora).messages
    ham = [message.raw for message, is_spam in messages if not is_spam]
    spam = [message.raw for message, is_spam in messages if is_spam]
    return ham[:: len(ham) // _MESSAGES][:_MESSAGES], spam[:: len(spam) // _MESSAGES][:_MESSAGES]


@click.command()
@click.option(
    "--corpus", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(*, corpus: Path, out: Path) -> None:
    """Measure what hiding spam behind harmless text is worth to a spammer."""
    console = Console(stderr=True)
    corpora = Corpora(corpus, complain=lambda text: console.print(text, highlight=False))
    text = table(Bundle.load(baseline_directory()), *foreign(corpora))
    console.print(text, highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    (out / "behind.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
