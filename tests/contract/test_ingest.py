"""Journals become rows exactly once, in whatever order and however often it is tried."""

from pathlib import Path

from gateway.core.record import CopyState, Event, What
from gateway.store.index import Index
from tests.contract.samples import (
    NOON_MS,
    copy_event,
    everything,
    make_copy,
    make_facts,
    message_line,
    write_journal,
)

WORKER = "2026-11-23/smtp-100-1.jsonl"
PERSON = "2026-11-23/cli-300-1.jsonl"


def test_a_held_message_is_listed(index: Index, tmp_path: Path) -> None:
    facts = make_facts()
    write_journal(tmp_path / "journal", WORKER, [message_line(facts)])
    report = index.ingest(tmp_path / "journal")
    assert (report.lines, report.problems) == (1, [])
    (row,) = index.listings.copies(facts.id)
    assert (row.recipient, row.state, row.hold_reason) == ("bert@example.org", "held", "spam")
    assert index.ingest(tmp_path / "journal").lines == 0


def test_a_decision_read_before_its_message_counts(index: Index, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
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


def test_two_copies_go_their_own_ways(index: Index, tmp_path: Path) -> None:
    facts = make_facts(
        make_copy("a@one.example", customer="one"), make_copy("b@two.example", customer="two")
    )
    deleted = copy_event(facts, CopyState.DELETED, at_ms=NOON_MS + 99, recipient="a@one.example")
    write_journal(tmp_path / "journal", WORKER, [message_line(facts), deleted])
    index.ingest(tmp_path / "journal")
    assert [row.state for row in index.listings.copies(facts.id)] == ["deleted", "held"]
    assert everything(index)["message"][0]["customer"] == ""
