"""The index: what listings, tracking and the queue ask, kept up with journals by one writer."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from sqlalchemy import Connection, delete, select

from gateway.core.errors import RecordFormatError, StorageError
from gateway.core.record import MessageFacts
from gateway.store.engine import Database
from gateway.store.ingest import Batch, adopt, apply
from gateway.store.labels import Labels
from gateway.store.leases import Leases
from gateway.store.purging import Purging
from gateway.store.queries import Listings
from gateway.store.reports import Reports
from gateway.store.schema import INDEX, ROWS, journal_offset, message
from gateway.store.scored import ScoredMails
from gateway.store.statements import slices
from gateway.store.summary import Summary
from gateway.store.tailing import Tail

Progress = Callable[[str, int, int], None]  # phase, done, of how many

IN_MEMORY = "sqlite://"


class RecordSource(Protocol):
    """The records, as far as indexing needs them."""

    def ids(self, since_ms: int = 0) -> Iterator[str]:
        """All ids from that day on, oldest first."""

    def read(self, mail_id: str) -> MessageFacts:
        """What is known of a message."""


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """How much came into the index, and what could not (one line each, for the log)."""

    lines: int = 0
    adopted: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.lines += len(batch.lines)
        self.problems.extend(batch.problems)


class Index:
    """One index. Reading may be done by any process, writing by the holder of the writer lock.

    All calls block for the database; an event loop makes them in a thread.
    """

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node
        self._tails: dict[Path, Tail] = {}
        self._tails_of = database.identity
        self._writing = threading.Lock()  # the queue and the keeper's own round both ingest
        self.listings = Listings(database)
        self.summary = Summary(database)
        self.leases = Leases(database, node)
        self.reports = Reports(database)
        self.labels = Labels(database)
        self.scored = ScoredMails(database)
        self.purging = Purging(database, node, self._writing)

    @classmethod
    def open(cls, url: str, *, node: str, busy_timeout_s: float = 5.0) -> Self:
        """Open the index, making or migrating its tables if need be.

        Raises:
            IndexUnavailableError: locked, corrupt, unreachable, or of a newer schema; with the
            mend.
        """
        return cls(Database.open(url, INDEX, busy_timeout_s=busy_timeout_s), node)

    @classmethod
    def in_memory(cls, *, node: str) -> Self:
        """A private index that lives as long as this process; to be filled by ``fill``."""
        return cls.open(IN_MEMORY, node=node)

    @property
    def persistent(self) -> bool:
        """Whether other processes see what is in it."""
        return not (self._database.sqlite and self._database.path is None)

    def close(self) -> None:
        """Give the database back."""
        self._database.close()

    def ingest(self, journal: Path, *, names: Iterable[str] | None = None) -> IngestReport:
        """Bring everything new in the journals (or in some files) into the index.

        Raises:
            IndexUnavailableError: the database cannot be used; nothing is lost, call again.
            StorageError: a journal cannot be read.
        """
        report = IngestReport()
        wanted = None if names is None else list(names)
        with self._writing:
            while not self._ingested(journal, wanted, report):
                self._tails.clear()
        return report

    def _ingested(self, journal: Path, names: list[str] | None, report: IngestReport) -> bool:
        """Read on; False when another file took the index's place, which has read less or more."""
        for batch in self._batches(journal, names):
            with self._database.write() as connection:
                if self._database.identity != self._tails_of:
                    return False
                apply(connection, self._node, batch)
            self._tails[journal].advance(batch)
            report.add(batch)
        return True

    def adopt(self, records: RecordSource, *, since_ms: int = 0) -> IngestReport:
        """Add messages that have a record but no row, as a power loss can leave them.

        Once at the start look at all; later, the days since ``since_ms`` are enough.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        report = IngestReport()
        for ids in slices(records.ids(since_ms)):
            with self._writing, self._database.write() as connection:
                self._adopt(connection, records, ids, report)
        return report

    def fill(
        self, records: RecordSource, journal: Path, *, progress: Progress | None = None
    ) -> IngestReport:
        """Make all rows of this node anew from journals and records, in one transaction.

        Raises:
            IndexUnavailableError: the database cannot be used; the old rows stay.
            StorageError: a journal cannot be read.
        """
        tell = progress or _tell_nobody
        with self._writing:
            self._tails.clear()
            with self._database.write() as connection:
                for table in ROWS:
                    connection.execute(delete(table).where(table.c.node == self._node))
                report = self._read_all(connection, journal, tell)
                self._adopt_all(connection, records, report, tell)
        return report

    def _read_all(self, connection: Connection, journal: Path, tell: Progress) -> IngestReport:
        report = IngestReport()
        tail = Tail(journal, {})
        total = tail.total_bytes()
        try:
            for batch in tail.batches():
                apply(connection, self._node, batch)
                tail.advance(batch)
                report.add(batch)
                tell("journal", tail.read_bytes, total)
        except OSError as error:
            raise StorageError(f"{journal}: cannot be read: {error}") from error
        return report

    def _adopt_all(
        self, connection: Connection, records: RecordSource, report: IngestReport, tell: Progress
    ) -> None:
        everything = list(records.ids())
        done = 0
        for ids in slices(everything):
            self._adopt(connection, records, ids, report)
            done += len(ids)
            tell("records", done, len(everything))

    def _batches(self, journal: Path, names: Iterable[str] | None) -> Iterator[Batch]:
        try:
            if self._database.identity != self._tails_of:
                self._tails.clear()
            tail = self._tails.get(journal)
            if tail is None:
                tail = self._tails[journal] = Tail(journal, self._offsets())
                self._tails_of = self._database.identity
            yield from tail.batches(names)
        except OSError as error:
            raise StorageError(f"{journal}: cannot be read: {error}") from error

    def _offsets(self) -> dict[str, int]:
        query = select(journal_offset.c.file, journal_offset.c.offset)
        with self._database.read() as connection:
            rows = connection.execute(query.where(journal_offset.c.node == self._node))
            return {row.file: row.offset for row in rows}

    def _adopt(
        self, connection: Connection, records: RecordSource, ids: list[str], report: IngestReport
    ) -> None:
        known = set(connection.execute(select(message.c.id).where(message.c.id.in_(ids))).scalars())
        found = []
        for mail_id in ids:
            if mail_id in known:
                continue
            try:
                found.append(records.read(mail_id))
            except (RecordFormatError, StorageError) as error:
                report.problems.append(str(error))
        adopt(connection, self._node, found)
        report.adopted += len(found)


def _tell_nobody(_phase: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""
