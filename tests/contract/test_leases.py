"""Claimers never share a copy, a lost lease cannot finish, nothing stays claimed for ever."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.core.queueing import Claim
from gateway.core.record import CopyState, MessageFacts
from gateway.core.routing import parse_next_hop
from gateway.store.index import Index
from gateway.store.journal import Journal
from gateway.store.queue import IndexQueue, QueueHold
from gateway.store.records import FileRecords
from tests.contract.samples import (
    NOON_MS,
    FakeClock,
    copy_event,
    make_copy,
    make_facts,
    message_line,
    queued,
    write_journal,
)

LATER_MS = NOON_MS + 10_000
WORKER = "2026-11-23/smtp-100-1.jsonl"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def fill(index: Index, journal: Path, facts: list[MessageFacts]) -> None:
    write_journal(journal, WORKER, [message_line(one) for one in facts])
    index.ingest(journal)


def claim(
    index: Index, *, owner: str = "k1", now_ms: int = LATER_MS, limit: int = 100, **more: object
) -> list[Claim]:
    without = more.get("without", ())
    assert isinstance(without, tuple)
    return index.leases.claim(
        owner=owner, now_ms=now_ms, lease_ms=60_000, limit=limit, without=without
    )


def test_a_claim_tells_what_the_runner_needs(index: Index, journal: Path) -> None:
    facts = make_facts(make_copy("a@one.example", CopyState.QUEUED, next_hop="lmtp:[::1]:24"))
    fill(index, journal, [facts])
    (got,) = claim(index)
    assert got == Claim(
        mail_id=facts.id,
        recipient="a@one.example",
        domain="one.example",
        state=CopyState.QUEUED,
        attempts=0,
        since_ms=NOON_MS + 40,
        lease_until_ms=LATER_MS + 60_000,
        fence=1,
        next_hop=parse_next_hop("lmtp:[::1]:24"),
    )


def test_only_due_and_waiting_copies_oldest_first(index: Index, journal: Path) -> None:
    facts = queued(3)
    released = make_facts(make_copy("r@example.org"), at_ms=NOON_MS - 500)
    others = [
        make_facts(make_copy("x@example.org", state)) for state in CopyState if not state.ours
    ]
    fill(index, journal, [*reversed(facts), released, *others, make_facts()])
    postponed = copy_event(
        facts[0], CopyState.QUEUED, at_ms=NOON_MS + 100, next_attempt_at_ms=LATER_MS + 1
    )
    freed = copy_event(released, CopyState.RELEASED, at_ms=NOON_MS + 200)
    write_journal(journal, WORKER, [postponed, freed])
    index.ingest(journal)
    assert [one.mail_id for one in claim(index)] == [facts[1].id, facts[2].id, released.id]
    assert claim(index) == []
    assert [one.mail_id for one in claim(index, now_ms=LATER_MS + 1)] == [facts[0].id]


def test_one_destination_cannot_fill_the_window(index: Index, journal: Path) -> None:
    many = queued(20, domain="full.example")
    few = queued(2, domain="free.example", at_ms=NOON_MS + 500)
    fill(index, journal, many + few)
    got = claim(index, limit=5, without=("full.example",))
    assert {one.domain for one in got} == {"free.example"}
    assert len(got) == 2
    assert len(claim(index, limit=5)) == 5


def test_claimers_side_by_side_never_get_the_same(
    index: Index, database_url: str, journal: Path
) -> None:
    fill(index, journal, queued(120))
    barrier = threading.Barrier(4)

    def work(owner: str) -> list[tuple[str, str]]:
        mine = Index.open(database_url, node="n1", busy_timeout_s=30)
        barrier.wait(30)
        got: list[tuple[str, str]] = []
        while batch := claim(mine, owner=owner, limit=3):
            got += [(one.mail_id, one.recipient) for one in batch]
        mine.close()
        return got

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, ["k1", "k2", "k3", "k4"]))
    taken = [pair for result in results for pair in result]
    assert len(taken) == len(set(taken)) == 120


def test_threads_share_an_index_in_memory(journal: Path) -> None:
    """The keeper's refuge when the index on disk cannot be used: one connection, many threads."""
    index = Index.in_memory(node="n1")
    fill(index, journal, queued(60))
    barrier = threading.Barrier(4)

    def work(owner: str) -> list[str]:
        barrier.wait(30)
        got: list[str] = []
        while batch := claim(index, owner=owner, limit=2):
            got += [one.mail_id for one in batch]
            index.listings.counts()
        return got

    def write() -> list[str]:
        barrier.wait(30)
        for number in range(20):
            write_journal(journal, "2026-11-23/smtp-9-9.jsonl", [message_line(make_facts())])
            assert index.ingest(journal).lines == 1, number
        return []

    with ThreadPoolExecutor(4) as pool:
        writer = pool.submit(write)
        results = list(pool.map(work, ["k1", "k2", "k3"]))
        writer.result()
    taken = [mail_id for result in results for mail_id in result]
    assert len(taken) == len(set(taken)) == 60
    assert index.listings.counts()[CopyState.HELD] == 20
    index.close()


