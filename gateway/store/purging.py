"""Facts of mail that is long gone leave the index and the journals.

Bytes go with retention; what was known of a mail (who wrote to whom, about what, and what became
of it) goes when its record is gone, no copy of it is ours, and nothing has happened to it for a
settable time. Labels, audit and availability lines stay: people's decisions outlive mail, and
history cannot be made up afterwards.

A line goes from a journal only when the index has read it and knows nothing of its mail any more.
What stays keeps its offset, so that a rebuilt index has the same rows as the one that was purged.
First the index, then the journals, each file in one step: after a crash at any instruction the next
round goes on, and until then a rebuild only brings back what the next round takes again.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import BindParameter, Connection, bindparam, delete, select, update

from gateway.core.errors import RecordFormatError, StorageError
from gateway.core.ids import first_id_at, is_mail_id
from gateway.core.record import CopyState, What
from gateway.store.codec import event_from_line
from gateway.store.days import day_name
from gateway.store.engine import Database
from gateway.store.files import FileLayer, OsFileLayer, storage_error
from gateway.store.journal_reading import gap_line, journal_days, journal_names, lines_from
from gateway.store.schema import copy, event, journal_offset, message
from gateway.store.statements import slices

_GONE_WITH_THEIR_MAIL: Final = frozenset({What.MESSAGE, What.COPY, What.REPORT})
_DRAFT: Final = ".purged"
_PATCH: Final = 1 << 20  # octets written at once


class Records(Protocol):
    """Which messages are kept (gateway.store.records)."""

    def exists(self, mail_id: str) -> bool:
        """Whether there is a record of this id."""


@dataclass(slots=True)
class Purged:
    """What one round removed: messages from the index, lines and whole files from the journals."""

    messages: int = 0
    lines: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """One line of a file: where, and of which mail it speaks; empty when it stays whatever."""

    start: int
    stop: int
    mail_id: str


class Purging:
    """Purges the index and the journals of one node. Calls block for database and disk."""

    def __init__(
        self,
        database: Database,
        node: str,
        writing: threading.Lock,
        *,
        file_layer: FileLayer | None = None,
    ) -> None:
        self._database = database
        self._node = node
        self._writing = writing
        self._files = file_layer or OsFileLayer()

    def purge(self, journal: Path, records: Records, before_ms: int) -> Purged:
        """Forget mail to which nothing happened since ``before_ms`` and that is not here any more.

        The caller holds the writer lock of the index and the removal lock.

        Raises:
            IndexUnavailableError: the database cannot be used; the next round goes on.
            StorageError: a journal cannot be read or replaced; likewise.
        """
        found = Purged(messages=self._purge_index(records, before_ms))
        last_day = day_name(before_ms)
        days = [day for day in journal_days(journal) if day < last_day]
        try:
            for name in journal_names(journal, days):
                self._purge_file(journal, name, records, before_ms, found)
            for day in days:
                self._remove_if_empty(journal / day)
            self._forget_offsets(journal, last_day)
        except OSError as error:
            raise storage_error(error, Path(error.filename or journal)) from error
        return found

    def _purge_index(self, records: Records, before_ms: int) -> int:
        """Rows of messages whose record is gone and that nothing happened to since."""
        number, after = 0, ""
        while True:
            with self._writing, self._database.write() as connection:
                if self._database.sqlite:  # what was deleted is overwritten, not only let go
                    connection.exec_driver_sql("PRAGMA secure_delete=ON")
                here = {"node": self._node, "after": after, "before": first_id_at(before_ms)}
                ids = list(connection.execute(_OLD, here).scalars())
                over = _not_alive(connection, ids, before_ms)
                over = [mail_id for mail_id in over if not records.exists(mail_id)]
                _forget(connection, over)
            number += len(over)
            if not ids:
                return number
            after = ids[-1]

    def _purge_file(
        self, journal: Path, name: str, records: Records, before_ms: int, found: Purged
    ) -> None:
        path, here = journal / name, {"node": self._node, "file": name}
        places = list(_places(path))
        end = places[-1].stop if places else 0
        with self._writing:
            with self._database.write() as connection:
                offset = connection.execute(_OFFSET, here).scalar() or 0
                if offset < end:
                    return  # the index does not have all of it yet
                unknown = _unknown(connection, {p.mail_id for p in places if p.mail_id}, before_ms)
                over = {mail_id for mail_id in unknown if not records.exists(mail_id)}
                _forget_lines(connection, here, over)
            kept = [place for place in places if place.mail_id not in over]
            if not kept:
                self._files.unlink(path)
            elif len(kept) < len(places):
                self._replace(path, kept)
            # Only now: a smaller offset would have what is still in the file read again.
            stop = kept[-1].stop if kept else 0
            if stop != offset:
                with self._database.write() as connection:
                    _set_offset(connection, here, stop)
        found.lines += len(places) - len(kept)
        found.files += not kept

    def _replace(self, path: Path, kept: list[_Place]) -> None:
        """The same file with gaps: a twin that is safe on disk takes its name in one step."""
        draft = path.with_name(path.name + _DRAFT)
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(draft)  # of a round that was killed
        descriptor = self._files.create(draft)
        try:
            with path.open("rb") as source:
                at = 0
                for place in kept:
                    self._leave_gap(descriptor, at, place.start)
                    source.seek(place.start)
                    self._files.write(descriptor, source.read(place.stop - place.start))
                    at = place.stop
            self._files.fsync(descriptor)
        finally:
            self._files.close(descriptor)
        # Not synced: a power loss may bring the former file back, and the next round purges it.
        self._files.rename(draft, path)

    def _leave_gap(self, descriptor: int, start: int, stop: int) -> None:
        if stop == start:
            return
        line = gap_line(stop - start)
        if len(line) > stop - start:
            raise StorageError("a purged line is shorter than what stands in its place")
        self._files.write(descriptor, line)
        self._files.truncate(descriptor, stop)  # longer than it is: a hole, which costs no disk

    def _forget_offsets(self, journal: Path, last_day: str) -> None:
        """Of files that were removed just before a crash."""
        with self._writing, self._database.write() as connection:
            rows = connection.execute(_FILES, {"node": self._node, "before": last_day}).scalars()
            for name in rows.all():
                if not (journal / name).exists():
                    _set_offset(connection, {"node": self._node, "file": name}, 0)

    def _remove_if_empty(self, day: Path) -> None:
        if not any(day.iterdir()):
            day.rmdir()


def _places(path: Path) -> Iterator[_Place]:
    """Every line; what cannot be read stays: it may be of a newer release."""
    for line, start, stop in lines_from(path, 0):
        mail_id = ""
        if isinstance(line, bytes):
            with contextlib.suppress(RecordFormatError):
                found = event_from_line(line)
                if found.what in _GONE_WITH_THEIR_MAIL and is_mail_id(found.mail_id):
                    mail_id = found.mail_id
        yield _Place(start, stop, mail_id)


def _not_alive(connection: Connection, ids: list[str], before_ms: int) -> list[str]:
    """Those of which no copy is ours, and to which nothing happened since."""
    alive: set[str] = set()
    for some in slices(ids):
        wanted = {"ids": some, "before_ms": before_ms}
        alive.update(connection.execute(_WITH_OURS, {"ids": some}).scalars())
        alive.update(connection.execute(_WITH_NEWS, wanted).scalars())
    return [mail_id for mail_id in ids if mail_id not in alive]


def _unknown(connection: Connection, ids: Iterable[str], before_ms: int) -> list[str]:
    """Those that the index has no row of, nor any event since."""
    mentioned = sorted(ids)
    known: set[str] = set()
    for some in slices(mentioned):
        known.update(connection.execute(_KNOWN, {"ids": some}).scalars())
    rest = [mail_id for mail_id in mentioned if mail_id not in known]
    return _not_alive(connection, rest, before_ms)


def _forget(connection: Connection, ids: list[str]) -> None:
    for some in slices(ids):
        connection.execute(delete(copy).where(copy.c.mail_id.in_(some)))
        connection.execute(
            delete(event).where(event.c.mail_id.in_(some), event.c.what.in_(_GONE_WITH_THEIR_MAIL))
        )
        connection.execute(delete(message).where(message.c.id.in_(some)))


def _forget_lines(connection: Connection, here: dict[str, str], over: set[str]) -> None:
    """Events without a message, as a power loss between index and journal can leave them."""
    for some in slices(sorted(over)):
        connection.execute(
            delete(event).where(
                event.c.node == here["node"],
                event.c.file == here["file"],
                event.c.mail_id.in_(some),
                event.c.what.in_(_GONE_WITH_THEIR_MAIL),
            )
        )


def _set_offset(connection: Connection, here: dict[str, str], offset: int) -> None:
    mine = (journal_offset.c.node == here["node"], journal_offset.c.file == here["file"])
    if offset:
        connection.execute(update(journal_offset).where(*mine).values(offset=offset))
    else:
        connection.execute(delete(journal_offset).where(*mine))


_SOME = 500
_IDS: BindParameter[str] = bindparam("ids", expanding=True)
_OURS = [state.value for state in CopyState if state.ours]
_OLD = (
    select(message.c.id)
    .where(message.c.node == bindparam("node"))
    .where(message.c.id > bindparam("after"), message.c.id < bindparam("before"))
    .order_by(message.c.id)
    .limit(_SOME)
)
_WITH_OURS = select(copy.c.mail_id).where(copy.c.mail_id.in_(_IDS), copy.c.state.in_(_OURS))
_WITH_NEWS = select(event.c.mail_id).where(
    event.c.mail_id.in_(_IDS), event.c.at_ms >= bindparam("before_ms")
)
_KNOWN = select(message.c.id).where(message.c.id.in_(_IDS))
_OFFSET = select(journal_offset.c.offset).where(
    journal_offset.c.node == bindparam("node"), journal_offset.c.file == bindparam("file")
)
_FILES = select(journal_offset.c.file).where(
    journal_offset.c.node == bindparam("node"), journal_offset.c.file < bindparam("before")
)
