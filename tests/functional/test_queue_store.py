"""The queue runner on the real store: records, journal and index on disk."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.core.clock import SystemClock
from gateway.core.errors import IndexUnavailableError
from gateway.core.queueing import Claim
from gateway.core.record import Copy, CopyState, Event
from gateway.core.routing import Generation
from gateway.delivery.queue import Queue
from gateway.delivery.relay import Relay
from gateway.net.maildir import MaildirDelivery
from gateway.net.pool import Pool
from gateway.settings import DeliverySettings
from gateway.store.codec import message_event
from gateway.store.index import Index
from gateway.store.journal import Journal
from gateway.store.queue import IndexQueue, QueueHold
from gateway.store.records import FileRecords
from tests.fakes.queue_store import queued
from tests.fakes.sink import Script, recipients_of, sink
from tests.functional.test_relay import CONTENT, MARKS, copy_for, facts_for, served

CLOCK = SystemClock()
SETTINGS = DeliverySettings(connect_timeout_s=2, command_timeout_s=5, first_retry_s=0.05)


@dataclass
class Keeper:
    """What a keeper process puts together, on one state directory."""

    state: Path
    generation: Generation
    name: str = "keeper"
    index: Index = field(init=False)

    def __post_init__(self) -> None:
        (self.state / "tmp").mkdir(exist_ok=True)
        self.index = Index.open(f"sqlite:///{self.state / 'index.db'}", node="n1")
        self.records = FileRecords(self.state / "records", self.state / "tmp")
        self.journal = Journal(self.state / "journal", self.name, CLOCK)
        self.pool = Pool(SETTINGS, hostname="gw.example", clock=CLOCK)
        self.hold = QueueHold(self.state / "queue.hold")
        self.store = IndexQueue(
            self.index,
            self.records,
            journal=self.journal,
            journal_directory=self.state / "journal",
            hold=self.hold,
        )
        self.queue = Queue(
            store=self.store,
            relay=Relay(
                connections=self.pool,
                maildirs=MaildirDelivery(CLOCK),
                generation=lambda: self.generation,
                marks=MARKS,
                hostname="gw.example",
                clock=CLOCK,
            ),
            journal=self.journal,
            health=self.pool,
            generation=lambda: self.generation,
            settings=SETTINGS,
            clock=CLOCK,
            owner=self.name,
        )

    async def put(self, *copies: Copy, state: CopyState = CopyState.QUEUED) -> None:
        facts = queued(facts_for(*copies), state)
        await self.records.put(facts, CONTENT)
        self.journal.append(message_event(facts, CLOCK.now_ms()))

    async def deliver_until(self, count: int) -> None:
        """Rounds until that many copies are delivered; the test's timeout bounds it."""
        async with asyncio.timeout(20):
            while self.queue.counts["delivered"] < count:
                await asyncio.to_thread(self.index.ingest, self.state / "journal")
                await self.queue.start_due()
                await self.queue.idle()
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self.queue.abort()
        await self.pool.close()
        self.index.close()
        self.journal.close()
        self.records.close()


async def test_queued_and_released_copies_leave_once(tmp_path: Path) -> None:
    script = Script(by_rcpt={"b@one.example": "451 4.2.0 busy"})
    async with sink(script) as target:
        keeper = Keeper(tmp_path, served(one=target.hop, two=target.hop))
        await keeper.put(copy_for("a@one.example"), copy_for("b@one.example"))
        await keeper.put(copy_for("c@two.example"), state=CopyState.RELEASED)
        await keeper.deliver_until(2)
        script.by_rcpt.clear()
        await keeper.deliver_until(3)
        for _ in range(3):
            assert await keeper.queue.start_due() == 0
        await keeper.close()
    assert sorted(recipients_of(target.messages)) == [
        "a@one.example",
        "b@one.example",
        "c@two.example",
    ]


async def test_a_keeper_killed_after_its_journal_line_delivers_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index never heard of the result; the next keeper learns it from the journal."""
    async with sink() as target:
        first = Keeper(tmp_path, served(one=target.hop), "first")
        await first.put(copy_for("a@one.example"))
        await asyncio.to_thread(first.index.ingest, tmp_path / "journal")

        async def killed(claim: Claim, event: Event) -> bool:
            raise IndexUnavailableError("killed here")

        monkeypatch.setattr(first.store, "finish", killed)
        await first.queue.start_due()
        await first.queue.idle()
        await first.close()
        (tmp_path / "index.db").unlink()
        second = Keeper(tmp_path, served(one=target.hop), "second")
        await asyncio.to_thread(second.index.ingest, tmp_path / "journal")
        assert await second.queue.start_due() == 0
        await second.close()
    assert recipients_of(target.messages) == ["a@one.example"]


async def test_a_queue_on_hold_waits_for_a_person(tmp_path: Path) -> None:
    async with sink() as target:
        keeper = Keeper(tmp_path, served(one=target.hop))
        await keeper.put(copy_for("a@one.example"))
        await asyncio.to_thread(keeper.index.ingest, tmp_path / "journal")
        keeper.hold.hold("restored")
        assert await keeper.queue.start_due() == 0
        keeper.hold.let_go()
        await keeper.deliver_until(1)
        await keeper.close()
    assert len(target.messages) == 1