def test_a_lease_that_ran_out_is_fenced_off(index: Index, journal: Path) -> None:
    fill(index, journal, queued(1))
    (slow,) = claim(index, owner="slow")
    assert claim(index, owner="quick", now_ms=slow.lease_until_ms - 1) == []
    (quick,) = claim(index, owner="quick", now_ms=slow.lease_until_ms)
    assert quick.fence == slow.fence + 1
    assert index.leases.extend(slow, slow.lease_until_ms + 99_000) is False
    assert index.leases.give_back(slow) is False
    assert claim(index, now_ms=quick.lease_until_ms - 1) == []  # the slow one changed nothing
    assert index.leases.extend(quick, quick.lease_until_ms + 5000) is True
    assert claim(index, now_ms=quick.lease_until_ms) == []
    assert index.leases.give_back(quick) is True
    assert index.leases.give_back(quick) is False
    assert len(claim(index)) == 1


def test_news_of_a_copy_do_not_touch_its_lease(index: Index, journal: Path) -> None:
    facts = queued(1)
    fill(index, journal, facts)
    (mine,) = claim(index)
    write_journal(journal, WORKER, [copy_event(facts[0], CopyState.QUEUED, at_ms=NOON_MS + 500)])
    index.ingest(journal)
    assert claim(index, owner="other") == []
    assert index.leases.give_back(mine) is True


def test_leases_of_the_dead_are_given_back(index: Index, journal: Path) -> None:
    fill(index, journal, queued(3))
    claim(index, owner="dead", limit=2)
    claim(index, owner="alive", limit=1)
    assert index.leases.give_back_all("dead") == 2
    assert len(claim(index)) == 2


def test_when_the_next_copy_is_due(index: Index, journal: Path) -> None:
    assert index.leases.next_due_ms() is None
    fill(index, journal, [*queued(2), make_facts()])
    assert index.leases.next_due_ms() == NOON_MS + 40
    claim(index, limit=1)
    assert index.leases.next_due_ms() == NOON_MS + 41
    claim(index)
    assert index.leases.next_due_ms() == LATER_MS + 60_000


def test_a_domain_that_is_back_hurries(index: Index, journal: Path) -> None:
    facts = [*queued(2, domain="back.example"), *queued(1, domain="down.example")]
    fill(index, journal, facts)
    postponed = [
        copy_event(one, CopyState.QUEUED, at_ms=NOON_MS + 50, next_attempt_at_ms=NOON_MS + 900_000)
        for one in facts
    ]
    write_journal(journal, WORKER, postponed)
    index.ingest(journal)
    assert index.leases.waiting_domains() == ["back.example", "down.example"]
    assert claim(index) == []
    assert index.leases.make_due(["back.example"], LATER_MS) == 2
    assert index.leases.make_due(["back.example"], LATER_MS) == 0
    assert {one.domain for one in claim(index)} == {"back.example"}


def test_another_nodes_copies_are_left_alone(
    index: Index, database_url: str, journal: Path
) -> None:
    fill(index, journal, queued(2))
    other = Index.open(database_url, node="n2")
    assert claim(other) == []
    assert other.leases.next_due_ms() is None
    assert other.leases.waiting_domains() == []
    other.close()
    assert len(claim(index)) == 2


@pytest.fixture
def runner_side(index: Index, tmp_path: Path) -> Iterator[tuple[IndexQueue, Journal, QueueHold]]:
    (tmp_path / "tmp").mkdir()
    records = FileRecords(tmp_path / "records", tmp_path / "tmp")
    journal = Journal(tmp_path / "journal", "keeper", FakeClock())
    hold = QueueHold(tmp_path / "queue.hold")
    queue = IndexQueue(
        index, records, journal=journal, journal_directory=tmp_path / "journal", hold=hold
    )
    facts = queued(2)
    for one in facts:
        records.put_now(one, b"bytes of " + one.id.encode())
    write_journal(tmp_path / "journal", WORKER, [message_line(one) for one in facts])
    index.ingest(tmp_path / "journal")
    yield queue, journal, hold
    journal.close()
    records.close()


