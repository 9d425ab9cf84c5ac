"""The queue as its runner sees it (``core.queueing.QueueStore``): index, records and journal."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.core.queueing import Claim, StoredMessage
from gateway.core.record import Event
from gateway.store.errors import RecordMissingError
from gateway.store.files import OsFileLayer, make_durable_directory, storage_error
from gateway.store.index import Index
from gateway.store.journal import Journal
from gateway.store.records import FileRecords

_Result = TypeVar("_Result")


class QueueHold:
    """Whether the queue is on hold: a file in the state directory, so that every process sees it.

    After a restore the queue starts held, or mail would be delivered twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def held(self) -> bool:
        """Whether nothing may be delivered from the queue now."""
        return self._path.exists()

    def hold(self, why: str) -> None:
        """Stop the queue; ``why`` is for whoever finds the file.

        Raises:
            StorageError: the file cannot be written.
        """
        layer = OsFileLayer()
        try:
            make_durable_directory(layer, self._path.parent)
            self._path.write_text(f"{why}\n", encoding="utf-8")
            layer.sync_directory(self._path.parent)
        except OSError as error:
            raise storage_error(error, self._path) from error

    def let_go(self) -> None:
        """Let the queue run again.

        Raises:
            StorageError: the file cannot be removed.
        """
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, self._path) from error


class IndexQueue:
    """Leases from the index, messages from the records, results by way of our own journal."""

    def __init__(
        self,
        index: Index,
        records: FileRecords,
        *,
        journal: Journal,
        journal_directory: Path,
        hold: QueueHold,
        executor: Executor | None = None,
    ) -> None:
        self._index = index
        self._records = records
        self._journal = journal
        self._journal_directory = journal_directory
        self._hold = hold
        self._executor = executor
        self._caught_up = False

    async def claim(
        self, *, owner: str, now_ms: int, lease_ms: int, limit: int, without: Collection[str]
    ) -> list[Claim]:
        """Take due copies; a queue on hold gives nothing.

        Before the first claim everything in the journals is brought in: a runner before us may
        have died between a result and the index, and that copy must not go out twice.
        """
        if self._hold.held:
            return []
        if not self._caught_up:
            await self._run(partial(self._index.ingest, self._journal_directory))
            self._caught_up = True
        return await self._run(
            partial(
                self._index.leases.claim,
                owner=owner,
                now_ms=now_ms,
                lease_ms=lease_ms,
                limit=limit,
                without=without,
            )
        )

    async def extend(self, claim: Claim, until_ms: int) -> bool:
        """Prolong a lease; False when it is no longer ours."""
        return await self._run(partial(self._index.leases.extend, claim, until_ms))

    async def finish(self, claim: Claim, event: Event) -> bool:
        """Bring a result into the index and give the lease back; False: it was no longer ours.

        The event comes to the index the way all events do, from the journal it was durably written
        to: there is no second way in which a crash could leave it half done.
        """
        del event  # it stands in our journal
        return await self._run(partial(self._finish, claim))

    async def load(self, mail_id: str) -> StoredMessage | None:
        """The record of a message, None when it was deleted meanwhile.

        Raises:
            RecordFormatError: torn or of a newer format.
        """
        return await self._run(partial(self._load, mail_id))

    async def delay_reports(self, mail_id: str) -> Mapping[str, str]:
        """The recipients of whose delay the sender is told, each with the report's id."""
        return await self._run(partial(self._index.reports.of_delay, mail_id))

    async def knows(self, mail_id: str) -> bool:
        """Whether there is, or was, a message of this id: a record, or a row of the index."""
        return await self._run(partial(self._knows, mail_id))

    def _knows(self, mail_id: str) -> bool:
        return self._records.exists(mail_id) or self._index.reports.has_message(mail_id)

    async def make_due(self, domains: Collection[str], now_ms: int) -> int:
        """All waiting copies of these domains are due now; their number."""
        return await self._run(partial(self._index.leases.make_due, domains, now_ms))

    async def next_due_ms(self) -> int | None:
        """When the earliest waiting copy is due; None when none is, or the queue is on hold."""
        if self._hold.held:
            return None
        return await self._run(self._index.leases.next_due_ms)

    async def waiting_domains(self) -> list[str]:
        """Recipient domains that have waiting copies."""
        return await self._run(self._index.leases.waiting_domains)

    def _finish(self, claim: Claim) -> bool:
        self._index.ingest(self._journal_directory, names=self._journal.names)
        return self._index.leases.give_back(claim)

    def _load(self, mail_id: str) -> StoredMessage | None:
        with contextlib.suppress(RecordMissingError):
            return StoredMessage(
                facts=self._records.read(mail_id), content=self._records.content(mail_id)
            )
        return None

    async def _run(self, call: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)
