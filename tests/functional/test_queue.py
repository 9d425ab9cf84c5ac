"""The queue runner: what waits is delivered, whatever breaks on the way."""

import asyncio
import mmap
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.errors import IndexUnavailableError, RecordFormatError, StorageFullError
from gateway.core.handoff import CopyReply, Phase
from gateway.core.queueing import StoredMessage
from gateway.core.record import Copy, CopyState, Event, MessageFacts
from gateway.core.routing import Generation, NextHop, NextHopKind
from gateway.delivery import queue as queue_module
from gateway.delivery.queue import IN_HAND, LEASE_MS, PER_DESTINATION, HandsOff, Queue, TellsSenders
from gateway.delivery.relay import Relay
from gateway.net.maildir import MaildirDelivery
from gateway.net.pool import Pool
from gateway.settings import DeliverySettings
from tests.fakes.queue_store import MemoryQueueStore, queued
from tests.fakes.sink import Fault, Script, recipients_of, sink
from tests.functional.test_pool import MovedClock
from tests.functional.test_relay import CONTENT, MARKS, copy_for, facts_for, served

SETTINGS = DeliverySettings(
    connect_timeout_s=2,
    command_timeout_s=2,
    final_timeout_s=0.5,
    first_retry_s=60,
    longest_retry_s=3600,
    expire_after_s=5 * 86400,
)
HOUR_S = 3600.0


class MemoryJournal:
    """Durable events in their order; may refuse."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refusals = 0

    async def append_durable(self, events: Sequence[Event]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StorageFullError("no room")
        self.events += events


class NobodyDown:
    def down_hops(self) -> Sequence[NextHop]:
        return ()

    async def probe(self, hop: NextHop) -> bool:
        raise AssertionError("nothing is down")

    def expect_up(self, hop: NextHop) -> None:
        pass


class ScriptedRelay:
    """Answers per domain; a domain without an answer hangs until let go."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes
        self.seen: list[str] = []
        self.under_way: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.let_go = asyncio.Event()

    async def hand_off(
        self, facts: MessageFacts, content: bytes | mmap.mmap, copies: Sequence[Copy]
    ) -> Mapping[str, CopyReply]:
        name = copies[0].domain.partition(".")[0]
        self.seen += [copy.recipient for copy in copies]
        self.under_way[name] = self.under_way.get(name, 0) + 1
        self.most[name] = max(self.most.get(name, 0), self.under_way[name])
        if name not in self.codes:
            await self.let_go.wait()
        await asyncio.sleep(0)
        self.under_way[name] -= 1
        code = self.codes.get(name, 250)
        return {
            copy.recipient: CopyReply(recipient=copy.recipient, phase=Phase.ANSWERED, code=code)
            for copy in copies
        }


class Bench:
    """A queue with everything around it under a test's control."""

    def __init__(
        self,
        generation: Generation,
        relay: HandsOff | None = None,
        notices: TellsSenders | None = None,
    ) -> None:
        self.generation = generation
        self.notices = notices
        self.relay = relay
        self.clock = MovedClock()
        self.clock.now_s = 1_764_000_000.0
        self.store = MemoryQueueStore()
        self.journal = MemoryJournal()
        self.store.journal = self.journal.events
        self.pool = Pool(
            SETTINGS, hostname="gw.example", clock=self.clock, on_availability=self._availability
        )
        self.queue = self.next_keeper()

    def next_keeper(self) -> Queue:
        """A queue runner on the same store and journal, as a restarted keeper makes one."""
        relay = Relay(
            connections=self.pool,
            maildirs=MaildirDelivery(self.clock),
            generation=lambda: self.generation,
            marks=MARKS,
            hostname="gw.example",
            clock=self.clock,
        )
        return Queue(
            store=self.store,
            relay=self.relay or relay,
            journal=self.journal,
            health=NobodyDown() if self.relay else self.pool,
            generation=lambda: self.generation,
            settings=SETTINGS,
            clock=self.clock,
            owner="keeper",
            chance=lambda: 0.5,
            notices=self.notices,
        )

    def _availability(self, hop: NextHop, up: bool, reason: str) -> None:
        self.queue.next_hop_changed(hop, up, reason)

    def put(self, *addresses: str, state: CopyState = CopyState.QUEUED) -> MessageFacts:
        facts = queued(facts_for(*(copy_for(one) for one in addresses)), state)
        self.store.add(facts, CONTENT, self.clock.now_ms())
        return facts

    async def round(self) -> int:
        """Start what is due and wait for its end; how many copies were attempted."""
        before = self.queue.counts["attempts"]
        while await self.queue.start_due():
            await self.queue.idle()
        return self.queue.counts["attempts"] - before

    async def advance_to_next(self) -> float:
        """Move the clock to the next attempt; by how many seconds."""
        due_ms = await self.store.next_due_ms()
        assert due_ms is not None
        ahead_s = due_ms / 1000 - self.clock.now_s
        self.clock.now_s += max(ahead_s, 0)
        return ahead_s


