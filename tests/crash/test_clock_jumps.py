"""The machine's clock is set, forward and back: no mail goes early, none waits for ever."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.app.retention import Retention, SteadyClock
from gateway.core.ids import IdSource
from gateway.core.record import CopyState
from gateway.store.codec import message_event
from gateway.store.index import Index
from gateway.store.journal import Journal
from gateway.store.records import FileRecords
from tests.contract.samples import DAY_MS, NOON_MS, make_copy, make_facts
from tests.fakes.sink import sink
from tests.functional.test_queue import HOUR_S, bench, served


@dataclass(slots=True)
class TwoClocks:
    """Wall and monotonic time, moved together or apart."""

    wall_ms: int = NOON_MS
    steady_s: float = 1000.0

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_s(self) -> float:
        return self.steady_s

    def pass_time(self, seconds: float) -> None:
        self.wall_ms += round(seconds * 1000)
        self.steady_s += seconds

    def jump(self, seconds: float) -> None:
        self.wall_ms += round(seconds * 1000)


@dataclass(slots=True)
class Node:
    """A keeper's house with one held copy that has another day to stay."""

    clock: TwoClocks
    index: Index
    retention: Retention
    mail_id: str

    def state(self) -> str:
        self.index.ingest(self.retention.state / "journal")
        ((row,),) = [
            self.index.listings.copies(mail_id) for mail_id in self.retention.records.ids()
        ]
        return row.state


@pytest.fixture
def node(tmp_path: Path):
    clock = TwoClocks()
    records = FileRecords(tmp_path / "records", tmp_path / "tmp")
    journal = Journal(tmp_path / "journal", "keeper", clock)
    copy = replace(make_copy(), state=CopyState.HELD, expires_at_ms=NOON_MS + DAY_MS)
    facts = make_facts(copy, at_ms=NOON_MS)
    records.put_now(facts, b"held")
    journal.append_durable_now([message_event(facts, NOON_MS)])
    index = Index.in_memory(node="n1")
    retention = Retention(
        listings=index.listings,
        purging=index.purging,
        facts_days=35,
        features_days=30,
        records=records,
        journal=journal,
        state=tmp_path,
        clock=clock,
        steadiness=SteadyClock(clock),
    )
    yield Node(clock, index, retention, facts.id)
    index.close()
    records.close()
    journal.close()


def test_features_go_when_their_time_is_over_and_not_because_of_a_jump(node: Node) -> None:
    root = node.retention.state / "features"
    for days_ago in (29, 31, 32):
        day = datetime.fromtimestamp((NOON_MS - days_ago * DAY_MS) / 1000, UTC)
        (root / day.strftime("%Y-%m-%d")).mkdir(parents=True)
    node.retention.round()
    assert len(list(root.iterdir())) == 3  # nobody knows yet whether this clock is right
    node.clock.pass_time(3600)
    node.retention.round()
    assert len(list(root.iterdir())) == 1
    node.clock.jump(400 * 86_400)
    node.retention.round()
    assert len(list(root.iterdir())) == 1


def test_held_mail_expires_in_its_own_time(node: Node) -> None:
    """The control: without a jump it does go."""
    node.retention.round()
    assert node.state() == "held"
    for _ in range(23):
        node.clock.pass_time(3600)
        node.retention.round()
    assert node.state() == "held"
    node.clock.pass_time(3600)
    node.retention.round()
    assert node.state() == "expired"


def test_a_jump_forward_expires_nothing(node: Node) -> None:
    node.clock.pass_time(2 * 3600)
    node.retention.round()
    node.clock.jump(365 * 86400)
    for _ in range(50):  # the wrong time lasts fifty minutes
        node.retention.round()
        node.clock.pass_time(60)
    node.clock.jump(-365 * 86400)
    for _ in range(3):
        node.retention.round()
        node.clock.pass_time(3600)
    assert node.state() == "held"


def journal_text(node: Node) -> str:
    found = (node.retention.state / "journal").glob("*/*.jsonl")
    return "".join(path.read_text() for path in sorted(found))


def until_expired(node: Node) -> None:
    pass_hours(node, 25)
    assert '"expired"' in journal_text(node)


def pass_hours(node: Node, hours: int) -> None:
    for _ in range(hours):
        node.clock.pass_time(3600)
        node.index.ingest(node.retention.state / "journal")
        node.retention.round()


def test_what_was_known_of_a_mail_goes_when_its_time_is_over(node: Node) -> None:
    until_expired(node)
    pass_hours(node, 34 * 24)
    assert node.index.listings.copies(node.mail_id)
    assert node.mail_id in journal_text(node)
    pass_hours(node, 3 * 24)
    assert not node.index.listings.copies(node.mail_id)
    assert node.mail_id not in journal_text(node)


def test_a_jump_forward_forgets_nothing(node: Node) -> None:
    until_expired(node)
    node.clock.jump(365 * 86400)
    for _ in range(50):
        node.index.ingest(node.retention.state / "journal")
        node.retention.round()
        node.clock.pass_time(60)
    assert node.index.listings.copies(node.mail_id)
    assert node.mail_id in journal_text(node)


def test_a_start_with_a_wrong_clock_expires_nothing(node: Node) -> None:
    node.clock.jump(365 * 86400)
    steadiness = SteadyClock(node.clock)  # a keeper that starts now
    assert not steadiness.steady()
    node.clock.pass_time(3599)
    assert not steadiness.steady()
    node.clock.pass_time(2)
    assert steadiness.steady()


def test_slewing_is_no_jump() -> None:
    clock = TwoClocks()
    steadiness = SteadyClock(clock)
    for _ in range(3601):
        clock.pass_time(1)
    clock.jump(30)
    assert steadiness.steady()


class Skewed:
    """A clock of a queue bench whose wall time can be set."""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.skew_ms = 0

    def now_ms(self) -> int:
        return self.inner.now_ms() + self.skew_ms

    def monotonic_s(self) -> float:
        return self.inner.monotonic_s()


@pytest.mark.parametrize("back_h", [1, 24, 24 * 365])
async def test_a_clock_set_back_does_not_stop_the_queue(back_h: int) -> None:
    async with sink() as target, bench(served(one=target.hop)) as b:
        port = target.port
        clock = Skewed(b.clock)
        b.clock = clock.inner
        b.queue._clock = clock
        b.put("a@one.example")
        await target.stop()
        await b.round()
        assert set(b.store.states().values()) == {"queued"}
        clock.skew_ms = -back_h * HOUR_S * 1000
        async with sink(port=port) as back:
            clock.inner.now_s += 61
            b.pool.expect_up(target.hop)
            await b.round()
            assert len(back.messages) == 1


async def test_a_jump_forward_delivers_once() -> None:
    async with sink() as target, bench(served(one=target.hop)) as b:
        clock = Skewed(b.clock)
        b.queue._clock = clock
        for number in range(5):
            b.put(f"r{number}@one.example")
        clock.skew_ms = 3 * 24 * HOUR_S * 1000
        await b.round()
        await b.round()
        assert len(target.messages) == 5
        assert set(b.store.states().values()) == {"delivered"}


def test_ids_differ_whatever_the_clock_does() -> None:
    ids = IdSource("n1")
    moments = [NOON_MS, NOON_MS, NOON_MS - DAY_MS, NOON_MS, NOON_MS + DAY_MS, NOON_MS]
    made = [ids.next(at_ms) for at_ms in moments for _ in range(1000)]
    assert len(set(made)) == len(made)
