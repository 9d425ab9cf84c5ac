"""Time and memory of ``schwamm`` on many messages: ``python -m training.bench_training``.

The public corpora hold fewer messages than a busy site labels, so each is repeated with other words
until there are enough: a third of the longer words of its body are exchanged, all different in
each copy, and so are its Message-ID and the day it came. Imports, trains and evaluates through
the command line, each in a process of its own, and prints what the system counted for it.
"""

from __future__ import annotations

import json
import random
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import click

from training.bench_accuracy_streams import chance_of
from training.corpus import read_index
from training.corpus.index import find_index

CORPORA = ("spamassassin", "csdmc2010", "spam-2023-2025", "codealltag")
MESSAGES = 40_000
_WORD = re.compile(rb"[A-Za-z]{5,12}")
_FIRST_DAY = 1_700_000_000
_DAYS = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one command took: CPU and wall time in seconds, resident memory at its peak in MiB."""

    command: str
    messages: int
    cpu_s: float
    wall_s: float
    peak_mib: float

    def line(self) -> str:
        """Return a row of the table."""
        rate = self.messages / self.cpu_s
        return (
            f"{self.command:44} {self.messages:8} {self.cpu_s:8.1f} {self.wall_s:8.1f} "
            f"{rate:10.0f} {self.peak_mib:8.0f}"
        )


def many_messages(corpora: Sequence[Path], number: int) -> Iterator[tuple[bytes, bool]]:
    """Yield so many different messages, by the days they came, made from those of the corpora."""
    read = [pair for corpus in corpora for pair in read_index(find_index(corpus), on_problem=_say)]
    chance = chance_of(20_051_115)
    chance.shuffle(read)
    for place in range(number):
        message, is_spam = read[place % len(read)]
        copy = place // len(read)
        arrived = _FIRST_DAY + place * _DAYS * 86_400 // number
        yield _other(message.raw, copy, chance, arrived), is_spam


def _other(raw: bytes, copy: int, chance: random.Random, arrived: int) -> bytes:
    head, _, body = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
    if copy and b"base64" not in head.lower():
        body = _WORD.sub(lambda word: _perhaps(word[0], copy, chance), body)
    number = b"%016x" % chance.getrandbits(64)
    head = re.sub(rb"(?im)^(message-id|received):.*\n?(?:[ \t].*\n?)*", b"", head + b"\n")
    stamp = formatdate(arrived).encode()
    received = b"Received: from mx.example by gw.example with ESMTP id " + number + b"; " + stamp
    return received + b"\nMessage-ID: <" + number + b"@many.example>\n" + head + b"\n" + body


def _perhaps(word: bytes, copy: int, chance: random.Random) -> bytes:
    return b"%s%x" % (word[:4], chance.getrandbits(20) + copy) if chance.random() < 0.33 else word


def _say(problem: object) -> None:
    click.echo(str(problem), err=True)


def measured(arguments: Sequence[str], messages: int) -> tuple[Cost, str]:
    """Run ``schwamm`` in a process of its own; return what it cost and what it printed.

    Raises CalledProcessError when it could not be used (exit code 2 or a crash).
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    probe = (
        "import resource, sys, time, json; from gateway.cli import main; began = time.monotonic()\n"
        "try:\n    main()\n"
        "except SystemExit as done: code = done.code or 0\n"
        "else: code = 0\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "kept = [time.monotonic() - began, used.ru_maxrss / 1024]\n"
        "print('COST ' + json.dumps(kept), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(  # noqa: S603  # our own command line
        [sys.executable, "-c", probe, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1) or "COST " not in done.stderr:
        raise subprocess.CalledProcessError(done.returncode, arguments, done.stdout, done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall, peak = json.loads(done.stderr.rpartition("COST ")[2])
    cost = Cost(
        command=" ".join(
            one if not Path(one).is_absolute() else Path(one).name for one in arguments
        ),
        messages=messages,
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        wall_s=wall,
        peak_mib=peak,
    )
    return cost, done.stdout


def run(corpora: Sequence[Path], number: int, folder: Path) -> Iterator[Cost]:
    """Write the messages, then import, train and evaluate them; yield what each cost."""
    lines = []
    for place, (raw, is_spam) in enumerate(many_messages(corpora, number)):
        path = folder / "mail" / f"{place // 1000:03}" / f"{place:06}.eml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        lines.append(f"{'spam' if is_spam else 'ham'} {path.relative_to(folder / 'mail')}\n")
    index = folder / "mail" / "index"
    index.write_text("".join(lines))
    (folder / "gateway.toml").write_text("")
    config = ["--config", str(folder / "gateway.toml")]
    for arguments in (
        ["corpus", "import", "--index", str(index), *config],
        ["train", *config, "--no-progress"],
        ["train", *config, "--no-progress", "--corpus", str(index)],
        ["train", *config, "--no-progress", "--counts", str(folder / "counts.npz")],
        ["evaluate", "--index", str(index), "--model", "none", "--protocol", "online"],
        ["evaluate", "--index", str(index), "--model", "none", "--protocol", "batch"],
    ):
        cost, _printed = measured(arguments, number)
        yield cost


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--messages", type=click.IntRange(100), default=MESSAGES, show_default=True)
def main(corpus: Path, messages: int) -> None:
    """Print what import, training and evaluation of so many messages cost."""
    found = [corpus / name for name in CORPORA if (corpus / name / "index").is_file()]
    if not found:
        raise click.ClickException(f"{corpus}: none of {', '.join(CORPORA)} lies unpacked in it")
    click.echo(f"{'':44} messages    cpu s   wall s  msg/cpu s  MiB")
    with tempfile.TemporaryDirectory(prefix="schwamm-many-") as folder:
        for cost in run(found, messages, Path(folder)):
            click.echo(cost.line())


if __name__ == "__main__":
    main()