@asynccontextmanager
async def bench(generation: Generation, relay: HandsOff | None = None) -> AsyncIterator[Bench]:
    one = Bench(generation, relay)
    try:
        yield one
    finally:
        await one.queue.abort()
        await one.pool.close()
        one.pool.abort()


async def test_what_waits_is_delivered_and_durable_first() -> None:
    async with sink() as target, bench(served(one=target.hop)) as b:
        facts = b.put("A@one.example", "b@one.example")
        seen: list[int] = []
        target.on_message = lambda _: seen.append(len(b.journal.events))
        assert await b.round() == 2
        assert await b.round() == 0
    assert b.store.states() == {"a@one.example": "delivered", "b@one.example": "delivered"}
    assert recipients_of(target.messages) == ["A@one.example", "b@one.example"]
    assert target.messages[0].content.endswith(CONTENT)
    assert seen == [0]
    assert b.journal.events == b.store.finished
    assert {event.mail_id for event in b.journal.events} == {facts.id}
    assert b.journal.events[0].detail["by"] == "queue"


async def test_a_released_copy_goes_the_same_way_with_its_mark() -> None:
    async with sink() as target, bench(served(one=target.hop)) as b:
        b.put("a@one.example", state=CopyState.RELEASED)
        await b.round()
        assert b.store.states() == {"a@one.example": "delivered"}
        assert MARKS.is_released(target.messages[0].content, "a@one.example", b.clock.now_ms())


async def test_each_copy_has_its_own_fate() -> None:
    script = Script(by_rcpt={"b@one.example": "550 5.1.1 who?", "c@one.example": "451 4.2.0 busy"})
    async with sink(script) as target, bench(served(one=target.hop)) as b:
        b.put("a@one.example", "b@one.example", "c@one.example")
        await b.round()
        assert b.store.states() == {
            "a@one.example": "delivered",
            "b@one.example": "held",
            "c@one.example": "queued",
        }
        script.by_rcpt.clear()
        assert await b.advance_to_next() == pytest.approx(60)
        assert await b.round() == 1
    assert b.store.states()["c@one.example"] == "delivered"
    assert recipients_of(target.messages) == ["a@one.example", "c@one.example"]
    (held,) = [event for event in b.journal.events if event.detail["state"] == "held"]
    assert held.detail["hold_reason"] == "refused_by_next_hop"
    assert held.detail["admin_only"] is True
    assert "550 5.1.1 who?" in str(held.detail["reply"])


async def test_a_next_hop_that_comes_back_after_six_hours() -> None:
    """Attempts thin out meanwhile; the moment it is back, everything goes."""
    async with sink() as target, bench(served(one=target.hop)) as b:
        for number in range(30):
            b.put(f"r{number}@one.example")
        started_s = b.clock.now_s
        await target.stop()
        delays = []
        while b.clock.now_s < started_s + 6 * HOUR_S:
            await b.round()
            delays.append(round(await b.advance_to_next()))
            await b.queue.probe_down_hops()
        assert delays[:7] == [60, 120, 240, 480, 960, 1920, 3600]
        assert set(b.store.states().values()) == {"queued"}
        await b.round()
        b.clock.now_s += 60  # long before the next attempt is due
        assert await b.round() == 0
        async with sink(port=target.port) as back:
            await b.queue.probe_down_hops()  # a keeper does so each second
            assert await b.round() == 30
            assert len(back.messages) == 30
            assert back.most_open <= PER_DESTINATION
        assert set(b.store.states().values()) == {"delivered"}


async def test_a_worker_that_reached_the_next_hop_hurries_the_queue() -> None:
    async with sink() as target, bench(served(one=target.hop)) as b:
        b.put("a@one.example")
        await target.stop()
        await b.round()
        async with sink(port=target.port) as back:
            assert await b.round() == 0
            b.queue.next_hop_changed(back.hop, True, "")
            assert await b.round() == 1
    assert b.store.states() == {"a@one.example": "delivered"}


async def test_a_destination_that_hangs_delays_no_other() -> None:
    relay = ScriptedRelay(good=250, bad=451)
    hops = dict.fromkeys(
        ("stuck", "mute", "good", "bad"), NextHop(kind=NextHopKind.SMTP, host="x", port=1)
    )
    async with bench(served(**hops), relay) as b:
        for number in range(IN_HAND * 3 // 5):  # the two of them are more than may be in hand
            b.put(f"r{number}@stuck.example")
            b.put(f"r{number}@mute.example")
        for number in range(50):
            b.put(f"r{number}@good.example", f"r{number}@bad.example")
        async with asyncio.timeout(10):
            while list(b.store.states().values()).count("delivered") < 50:
                await b.queue.start_due()
                await asyncio.sleep(0)
        assert b.queue.counts["queued"] == 50  # those of bad.example wait for their next attempt
        assert relay.under_way["stuck"] == PER_DESTINATION
        assert max(relay.most.values()) <= PER_DESTINATION
        relay.let_go.set()
        async with asyncio.timeout(10):
            while "queued" in {
                b.store.rows[key].state for key in b.store.rows if "bad" not in key[1]
            }:
                await b.queue.start_due()
                await b.queue.idle()
    assert max(relay.most.values()) == PER_DESTINATION
    assert len(relay.seen) == len(set(relay.seen)) == len(b.store.rows)


async def test_time_in_the_queue_ends_with_the_admin() -> None:
    script = Script(answers={"mail": "451 4.3.0 later"})
    async with sink(script) as target, bench(served(one=target.hop)) as b:
        b.put("a@one.example")
        started_s = b.clock.now_s
        while b.store.states() == {"a@one.example": "queued"}:
            await b.round()
            if b.store.states() == {"a@one.example": "queued"}:
                await b.advance_to_next()
    assert b.clock.now_s - started_s == pytest.approx(SETTINGS.expire_after_s)
    last = b.journal.events[-1].detail
    assert (last["state"], last["hold_reason"]) == ("held", "queue_expired")
    assert b.queue.counts["attempts"] == pytest.approx(126, abs=3)


@pytest.mark.parametrize(
    ("answers", "state", "uncertain"),
    [
        ({"greeting": Fault.CLOSE}, "queued", 0),
        ({"ehlo": "554 5.3.2 no"}, "queued", 0),
        ({"mail": "550 5.7.1 never"}, "held", 0),
        ({"rcpt": Fault.RESET}, "queued", 0),
        ({"data": "554 5.7.1 never"}, "held", 0),
        ({"final": "451 4.3.0 later"}, "queued", 0),
        ({"final": "554 5.6.0 never"}, "held", 0),
        ({"final": Fault.CLOSE}, "queued", 1),
        ({"final": Fault.HANG}, "queued", 1),
    ],
)
async def test_each_fault_leaves_the_copy_ours(
    answers: dict[str, str | Fault | None], state: str, uncertain: int
) -> None:
    async with sink(Script(answers=answers)) as target, bench(served(one=target.hop)) as b:
        b.put("a@one.example")
        await b.round()
    assert b.store.states() == {"a@one.example": state}
    assert b.queue.counts["uncertain"] == uncertain
    assert b.journal.events[-1].detail.get("uncertain", False) is bool(uncertain)


async def test_only_a_lost_final_answer_may_deliver_twice() -> None:
    """The sink takes the message and dies before its answer: SMTP itself cannot tell."""
    script = Script(answers={"final": Fault.CLOSE}, take_before_fault=True)
    async with sink(script) as target, bench(served(one=target.hop)) as b:
        b.put("a@one.example")
        await b.round()
        assert b.queue.counts["uncertain"] == 1
        script.answers.clear()
        await b.advance_to_next()
        await b.round()
    assert b.store.states() == {"a@one.example": "delivered"}
    assert recipients_of(target.messages) == ["a@one.example", "a@one.example"]
    assert [event.detail.get("uncertain") for event in b.journal.events] == [True, None]


async def test_a_maildir_never_gets_it_twice(tmp_path: Path) -> None:
    """The keeper dies after delivery and before its journal line: the next one finds the file."""
    hop = NextHop(kind=NextHopKind.MAILDIR, path=str(tmp_path))
    async with bench(served(one=hop)) as b:
        b.put("a@one.example")
        b.journal.refusals = 10**6
        await b.queue.start_due()
        async with asyncio.timeout(5):
            while not (tmp_path / "new").is_dir() or not list((tmp_path / "new").iterdir()):
                await asyncio.sleep(0.01)
        await b.queue.abort()
        b.queue = b.next_keeper()
        assert b.journal.events == []
        b.journal.refusals = 0
        b.clock.now_s += LEASE_MS / 1000 + 1
        await b.round()
    assert b.store.states() == {"a@one.example": "delivered"}
    assert len(list((tmp_path / "new").iterdir())) == 1


async def test_a_full_disk_does_not_deliver_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result waits for the journal; the copy is not tried again meanwhile."""
    monkeypatch.setattr(queue_module, "JOURNAL_RETRY_S", 0.01)
    async with sink() as target, bench(served(one=target.hop)) as b:
        b.put("a@one.example")
        b.journal.refusals = 3
        await b.round()
    assert b.journal.refusals == 0
    assert len(b.journal.events) == len(target.messages) == 1
    assert b.store.states() == {"a@one.example": "delivered"}


async def test_a_lost_lease_is_noticed() -> None:
    relay = ScriptedRelay()
    async with bench(served(slow=NextHop(kind=NextHopKind.SMTP, host="x", port=1)), relay) as b:
        facts = b.put("a@slow.example")
        await b.queue.start_due()
        await asyncio.sleep(0)
        b.store.rows[facts.id, "a@slow.example"].fence += 1  # another keeper claimed it
        relay.let_go.set()
        await b.queue.idle()
    assert b.queue.counts["lost_leases"] == 1


async def test_a_lease_that_ran_out_starts_no_second_attempt() -> None:
    relay = ScriptedRelay()
    async with bench(served(slow=NextHop(kind=NextHopKind.SMTP, host="x", port=1)), relay) as b:
        b.put("a@slow.example")
        await b.queue.start_due()
        await asyncio.sleep(0)
        b.clock.now_s += LEASE_MS / 1000 + 1  # the store could not be reached to prolong it
        assert await b.queue.start_due() == 1
        await asyncio.sleep(0)
        relay.let_go.set()
        await b.queue.idle()
    assert relay.seen == ["a@slow.example"]
    assert b.queue.counts["lost_leases"] == 0
    assert b.store.states() == {"a@slow.example": "delivered"}


@pytest.mark.parametrize("broken", ["missing", "torn"])
async def test_a_record_that_cannot_be_had_waits_and_ends_with_the_admin(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sink() as target, bench(served(one=target.hop)) as b:
        facts = b.put("a@one.example")
        if broken == "missing":
            del b.store.records[facts.id]
        else:

            async def torn(mail_id: str) -> StoredMessage | None:
                raise RecordFormatError(f"{mail_id}: torn")

            monkeypatch.setattr(b.store, "load", torn)
        await b.round()
        assert b.store.states() == {"a@one.example": "queued"}
        assert broken in str(b.journal.events[0].detail["reply"])
        b.clock.now_s += SETTINGS.expire_after_s
        await b.round()
    assert b.store.states() == {"a@one.example": "held"}
    assert target.messages == []


async def test_a_queue_on_hold_starts_nothing() -> None:
    async with sink() as target, bench(served(one=target.hop)) as b:
        b.put("a@one.example")
        b.store.held = True
        assert await b.round() == 0
        b.store.held = False
        assert await b.round() == 1


async def test_it_runs_by_itself_wakes_and_survives_its_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_module, "POLL_S", 0.05)
    async with sink() as target, bench(served(one=target.hop)) as b:
        running = asyncio.create_task(b.queue.run())
        b.store.broken = IndexUnavailableError("locked")
        await asyncio.sleep(0.1)
        b.store.broken = None
        b.put("a@one.example")
        b.queue.wake()
        await target.wait_for(1)
        b.put("b@one.example")  # nobody says a word: the poll finds it
        await target.wait_for(2)
        b.queue.stop()
        async with asyncio.timeout(5):
            await running
    assert set(b.store.states().values()) == {"delivered"}


async def test_stop_waits_for_what_is_under_way_and_starts_nothing_more() -> None:
    relay = ScriptedRelay()
    async with bench(served(slow=NextHop(kind=NextHopKind.SMTP, host="x", port=1)), relay) as b:
        for number in range(20):
            b.put(f"r{number}@slow.example")
        running = asyncio.create_task(b.queue.run())
        while len(relay.seen) < PER_DESTINATION:
            await asyncio.sleep(0.005)
        b.queue.stop()
        await asyncio.sleep(0.02)
        assert not running.done()
        relay.let_go.set()
        async with asyncio.timeout(5):
            await running
    assert len(relay.seen) == PER_DESTINATION
    assert sorted(b.store.states().values()) == ["delivered"] * 5 + ["queued"] * 15


async def test_leases_are_kept_while_a_delivery_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "LEASE_MS", 60)
    relay = ScriptedRelay()
    async with bench(served(slow=NextHop(kind=NextHopKind.SMTP, host="x", port=1)), relay) as b:
        facts = b.put("a@slow.example")
        row = b.store.rows[facts.id, "a@slow.example"]
        running = asyncio.create_task(b.queue.run())
        while not relay.seen:
            await asyncio.sleep(0.005)
        first_ms = row.lease_until_ms
        b.clock.now_s += 10
        async with asyncio.timeout(5):
            while row.lease_until_ms <= first_ms:
                await asyncio.sleep(0.005)
        relay.let_go.set()
        b.queue.stop()
        await running
    assert b.queue.counts["lost_leases"] == 0
    assert relay.seen == ["a@slow.example"]
