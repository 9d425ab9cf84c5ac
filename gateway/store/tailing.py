"""Following all journals of a directory in batches, each line once."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.core.errors import RecordFormatError
from gateway.store.codec import event_and_text
from gateway.store.ingest import Batch, Line
from gateway.store.journal_reading import (
    JournalProblem,
    journal_days,
    journal_names,
    lines_from,
)

_BATCH_LINES = 500
_LIVE_DAYS = 2  # a process rolls to the next day's file with its first line after midnight


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    start: int
    next_offset: int
    entry: Line | JournalProblem


class Tail:
    """Knows how far every journal file has been read; ``offsets`` is where to go on."""

    def __init__(self, directory: Path, offsets: dict[str, int]) -> None:
        self._directory = directory
        self._offsets = offsets
        self._settled: set[str] = set()
        self._newest_day = ""

    def total_bytes(self) -> int:
        """How much there is to read, in octets."""
        return sum(self._pending(name) for name in journal_names(self._directory))

    @property
    def read_bytes(self) -> int:
        """How much is in the index by now, in octets."""
        return sum(self._offsets.values())

    def batches(self, names: Iterable[str] | None = None) -> Iterator[Batch]:
        """What is new in these files, or in all; each batch must be confirmed by ``advance``.

        Raises:
            OSError: the disk does not give it.
        """
        places = self._places(self._worth_reading() if names is None else list(names))
        while chunk := list(itertools.islice(places, _BATCH_LINES)):
            yield _batch(chunk)

    def advance(self, batch: Batch) -> None:
        """This batch is in the index."""
        self._offsets.update(batch.offsets)

    def _places(self, names: list[str]) -> Iterator[_Place]:
        for name in names:
            start = self._offsets.get(name, 0)
            if self._pending(name) <= 0:
                continue
            path = self._directory / name
            for raw, at, next_offset in lines_from(path, start):
                entry = _line(raw, path, name, at) if isinstance(raw, bytes) else raw
                yield _Place(name, at, next_offset, entry)

    def _worth_reading(self) -> list[str]:
        """All files but those of past days that had nothing new once before."""
        days = journal_days(self._directory)
        if days and days[-1] != self._newest_day:
            self._newest_day = days[-1]
            self._settled.clear()
        open_days = [day for day in days if day not in self._settled]
        names = journal_names(self._directory, open_days)
        fresh = {name.partition("/")[0] for name in names if self._pending(name) > 0}
        past = set(days[:-_LIVE_DAYS])
        self._settled.update(day for day in open_days if day in past and day not in fresh)
        return names

    def _pending(self, name: str) -> int:
        try:
            size = (self._directory / name).stat().st_size
        except FileNotFoundError:
            return 0
        return size - self._offsets.get(name, 0)


def _batch(places: list[_Place]) -> Batch:
    batch = Batch()
    for place in places:
        if isinstance(place.entry, JournalProblem):
            batch.problems.append(f"{place.name} at {place.start}: {place.entry.reason}")
        else:
            batch.lines.append(place.entry)
        batch.offsets[place.name] = place.next_offset
    return batch


def _line(raw: bytes, path: Path, name: str, offset: int) -> Line | JournalProblem:
    try:
        event, text = event_and_text(raw)
    except RecordFormatError as error:
        return JournalProblem(path=path, offset=offset, reason=str(error))
    return Line(file=name, offset=offset, event=event, text=text)