async def take_one(queue: IndexQueue, now_ms: int = LATER_MS) -> Claim:
    (got,) = await queue.claim(owner="k1", now_ms=now_ms, lease_ms=1000, limit=1, without=())
    return got


async def test_a_result_reaches_the_index_by_way_of_the_journal(
    runner_side: tuple[IndexQueue, Journal, QueueHold], index: Index, tmp_path: Path
) -> None:
    queue, journal, _ = runner_side
    mine = await take_one(queue)
    stored = await queue.load(mine.mail_id)
    assert stored is not None
    assert bytes(stored.content) == b"bytes of " + mine.mail_id.encode()
    assert await queue.extend(mine, LATER_MS + 5000)
    event = copy_event(
        stored.facts, CopyState.DELIVERED, at_ms=LATER_MS, reply="250 ok", attempts=1
    )
    await journal.append_durable([event])
    assert await queue.finish(mine, event) is True
    (row,) = index.listings.copies(mine.mail_id)
    assert (row.state, row.reply, row.attempts) == ("delivered", "250 ok", 1)
    assert index.ingest(tmp_path / "journal").lines == 0  # not a second time


async def test_a_result_stands_when_the_lease_was_lost(
    runner_side: tuple[IndexQueue, Journal, QueueHold], index: Index
) -> None:
    queue, journal, _ = runner_side
    slow = await take_one(queue)
    quick = await take_one(queue, now_ms=slow.lease_until_ms)
    if quick.mail_id != slow.mail_id:  # the other copy was due first; take the one that ran out
        quick = await take_one(queue, now_ms=slow.lease_until_ms)
    assert (quick.mail_id, quick.fence) == (slow.mail_id, slow.fence + 1)
    stored = await queue.load(slow.mail_id)
    assert stored is not None
    event = copy_event(stored.facts, CopyState.DELIVERED, at_ms=LATER_MS, reply="250 ok")
    await journal.append_durable([event])
    assert await queue.finish(slow, event) is False
    assert index.listings.copies(slow.mail_id)[0].state == "delivered"
    assert await queue.finish(quick, event) is True


async def test_a_death_between_journal_and_index_is_mended_by_the_journal(
    runner_side: tuple[IndexQueue, Journal, QueueHold],
    index: Index,
    database_url: str,
    tmp_path: Path,
) -> None:
    queue, journal, hold = runner_side
    mine = await take_one(queue)
    stored = await queue.load(mine.mail_id)
    assert stored is not None
    await journal.append_durable([copy_event(stored.facts, CopyState.DELIVERED, at_ms=LATER_MS)])
    # Killed here, before finish. The next keeper takes the leases over and claims at once.
    next_index = Index.open(database_url, node="n1")
    assert next_index.leases.give_back_all("k1") == 1
    next_queue = IndexQueue(
        next_index,
        queue._records,
        journal=journal,
        journal_directory=tmp_path / "journal",
        hold=hold,
    )
    left = await next_queue.claim(owner="k1", now_ms=LATER_MS, lease_ms=1000, limit=9, without=())
    assert len(left) == 1
    assert left[0].mail_id != mine.mail_id
    next_index.close()


async def test_a_queue_on_hold_gives_nothing(
    runner_side: tuple[IndexQueue, Journal, QueueHold],
) -> None:
    queue, _, hold = runner_side
    hold.hold("after a restore")
    assert hold.held
    assert await queue.claim(owner="k", now_ms=LATER_MS, lease_ms=9, limit=9, without=()) == []
    assert await queue.next_due_ms() is None
    hold.let_go()
    hold.let_go()
    assert await queue.next_due_ms() == NOON_MS + 40
    assert await queue.waiting_domains() == ["example.org"]
    assert await queue.make_due(["example.org"], NOON_MS) == 2
    await take_one(queue)


async def test_a_record_that_is_gone_loads_as_nothing(
    runner_side: tuple[IndexQueue, Journal, QueueHold],
) -> None:
    queue, _, _ = runner_side
    assert await queue.load(make_facts().id) is None
