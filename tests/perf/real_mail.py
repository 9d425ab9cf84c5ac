"""Real mail to measure with: unpacked corpora, their archives, or the samples of the tests.

Messages are made as a sending server would send them: CRLF, no mbox line, no NUL, lines whose dots
are doubled. ``write_mails`` is how they get to the generator's process.
"""

import json
import os
import random
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = ROOT.parent / "shared" / "corpus"
SAMPLES = ROOT / "tests" / "data" / "mail"
# German mail has only bodies in its corpus, and csdmc2010 overlaps spamassassin: left out.
CORPORA = ("spamassassin", "spam-2023-2025")
FIVE_KB = (4 * 1024, 6 * 1024)
LARGEST = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RealMail:
    """One message; ``content`` has CRLF and undoubled dots."""

    content: bytes
    is_spam: bool
    sender: str = "sender@elsewhere.example"


def corpora(scratch: Path) -> list[Path]:
    """Folders with an ``index``: SCHWAMM_CORPUS, else the archives unpacked, else the samples."""
    given = os.environ.get("SCHWAMM_CORPUS")
    if given:
        base = Path(given)
        found = [base / name for name in CORPORA if (base / name / "index").is_file()]
        if found or (base / "index").is_file():
            return found or [base]
        raise SystemExit(f"SCHWAMM_CORPUS={given}: no index file there")
    archives = [ARCHIVES / f"{name}.tar.xz" for name in CORPORA]
    if not all(path.is_file() for path in archives):
        print(f"no corpus at {ARCHIVES}: measuring with {SAMPLES}", file=sys.stderr)
        return [SAMPLES]
    for path in archives:
        with tarfile.open(path) as archive:
            archive.extractall(scratch, filter="data")
    return [scratch / name for name in CORPORA]


def read_mail(folders: Iterable[Path]) -> list[RealMail]:
    """Every message the indexes name, in an order that is the same in every run."""
    mails = [mail for folder in folders for mail in _read_index(folder)]
    random.Random(2).shuffle(mails)
    return mails


def of_five_kb(mails: list[RealMail], count: int) -> list[RealMail]:
    """Messages near 5 KB, the size the budget speaks of; all there are if there are too few."""
    low, high = FIVE_KB
    near = [mail for mail in mails if low <= len(mail.content) <= high]
    return (near or mails)[:count]


def _read_index(folder: Path) -> Iterator[RealMail]:
    for line in (folder / "index").read_text().splitlines():
        label, _, name = line.partition(" ")
        raw = (folder / name.split()[0]).read_bytes()
        content = as_sent(raw)
        if 100 < len(content) <= LARGEST:
            yield RealMail(content=content, is_spam=label == "spam")


def as_sent(raw: bytes) -> bytes:
    """The octets a mail server would send for a stored message."""
    if raw.startswith(b"From "):
        raw = raw.partition(b"\n")[2]
    lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\0", b"")
    content = lines.replace(b"\n", b"\r\n")
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def stuffed(content: bytes) -> bytes:
    """With doubled dots, as DATA wants it (RFC 5321 §4.5.2); the final dot is not added."""
    doubled = content.replace(b"\r\n.", b"\r\n..")
    return b"." + doubled if doubled.startswith(b".") else doubled


def write_mails(path: Path, mails: Iterable[RealMail]) -> None:
    """All messages in one file, ready to be sent."""
    with path.open("wb") as file:
        for mail in mails:
            data = stuffed(mail.content)
            head = {"sender": mail.sender, "bytes": len(data)}
            file.write(json.dumps(head).encode() + b"\n" + data)


def load_mails(path: Path) -> list[tuple[bytes, bytes]]:
    """(sender, stuffed content) of each message."""
    mails = []
    with path.open("rb") as file:
        while line := file.readline():
            head = json.loads(line)
            mails.append((head["sender"].encode(), file.read(head["bytes"])))
    return mails
