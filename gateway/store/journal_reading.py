"""Reading journals: every whole line once, a torn end not at all, damage named and passed over.

A journal of former days may have gaps where lines were purged (gateway.store.purging): a line
``{"skip":N}`` says that the next one begins N octets after its own beginning. So every line that
is left stands where it always stood, and rows made from it stay the same.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gateway.core.errors import RecordFormatError
from gateway.core.record import Event
from gateway.store.codec import event_from_line
from gateway.store.days import is_day

_MAX_LINE_BYTES = 16 * 1024 * 1024
_FILE = re.compile(r"[a-z]{1,20}-\d{1,10}-\d{1,15}\.jsonl\Z")
_GAP = re.compile(rb'\{"skip":(\d{1,15})\}\n')


def gap_line(octets: int) -> bytes:
    """Stands at the beginning of a gap so long."""
    return b'{"skip":%d}\n' % octets


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalProblem:
    """A line that cannot be used: where it starts (octets) and why."""

    path: Path
    offset: int
    reason: str


def journal_days(directory: Path) -> list[str]:
    """The days that have journals, oldest first."""
    return _names(directory, is_day)


def journal_names(directory: Path, days: Iterable[str] | None = None) -> list[str]:
    """Journal files as ``<day>/<file>``, of these days or of all, by role and start in each."""
    wanted = journal_days(directory) if days is None else days
    return [f"{day}/{name}" for day in wanted for name in _names(directory / day, _FILE.match)]


def read_from(path: Path, offset: int) -> Iterator[tuple[Event | JournalProblem, int]]:
    """Every whole line from ``offset`` on, each with the offset behind it.

    Raises:
        OSError: the disk does not give it.
    """
    for line, start, next_offset in lines_from(path, offset):
        yield _event(line, path, start) if isinstance(line, bytes) else line, next_offset


def lines_from(path: Path, offset: int) -> Iterator[tuple[bytes | JournalProblem, int, int]]:
    """The same without looking into the lines, each with where it starts and the offset behind it.

    A last line without its end is left for later: its writer is still at it, or died at it. A
    file that is gone has no lines.

    Raises:
        OSError: the disk does not give it.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        while line := file.readline(_MAX_LINE_BYTES):
            start = offset
            gap = _GAP.fullmatch(line)
            if gap is not None:
                offset = start + max(int(gap[1]), len(line))
                file.seek(offset)
                continue
            offset += len(line)
            if line.endswith(b"\n"):
                yield line, start, offset
                continue
            rest = _skip_line(file)
            if rest is None:
                return
            offset += rest
            yield JournalProblem(path=path, offset=start, reason="line too long"), start, offset


def _event(line: bytes, path: Path, offset: int) -> Event | JournalProblem:
    try:
        return event_from_line(line)
    except RecordFormatError as error:
        return JournalProblem(path=path, offset=offset, reason=str(error))


def _skip_line(file: BinaryIO) -> int | None:
    """How many octets follow up to the end of an overlong line; None when it has no end yet."""
    skipped = 0
    while chunk := file.readline(_MAX_LINE_BYTES):
        skipped += len(chunk)
        if chunk.endswith(b"\n"):
            return skipped
    return None


def _names(directory: Path, wanted: Callable[[str], object]) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if wanted(name))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []
