"""Which reports the index knows of: the notes of a mail, and whether the report itself is there."""

from pathlib import Path

from gateway.core.ids import derived_id, is_mail_id
from gateway.core.record import Event, What
from gateway.store.index import Index
from tests.contract.samples import NOON_MS, make_facts, message_line, write_journal

FILE = "2026-11-23/keeper-1-1.jsonl"


def note(mail_id: str, recipient: str, kind: str, report: str, at_ms: int = NOON_MS) -> Event:
    detail: dict[str, object] = {"kind": kind, "report": report, "by": "queue"}
    return Event(at_ms=at_ms, what=What.REPORT, mail_id=mail_id, recipient=recipient, detail=detail)


def test_notes_of_delay_by_recipient(index: Index, tmp_path: Path) -> None:
    facts, other = make_facts(), make_facts()
    lines = [
        message_line(facts),
        note(facts.id, "anna@example.org", "delayed", "first"),
        note(facts.id, "anna@example.org", "delayed", "second", NOON_MS + 1),
        note(facts.id, "bert@example.org", "delayed", "first"),
        note(facts.id, "cora@example.org", "relayed", "third"),
        note(other.id, "dora@example.org", "delayed", "fourth"),
    ]
    write_journal(tmp_path, FILE, lines)
    assert index.ingest(tmp_path).problems == []
    assert index.reports.of_delay(facts.id) == {
        "anna@example.org": "first",
        "bert@example.org": "first",
    }
    assert index.reports.of_delay("nothing") == {}


def test_whether_a_message_is_known(index: Index, tmp_path: Path) -> None:
    facts = make_facts()
    write_journal(tmp_path, FILE, [message_line(facts)])
    index.ingest(tmp_path)
    assert index.reports.has_message(facts.id)
    assert not index.reports.has_message(derived_id(facts.id, "success anna@example.org"))


def test_a_derived_id_is_an_id_and_always_the_same() -> None:
    mail_id = make_facts().id
    one = derived_id(mail_id, "success jörg@example.org")
    assert is_mail_id(one)
    assert one == derived_id(mail_id, "success jörg@example.org")
    assert one != derived_id(mail_id, "success anna@example.org")
    assert one[:-7] == mail_id[:-7]
