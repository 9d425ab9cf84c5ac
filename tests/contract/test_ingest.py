"""Journals become rows exactly once, in whatever order and however often it is tried."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.record import CopyState, Event, HoldReason, MessageFacts, What
from gateway.store import index as index_module
from gateway.store.codec import facts_from_json
from gateway.store.folding import CopyNow, after, beginning, change_of
from gateway.store.index import Index
from gateway.store.ingest import Batch
from gateway.store.journal_reading import journal_names, read_from
from tests.contract.samples import (
    NOON_MS,
    copy_event,
    everything,
    make_copy,
    make_facts,
    message_line,
    queued,
    write_journal,
)

WORKER = "2026-11-23/smtp-100-1.jsonl"
KEEPER = "2026-11-23/keeper-200-1.jsonl"
PERSON = "2026-11-23/cli-300-1.jsonl"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def state_of(index: Index, facts: MessageFacts) -> str:
    (row,) = index.listings.copies(facts.id)
    return row.state


def test_a_held_message_is_listed_once(index: Index, journal: Path) -> None:
    facts = make_facts()
    write_journal(journal, WORKER, [message_line(facts)])
    report = index.ingest(journal)
    assert (report.lines, report.problems) == (1, [])
    (row,) = index.listings.copies(facts.id)
    assert (row.recipient, row.state, row.hold_reason) == ("bert@example.org", "held", "spam")
    before = everything(index)
    assert index.ingest(journal).lines == 0
    assert everything(index) == before


def test_a_decision_read_before_its_message_counts(index: Index, journal: Path) -> None:
    facts = make_facts()
    label = Event(
        at_ms=NOON_MS + 5,
        what=What.LABEL,
        mail_id=facts.id,
        recipient="bert@example.org",
        detail={"label": "ham", "person": "bert", "features": "AAEC"},
    )
    released = copy_event(facts, CopyState.RELEASED, at_ms=NOON_MS + 90)
    write_journal(journal, PERSON, [released, label])
    index.ingest(journal)
    assert index.listings.copies(facts.id) == ()
    write_journal(journal, WORKER, [message_line(facts)])
    index.ingest(journal)
    (row,) = index.listings.copies(facts.id)
    assert (row.state, row.next_attempt_at_ms) == ("released", NOON_MS + 90)
    customers = {r["customer"] for r in everything(index)["event"] + everything(index)["label"]}
    assert customers == {"acme"}


def test_two_copies_go_their_own_ways(index: Index, journal: Path) -> None:
    facts = make_facts(
        make_copy("a@one.example", customer="one"), make_copy("b@two.example", customer="two")
    )
    deleted = copy_event(facts, CopyState.DELETED, at_ms=NOON_MS + 99, recipient="a@one.example")
    write_journal(journal, WORKER, [message_line(facts), deleted])
    index.ingest(journal)
    assert [row.state for row in index.listings.copies(facts.id)] == ["deleted", "held"]
    assert everything(index)["message"][0]["customer"] == ""
    assert {row["customer"] for row in everything(index)["event"]} == {"", "one"}


def test_an_event_without_recipient_is_about_all_copies(index: Index, journal: Path) -> None:
    facts = make_facts(make_copy("a@one.example"), make_copy("b@two.example"))
    gone = copy_event(facts, CopyState.EXPIRED, at_ms=NOON_MS + 99, recipient="")
    write_journal(journal, WORKER, [message_line(facts), gone])
    index.ingest(journal)
    assert [row.state for row in index.listings.copies(facts.id)] == ["expired", "expired"]


def test_what_an_attempt_says_is_kept(index: Index, journal: Path) -> None:
    facts = queued(1)[0]
    write_journal(journal, WORKER, [message_line(facts)])
    tried = copy_event(
        facts,
        CopyState.QUEUED,
        at_ms=NOON_MS + 1000,
        reply="450 4.2.1 busy",
        attempts=1,
        next_attempt_at_ms=NOON_MS + 61_000,
        next_hop="other.example.org:2525",
    )
    gave_up = copy_event(
        facts,
        CopyState.HELD,
        at_ms=NOON_MS + 2000,
        hold_reason=HoldReason.QUEUE_EXPIRED.value,
        admin_only=True,
        expires_at_ms=NOON_MS + 5000,
    )
    write_journal(journal, KEEPER, [tried])
    index.ingest(journal)
    (row,) = index.listings.copies(facts.id)
    assert (row.attempts, row.reply, row.next_hop) == (
        1,
        "450 4.2.1 busy",
        "other.example.org:2525",
    )
    assert (row.next_attempt_at_ms, row.since_ms) == (NOON_MS + 61_000, NOON_MS + 40)
    write_journal(journal, KEEPER, [gave_up])
    index.ingest(journal)
    (row,) = index.listings.copies(facts.id)
    assert (row.state, row.hold_reason, row.admin_only) == ("held", "queue_expired", 1)
    assert (row.attempts, row.reply, row.next_attempt_at_ms) == (1, "450 4.2.1 busy", None)
    assert (row.since_ms, row.expires_at_ms) == (NOON_MS + 2000, NOON_MS + 5000)


def test_a_settled_copy_stays_settled(index: Index, journal: Path) -> None:
    facts = make_facts()
    story = [
        message_line(facts),
        copy_event(facts, CopyState.RELEASED, at_ms=NOON_MS + 100),
        copy_event(facts, CopyState.DELIVERED, at_ms=NOON_MS + 200),
        copy_event(facts, CopyState.RELEASED, at_ms=NOON_MS + 300),  # a second click
        copy_event(facts, CopyState.DELETED, at_ms=NOON_MS + 400),
    ]
    write_journal(journal, WORKER, story)
    index.ingest(journal)
    assert state_of(index, facts) == "delivered"


def test_time_orders_events_before_files_do(index: Index, journal: Path) -> None:
    """The files sort cli, keeper, smtp; what happened later counts later all the same."""
    facts = queued(1)[0]
    gave_up = copy_event(
        facts, CopyState.HELD, at_ms=NOON_MS + 200, hold_reason=HoldReason.QUEUE_EXPIRED.value
    )
    write_journal(journal, WORKER, [message_line(facts)])
    write_journal(journal, PERSON, [copy_event(facts, CopyState.RELEASED, at_ms=NOON_MS + 300)])
    write_journal(journal, KEEPER, [gave_up])
    index.ingest(journal)
    assert state_of(index, facts) == "released"


def test_retention_does_not_undo_a_release(index: Index, journal: Path) -> None:
    """A person releases in the very moment in which the keeper lets the copy expire."""
    facts = make_facts()
    write_journal(journal, WORKER, [message_line(facts)])
    write_journal(journal, PERSON, [copy_event(facts, CopyState.RELEASED, at_ms=NOON_MS + 100)])
    write_journal(journal, KEEPER, [copy_event(facts, CopyState.EXPIRED, at_ms=NOON_MS + 101)])
    index.ingest(journal)
    assert state_of(index, facts) == "released"


def test_a_delivery_is_believed_after_a_deletion(index: Index, journal: Path) -> None:
    facts = queued(1)[0]
    write_journal(journal, WORKER, [message_line(facts)])
    write_journal(journal, PERSON, [copy_event(facts, CopyState.DELETED, at_ms=NOON_MS + 200)])
    index.ingest(journal)
    assert state_of(index, facts) == "deleted"
    write_journal(journal, KEEPER, [copy_event(facts, CopyState.DELIVERED, at_ms=NOON_MS + 300)])
    index.ingest(journal)
    assert state_of(index, facts) == "delivered"


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"state": "vanished"},
        {"state": 7},
        {"state": "queued", "attempts": -1},
        {"state": "queued", "attempts": 2**40},
        {"state": "queued", "next_attempt_at_ms": 2**70},
        {"state": "held", "hold_reason": "mood"},
        {"state": "delivered", "reply": ["250"]},
    ],
)
def test_a_bad_event_is_named_and_the_rest_counts(
    index: Index, journal: Path, detail: dict[str, object]
) -> None:
    facts = queued(1)[0]
    bad = Event(
        at_ms=NOON_MS + 50,
        what=What.COPY,
        mail_id=facts.id,
        recipient="user0@example.org",
        detail=detail,
    )
    good = copy_event(facts, CopyState.DELIVERED, at_ms=NOON_MS + 60)
    write_journal(journal, WORKER, [message_line(facts), bad, good])
    report = index.ingest(journal)
    assert len(report.problems) == 1
    assert WORKER in report.problems[0]
    assert state_of(index, facts) == "delivered"


def test_other_bad_lines_are_named_and_passed_over(index: Index, journal: Path) -> None:
    facts = make_facts()
    broken = message_line(make_facts())
    del broken.detail["session"]
    foreign = Event(
        at_ms=1, what=What.MESSAGE, mail_id="../../etc", detail=message_line(facts).detail
    )
    label = Event(at_ms=1, what=What.LABEL, mail_id=facts.id, detail={"label": 1})
    up = Event(at_ms=1, what=What.AVAILABILITY, detail={"kind": "process", "up": "yes"})
    newer = Event(at_ms=1, what="weather", mail_id=facts.id, detail={"rain": True})
    path = write_journal(journal, WORKER, [broken, foreign, label, up])
    with path.open("ab") as file:
        file.write(b"not json\n")
    write_journal(journal, WORKER, [newer, message_line(facts)])
    report = index.ingest(journal)
    assert len(report.problems) == 5
    assert [row["id"] for row in everything(index)["message"]] == [facts.id]
    assert "weather" in {row["what"] for row in everything(index)["event"]}


def test_hostile_text_is_taken(index: Index, journal: Path) -> None:
    facts = make_facts(
        subject="nul \0 surrogate \udcff \ud800 quote ' % _ \\ \x1b[2J" + "x" * 10_000,
        mail_from="\udcff@\0.example",
    )
    detail = {"state": "held", "reply": "\0\udcff" + "y" * 10_000}
    odd = Event(at_ms=2, what="od\0d\udcff", mail_id="\0\udcff", recipient="\0", detail=detail)
    write_journal(journal, WORKER, [message_line(facts), odd])
    write_journal(journal, WORKER, [copy_event(facts, CopyState.HELD, at_ms=3, reply="\0\udcff")])
    assert index.ingest(journal).problems == []
    view = index.listings.show(facts.id)
    assert view is not None
    assert view.facts == facts
    assert view.copies[0].subject.startswith("nul \ufffd surrogate \ufffd \ufffd quote")
    assert len(view.copies[0].subject) <= 2000


def test_availability_and_labels_have_their_tables(index: Index, journal: Path) -> None:
    facts = make_facts()
    detail = {"kind": "next_hop", "subject": "mail:25", "up": False, "reason": "refused"}
    down = Event(at_ms=NOON_MS, what=What.AVAILABILITY, detail=detail)
    label = Event(
        at_ms=NOON_MS + 9,
        what=What.LABEL,
        mail_id=facts.id,
        recipient="bert@example.org",
        detail={
            "label": "spam",
            "person": "anna",
            "role": "admin",
            "source": "cli",
            "reason": "newsletter",
            "feature_spec": "v1",
            "features": "AAEC",
        },
    )
    write_journal(journal, WORKER, [down, message_line(facts), label])
    index.ingest(journal)
    rows = everything(index)
    assert rows["availability_event"][0]["subject"] == "mail:25"
    assert rows["availability_event"][0]["up"] == 0
    assert rows["label"][0]["features"] == '"AAEC"'
    assert "AAEC" not in str(rows["event"])
    view = index.listings.show(facts.id)
    assert view is not None
    assert (view.labels[0].label, view.labels[0].person) == ("spam", "anna")


def test_a_torn_line_is_read_when_it_is_whole(index: Index, journal: Path) -> None:
    first, second = make_facts(), make_facts()
    path = write_journal(journal, WORKER, [message_line(first), message_line(second)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert index.ingest(journal).lines == 1
    path.write_bytes(whole)
    assert index.ingest(journal).lines == 1
    assert {row["id"] for row in everything(index)["message"]} == {first.id, second.id}


def test_a_day_that_was_done_is_looked_at_again_the_next_day(index: Index, journal: Path) -> None:
    old = "2026-11-20/smtp-1-1.jsonl"
    for name in (old, "2026-11-21/smtp-2-1.jsonl", "2026-11-22/smtp-2-1.jsonl", WORKER):
        write_journal(journal, name, [message_line(make_facts())])
    assert index.ingest(journal).lines == 4
    assert index.ingest(journal).lines == 0
    late = make_facts()
    write_journal(journal, old, [message_line(late)])  # against the rules; not lost all the same
    index.ingest(journal)
    write_journal(journal, "2026-11-24/smtp-3-1.jsonl", [message_line(make_facts())])
    index.ingest(journal)
    assert len(everything(index)["message"]) == 6


def test_a_later_line_about_a_message_wins(index: Index, journal: Path) -> None:
    facts = make_facts(make_copy("a@example.org"), make_copy("b@example.org"))
    fewer = make_facts(make_copy("a@example.org"), subject="later")
    later = Event(
        at_ms=NOON_MS + 500,
        what=What.MESSAGE,
        mail_id=facts.id,
        detail={**message_line(fewer).detail, "id": facts.id},
    )
    write_journal(journal, WORKER, [later])
    index.ingest(journal)
    write_journal(journal, WORKER, [message_line(facts)])
    index.ingest(journal)
    (row,) = index.listings.copies(facts.id)
    assert (row.recipient, row.subject) == ("a@example.org", "later")


def test_a_later_line_drops_copies_it_does_not_name(index: Index, journal: Path) -> None:
    facts = make_facts(make_copy("a@example.org"), make_copy("b@example.org"))
    fewer = make_facts(make_copy("a@example.org"))
    write_journal(journal, WORKER, [message_line(facts)])
    index.ingest(journal)
    later = Event(
        at_ms=NOON_MS + 500,
        what=What.MESSAGE,
        mail_id=facts.id,
        detail={**message_line(fewer).detail, "id": facts.id},
    )
    write_journal(journal, WORKER, [later])
    index.ingest(journal)
    assert [row.recipient for row in index.listings.copies(facts.id)] == ["a@example.org"]


class PlugPulledError(Exception):
    """The process dies here."""


@pytest.mark.parametrize("before_commit", [True, False])
def test_a_death_between_batches_neither_loses_nor_doubles(
    database_url: str,
    journal: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    before_commit: bool,
) -> None:
    monkeypatch.setattr("gateway.store.tailing._BATCH_LINES", 3)
    facts = queued(10)
    write_journal(journal, WORKER, [message_line(one) for one in facts])
    events = [copy_event(f, CopyState.DELIVERED, at_ms=NOON_MS + 9000, attempts=1) for f in facts]
    write_journal(journal, KEEPER, events)
    with_deaths = Index.open(database_url, node="n1")
    real_apply = index_module.apply
    calls = 0

    def dying_apply(connection: object, node: str, batch: Batch) -> None:
        nonlocal calls
        calls += 1
        if before_commit and calls % 2 == 0:
            real_apply(connection, node, batch)
            raise PlugPulledError
        real_apply(connection, node, batch)

    class DyingTail(index_module.Tail):
        def advance(self, batch: Batch) -> None:
            if not before_commit and calls % 2 == 0:
                raise PlugPulledError
            super().advance(batch)

    monkeypatch.setattr(index_module, "apply", dying_apply)
    monkeypatch.setattr(index_module, "Tail", DyingTail)
    deaths = 0
    while True:
        try:
            with_deaths.ingest(journal)
            break
        except PlugPulledError:
            deaths += 1
            with_deaths.close()
            with_deaths = Index.open(database_url, node="n1")  # the next process
    assert deaths >= 3
    rows = everything(with_deaths)
    assert len(rows["event"]) == 20
    assert [row["state"] for row in rows["copy"]] == ["delivered"] * 10
    assert {row["attempts"] for row in rows["copy"]} == {1}
    with_deaths.close()


STATES = st.sampled_from(list(CopyState))
FILES = (WORKER, KEEPER, PERSON, "2026-11-24/smtp-100-9.jsonl")


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, Event]]:
    """Messages and what happens to their copies, spread over files, with clocks that jump."""
    facts = [
        make_facts(make_copy(f"a@{n}.example"), make_copy(f"b@{n}.example", CopyState.QUEUED))
        for n in range(draw(st.integers(1, 3)))
    ]
    lines = [(draw(st.sampled_from(FILES)), message_line(one)) for one in facts]
    for _ in range(draw(st.integers(0, 12))):
        one = draw(st.sampled_from(facts))
        recipient = draw(st.sampled_from(["", *(copy.recipient for copy in one.copies)]))
        at_ms = NOON_MS + draw(st.integers(0, 5)) * 1000
        kind = draw(st.integers(0, 5))
        if kind == 0:
            detail: dict[str, object] = {"label": "ham", "person": "bert"}
            event = Event(
                at_ms=at_ms, what=What.LABEL, mail_id=one.id, recipient=recipient, detail=detail
            )
        else:
            more: dict[str, object] = {}
            if draw(st.booleans()):
                more["attempts"] = draw(st.integers(0, 5))
                more["reply"] = draw(st.text(max_size=5))
            event = copy_event(one, draw(STATES), at_ms=at_ms, recipient=recipient, **more)
        lines.append((draw(st.sampled_from(FILES)), event))
    order: Sequence[int] = draw(st.permutations(range(len(lines))))
    return [lines[position] for position in order]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=stories(), seed=st.integers(0, 1 << 30))
def test_however_it_is_read_the_rows_are_the_same(
    index: Index, tmp_path: Path, story: list[tuple[str, Event]], seed: int
) -> None:
    """Reading line by line, in random pieces, equals making everything anew, row for row."""
    chance = random.Random(seed)
    folder = tmp_path / f"j{seed}-{random.getrandbits(64)}"
    index.fill(NoRecords(), folder)  # empties what the last example left
    for name, event in story:
        write_journal(folder, name, [event])
        if chance.random() < 0.5:
            index.ingest(folder)
    index.ingest(folder)
    piecemeal = everything(index)
    assert {(c["mail_id"], c["recipient"]): c["state"] for c in piecemeal["copy"]} == expected(
        folder
    )
    index.fill(NoRecords(), folder)
    assert everything(index) == piecemeal
    in_memory = Index.in_memory(node="n1")
    in_memory.fill(NoRecords(), folder)
    assert everything(in_memory) == piecemeal
    in_memory.close()


def expected(folder: Path) -> dict[tuple[str, str], str]:
    """Where the copies must be: the pure fold over all lines, put in order here."""
    lines = [
        (event.at_ms, name, offset, event)
        for name in journal_names(folder)
        for event, offset in read_from(folder / name, 0)
        if isinstance(event, Event)
    ]
    copies: dict[tuple[str, str], CopyNow] = {}
    for _, _, _, event in lines:
        if event.what == What.MESSAGE:
            facts = facts_from_json(event.detail)
            for one in facts.copies:
                copies[facts.id, one.recipient] = beginning(facts, one)
    for _, _, _, event in sorted(lines, key=lambda line: line[:3]):
        if event.what == What.COPY:
            for (mail_id, recipient), now in copies.items():
                if mail_id == event.mail_id and event.recipient in {"", recipient}:
                    copies[mail_id, recipient] = after(now, change_of(event))
    return {key: now.state.value for key, now in copies.items()}


class NoRecords:
    def ids(self):
        return iter(())

    def read(self, mail_id: str) -> MessageFacts:
        raise AssertionError(mail_id)
