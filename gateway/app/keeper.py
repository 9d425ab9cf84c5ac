"""The keeper: brings journals into the index, runs the queue, keeps retention, beats.

It owns the writer lock of the index. When the index on disk cannot be used it works on one in
memory (ADR 0001), so that held and queued mail still moves.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.app.availability import AvailabilityJournal
from gateway.app.life import Life, Seat
from gateway.app.renewal import Renewal
from gateway.app.retention import Retention, SteadyClock
from gateway.app.routing import Routing
from gateway.core.clock import SystemClock
from gateway.core.errors import GatewayError, IndexUnavailableError
from gateway.core.ids import IdSource
from gateway.core.routing import NextHop
from gateway.delivery.marks import Marks, load_key
from gateway.delivery.notices import Notices
from gateway.delivery.queue import Queue
from gateway.delivery.relay import Relay
from gateway.net.maildir import MaildirDelivery
from gateway.net.pool import Pool
from gateway.net.trial_dns import serve_trial_zone
from gateway.settings import Settings
from gateway.store.index import Index
from gateway.store.journal import Journal
from gateway.store.lock import WriterLock
from gateway.store.queue import IndexQueue, QueueHold
from gateway.store.rebuild import rebuild
from gateway.store.records import FileRecords

_log = structlog.get_logger()
_INGEST_S = 0.2
_INGEST_BUSY_S = 0.5  # under load: fewer, larger transactions cost the keeper a fifth less
_HEARTBEAT_S = 60.0
_HOUSEKEEPING_S = 30.0
_TRY_DISK_AGAIN_S = 60.0
_ADOPT_MS = 86_400_000  # older records without a row were found in the first round
_TROUBLES = 5  # failed rounds in a row before the index on disk is given up for now


async def run_keeper(settings: Settings, renewal: Renewal | None = None) -> None:
    """Keep until it is time to stop."""
    seat = Seat.taken(settings)
    keeper = Keeper(settings=settings, life=Life(seat=seat, renewal=renewal))
    await keeper.run()


@dataclass(slots=True, kw_only=True)
class Keeper:
    """One keeper; ``life`` says when to stop."""

    settings: Settings
    life: Life
    clock: SystemClock = field(default_factory=SystemClock)
    _state: Path = field(init=False)
    _records: FileRecords = field(init=False)
    _journal: Journal = field(init=False)
    _availability: AvailabilityJournal = field(init=False)
    _routing: Routing = field(init=False)
    _queue: Queue = field(init=False)
    _steadiness: SteadyClock = field(init=False)
    _trial_zone: asyncio.DatagramTransport | None = field(init=False, default=None)
    _trial_zone_missed: bool = field(init=False, default=False)

    async def run(self) -> None:
        """Wait for the writer lock, then work on one index after another until stopped."""
        self._state = self.settings.paths.state
        self._records = FileRecords(self._state / "records", self._state / "tmp")
        self._journal = Journal(self._state / "journal", "keeper", self.clock)
        self._availability = AvailabilityJournal(self._journal, self.clock)
        self._routing = Routing(self._state / "generations")
        self._steadiness = SteadyClock(self.clock)
        self.life.on_tick = self._tick
        living = asyncio.create_task(self.life.run())
        async with AsyncExitStack() as closing:
            closing.callback(self._journal.close)
            closing.callback(self._records.close)
            closing.callback(self._close_trial_zone)
            lock = await self._writer_lock()
            if lock is not None:
                closing.callback(lock.release)
                self._availability.note("process", f"keeper-{os.getpid()}", up=True)
                while not self.life.stopping.is_set():
                    await self._work_on(await self._open_index())
                    await self._rebuild_if_asked()
                self._availability.note("process", f"keeper-{os.getpid()}", up=False)
        await living

    async def _tick(self) -> None:
        self._routing.refresh()
        await self._serve_trial_zone()

    async def _serve_trial_zone(self) -> None:
        """Try at every tick: the keeper before this one may still have the port."""
        trial = self.settings.trial
        if not trial.dns_port or self._trial_zone is not None:
            return
        try:
            self._trial_zone = await serve_trial_zone(trial.zone, trial.listed, trial.dns_port)
        except OSError as error:
            if not self._trial_zone_missed:
                _log.warning("trial zone not served", port=trial.dns_port, reason=str(error))
            self._trial_zone_missed = True

    def _close_trial_zone(self) -> None:
        if self._trial_zone is not None:
            self._trial_zone.close()

    async def _writer_lock(self) -> WriterLock | None:
        """The right to write the index; an old keeper that drains still has it for a moment."""
        waited = False
        while not self.life.stopping.is_set():
            lock = WriterLock.try_acquire(self._state / "index.lock")
            if lock is not None:
                return lock
            if not waited:
                _log.info("waiting for the index writer lock")
            waited = True
            await self._sleep(0.2)
        return None

    async def _open_index(self) -> Index:
        """The index on disk, or one in memory that is filled from records and journals."""
        url, node = self.settings.index_url, self.settings.node.name
        while True:
            try:
                return await asyncio.to_thread(self._opened, url)
            except IndexUnavailableError as error:
                _log.error("index unusable", reason=str(error))
                self._availability.note("index", url.partition("@")[2] or url, up=False)
            if url.startswith("sqlite"):
                index = Index.in_memory(node=node)
                filling = asyncio.to_thread(index.fill, self._records, self._state / "journal")
                await self.life.beat_while(filling)
                _log.warning("working on an index in memory; mend with: schwamm reindex")
                return index
            await self._sleep(5.0)
            if self.life.stopping.is_set():
                return Index.in_memory(node=node)

    def _opened(self, url: str) -> Index:
        """The index, proven writable.

        One keeper at a time holds the writer lock: what the one before us had claimed is free.
        """
        index = Index.open(url, node=self.settings.node.name)
        try:
            index.leases.give_back_all(self._owner)
        except IndexUnavailableError:
            index.close()
            raise
        return index

    @property
    def _owner(self) -> str:
        return f"{self.settings.node.name}-keeper"

    async def _work_on(self, index: Index) -> None:
        """Queue and housekeeping on one index, until stopped or until another one is wanted."""
        hold = QueueHold(self._state / "queue.hold")
        pool = Pool(
            self.settings.delivery,
            hostname=self.settings.smtp.hostname,
            clock=self.clock,
            on_availability=self._on_next_hop,
        )
        store = IndexQueue(
            index,
            self._records,
            journal=self._journal,
            journal_directory=self._state / "journal",
            hold=hold,
        )
        self._queue = Queue(
            store=store,
            relay=Relay(
                connections=pool,
                maildirs=MaildirDelivery(self.clock),
                generation=lambda: self._routing.current,
                marks=Marks(load_key(self._state / "mark.key")),
                hostname=self.settings.smtp.hostname,
                clock=self.clock,
            ),
            journal=self._journal,
            health=pool,
            generation=lambda: self._routing.current,
            settings=self.settings.delivery,
            clock=self.clock,
            owner=self._owner,
            notices=Notices(
                records=self._records,
                generation=lambda: self._routing.current,
                ids=IdSource(self.settings.node.name),
                node=self.settings.node.name,
                hostname=self.settings.smtp.hostname,
                clock=self.clock,
            ),
        )
        delivering = asyncio.create_task(self._queue.run())
        try:
            await self._keep_house(index)
        finally:
            self._queue.stop()
            done, _ = await asyncio.wait({delivering}, timeout=self.settings.smtp.drain_timeout_s)
            if not done:
                await self._queue.abort()
                delivering.cancel()
            await pool.close()
            pool.abort()
            index.close()

    def _on_next_hop(self, hop: NextHop, up: bool, reason: str) -> None:
        self._availability.next_hop(hop, up, reason)
        self._queue.next_hop_changed(hop, up, reason)

    async def _keep_house(self, index: Index) -> None:
        """Ingest often, the rest now and then; returns when this index should be left."""
        retention = Retention(
            listings=index.listings,
            purging=index.purging if index.persistent else None,
            facts_days=self.settings.retention.facts_days,
            # What nobody knows any more cannot be labelled either.
            features_days=min(
                self.settings.retention.features_days, self.settings.retention.facts_days
            ),
            records=self._records,
            journal=self._journal,
            state=self._state,
            clock=self.clock,
            steadiness=self._steadiness,
        )
        now = self.clock.monotonic_s()
        beat_at, house_at, disk_at = now, now, now + _TRY_DISK_AGAIN_S
        troubles, adopted = 0, False
        while not self.life.stopping.is_set() and not self._reindex_request.exists():
            now = self.clock.monotonic_s()
            pause_s = _INGEST_S
            try:
                if await self._ingest(index):
                    pause_s = _INGEST_BUSY_S
                if now >= house_at:
                    house_at = now + _HOUSEKEEPING_S
                    since_ms = self.clock.now_ms() - _ADOPT_MS if adopted else 0
                    await asyncio.to_thread(index.adopt, self._records, since_ms=since_ms)
                    adopted = True
                    await asyncio.to_thread(retention.round)
                troubles = 0
            except (GatewayError, OSError) as error:
                troubles += 1
                _log.error("housekeeping failed", reason=str(error), troubles=troubles)
                if troubles >= _TROUBLES and isinstance(error, IndexUnavailableError):
                    return
            if now >= beat_at:
                beat_at = now + _HEARTBEAT_S
                self._availability.note("heartbeat", self.settings.node.name, up=True)
            if not index.persistent and now >= disk_at:
                disk_at = now + _TRY_DISK_AGAIN_S
                if await self._disk_is_back():
                    return
            await self._sleep(pause_s)

    async def _ingest(self, index: Index) -> int:
        """Bring what is new into the index; returns how many lines that were."""
        report = await asyncio.to_thread(index.ingest, self._state / "journal")
        for problem in report.problems:
            _log.error("journal line refused", reason=problem)
        if report.lines:
            self._queue.wake()
        return report.lines

    async def _disk_is_back(self) -> bool:
        try:
            found = await asyncio.to_thread(self._opened, self.settings.index_url)
        except IndexUnavailableError:
            return False
        found.close()
        _log.info("the index on disk can be used again")
        return True

    @property
    def _reindex_request(self) -> Path:
        return self._state / "run" / "reindex"

    async def _rebuild_if_asked(self) -> None:
        if not self._reindex_request.exists():
            return
        self._reindex_request.unlink(missing_ok=True)
        try:
            building = asyncio.to_thread(
                rebuild,
                self.settings.index_url,
                node=self.settings.node.name,
                records=self._records,
                journal=self._state / "journal",
            )
            await self.life.beat_while(building)
            _log.info("index built anew")
        except GatewayError as error:
            _log.error("index cannot be built", reason=str(error))

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.life.stopping.wait()
        except TimeoutError:
            return
