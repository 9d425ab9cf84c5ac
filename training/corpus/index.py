"""Index files: one line ``ham PATH`` or ``spam PATH`` for each message, in order of arrival.

This is the form of the TREC spam track's corpora (``spam ../data/inmail.1``); relative paths
start at the folder of the index.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from models.mailboxes.message import (
    DEFAULT_READ_LIMITS,
    CorpusMessage,
    CorpusProblem,
    OnProblem,
    ProblemCode,
    ReadLimits,
)
from models.mailboxes.reading import read_messages

_ONE_MESSAGE_BYTES = 256 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LABELS = {b"ham": False, b"spam": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One line of an index: where the mail lies and what a person said it is."""

    path: Path
    is_spam: bool
    line: int


def find_index(path: Path) -> Path:
    """Return the index file that ``path`` means: itself, or the one a corpus folder holds.

    Raises FileNotFoundError with a plain sentence when there is none.
    """
    for candidate in (path, path / "index", path / "full" / "index"):
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise FileNotFoundError(f"{path}: there is no file named 'index' in this folder")
    raise FileNotFoundError(f"{path}: there is no such file")


def read_index_entries(
    index: Path, *, on_problem: OnProblem, limits: ReadLimits = DEFAULT_READ_LIMITS
) -> Iterator[IndexEntry]:
    """Yield the lines of an index file; blank ones and ``#`` comments are passed over.

    Raises OSError if the index itself cannot be read.
    """
    with index.open("rb") as lines:
        number = 0
        while line := lines.readline(limits.max_index_line_bytes):
            number += 1
            too_long = not line.endswith(b"\n") and len(line) == limits.max_index_line_bytes
            if too_long:
                _skip_line(lines)
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)  # some editors write it
            line = line.strip()
            if not line or line.startswith(b"#"):
                continue
            entry = None if too_long else _parse(line, index.parent, number)
            if entry is None:
                where, detail = f"{index}:{number}", _shown(line)
                on_problem(CorpusProblem(code=ProblemCode.BAD_LINE, where=where, detail=detail))
                continue
            yield entry


def read_index(
    index: Path, *, on_problem: OnProblem, limits: ReadLimits = DEFAULT_READ_LIMITS
) -> Iterator[tuple[CorpusMessage, bool]]:
    """Yield (message, is spam) for all that an index names: usually files, also mailboxes."""
    for entry in read_index_entries(index, on_problem=on_problem, limits=limits):
        for message in read_messages(entry.path, on_problem=on_problem, limits=limits):
            yield message, entry.is_spam


def expected_messages(index: Path, limit: int | None = None) -> int:
    """Return about how many messages an index names, at most ``limit``; for a progress display.

    Folders and large files are looked into, for they may be mailboxes; small files count as one
    message each, so that a corpus of single messages is not read twice.
    """
    found = 0
    for entry in read_index_entries(index, on_problem=_ignore):
        found += _messages_at(entry.path, None if limit is None else limit - found)
        if limit is not None and found >= limit:
            return limit
    return found


def _messages_at(path: Path, limit: int | None) -> int:
    try:
        status = path.stat()
    except OSError:
        return 0
    if stat.S_ISREG(status.st_mode) and status.st_size <= _ONE_MESSAGE_BYTES:
        return 1
    return sum(1 for _ in islice(read_messages(path, on_problem=_ignore), limit))


def _ignore(_problem: CorpusProblem) -> None:
    """Problems are told when the mail is read in earnest."""


def _parse(line: bytes, folder: Path, number: int) -> IndexEntry | None:
    parts = line.split(None, 1)
    # A bare CR: the lines of an old Mac, of which only the first would be seen.
    if len(parts) != 2 or b"\0" in line or b"\r" in line:
        return None
    label, name = parts
    is_spam = _LABELS.get(label.lower())
    if is_spam is None:
        return None
    path = folder / os.fsdecode(name)
    if b" " in name and not path.exists():
        # The track's own toolkit wrote user and genre after the name.
        first = folder / os.fsdecode(name.split(None, 1)[0])
        path = first if first.exists() else path
    return IndexEntry(path=path, is_spam=is_spam, line=number)


def _skip_line(lines: BinaryIO) -> None:
    while (rest := lines.readline(65536)) and not rest.endswith(b"\n"):
        pass


def _shown(line: bytes) -> str:
    return line[:60].decode("utf-8", "replace")
