"""Listings: the right rows, in a fixed order, with the keys that scripts rely on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.record import CopyState, Event, MessageFacts, What
from gateway.store.index import Index
from gateway.store.views import QuarantineFilter
from tests.contract.samples import (
    DAY_MS,
    NOON_MS,
    copy_event,
    make_copy,
    make_facts,
    message_line,
    queued,
    write_journal,
)

WORKER = "2026-11-23/smtp-100-1.jsonl"


def fill(index: Index, folder: Path, facts: list[MessageFacts], *events: Event) -> None:
    write_journal(folder / "journal", WORKER, [*map(message_line, facts), *events])
    report = index.ingest(folder / "journal")
    assert report.problems == []


def found(index: Index, **wanted: object) -> list[str]:
    page = index.listings.quarantine(QuarantineFilter(**wanted))  # type: ignore[arg-type]
    return [row.mail_id for row in page.rows]


def test_quarantine_json_is_the_contract(index: Index, tmp_path: Path) -> None:
    facts = make_facts()
    fill(index, tmp_path, [facts])
    (row,) = index.listings.quarantine(QuarantineFilter()).rows
    assert row.quarantine_json() == {
        "id": facts.id,
        "received_at": "2026-11-23T12:00:00.000Z",
        "customer": "acme",
        "domain": "example.org",
        "recipient": "bert@example.org",
        "mail_from": "anna@sender.example",
        "from": "Anna Öztürk <anna@sender.example>",
        "subject": "Grüße aus Köln",
        "score": 7.5,
        "verdict": "spam",
        "state": "held",
        "expires_at": "2026-12-07T12:00:00.000Z",
        "size_bytes": 5000,
    }
    json.dumps(row.quarantine_json())


def test_each_filter_alone(index: Index, tmp_path: Path) -> None:
    one = make_facts(
        make_copy("bert@one.example", customer="one"),
        at_ms=NOON_MS,
        subject="Ihre RECHNUNG für März 100%",
        score=6.0,
        mail_from="Billing@Shop.example",
    )
    two = make_facts(
        make_copy("cem@two.example", customer="two"),
        at_ms=NOON_MS + DAY_MS,
        subject="ÄRZTE gewinnen_alles",
        score=14.5,
        mail_from="",
    )
    two = replace(two, from_header="Lotto <win@lotto.example>")
    fill(index, tmp_path, [one, two])
    assert found(index) == [two.id, one.id]
    assert found(index, domain="one.example") == [one.id]
    assert found(index, customer="two") == [two.id]
    assert found(index, recipient="CEM@two.example") == [two.id]
    assert found(index, recipient="cem") == []
    assert found(index, sender="billing@shop") == [one.id]
    assert found(index, sender="LOTTO") == [two.id]
    assert found(index, text="rechnung märz") == [one.id]
    assert found(index, text="ärzte") == [two.id]
    assert found(index, text="rechnung ärzte") == []
    assert found(index, text="100%") == [one.id]
    assert found(index, text="n_a") == [two.id]  # no wildcards: only these letters
    assert found(index, text="0%0") == []
    assert found(index, since_ms=NOON_MS + 1) == [two.id]
    assert found(index, until_ms=NOON_MS + DAY_MS) == [one.id]
    assert found(index, min_score=10) == [two.id]
    assert found(index, max_score=6) == [one.id]
    assert found(index, states=(CopyState.DELETED,)) == []
    assert found(index, states=(CopyState.DELETED, CopyState.HELD)) == [two.id, one.id]
    assert found(index, text="\0'; DROP TABLE copy; --") == []
    assert found(index) == [two.id, one.id]


def test_pages_do_not_shift_while_mail_comes_in(index: Index, tmp_path: Path) -> None:
    facts = [
        make_facts(make_copy("a@x.example"), make_copy("b@x.example"), at_ms=NOON_MS + n)
        for n in range(5)
    ]
    fill(index, tmp_path, facts)
    expected = [(one.id, copy.recipient) for one in reversed(facts) for copy in one.copies]
    seen: list[tuple[str, str]] = []
    after: str | None = ""
    while after is not None:
        page = index.listings.quarantine(QuarantineFilter(limit=3, after=after))
        seen += [(row.mail_id, row.recipient) for row in page.rows]
        after = page.next
        fill(index, tmp_path, [make_facts(at_ms=NOON_MS + 1000)])
    assert seen == expected
    with pytest.raises(ValueError, match="cursor"):
        index.listings.quarantine(QuarantineFilter(after="' OR 1=1"))


def test_the_queue_is_listed_oldest_first(index: Index, tmp_path: Path) -> None:
    facts = queued(3)
    tried = copy_event(
        facts[1],
        CopyState.QUEUED,
        at_ms=NOON_MS + 100,
        attempts=2,
        reply="451 later",
        next_attempt_at_ms=NOON_MS + DAY_MS,
    )
    fill(index, tmp_path, [make_facts(), *facts], tried)
    page = index.listings.queue(limit=2)
    assert [row.mail_id for row in page.rows] == [facts[0].id, facts[1].id]
    assert page.rows[1].queue_json() == {
        "id": facts[1].id,
        "recipient": "user1@example.org",
        "next_hop": "mail.example.org:25",
        "state": "queued",
        "attempts": 2,
        "next_attempt_at": "2026-11-24T12:00:00.000Z",
        "last_reply": "451 later",
    }
    assert page.next is not None
    rest = index.listings.queue(limit=2, after=page.next)
    assert ([row.mail_id for row in rest.rows], rest.next) == ([facts[2].id], None)
    assert index.listings.queue(domain="other.example").rows == ()


def test_track_finds_by_whatever_is_known(index: Index, tmp_path: Path) -> None:
    one = make_facts(make_copy("bert@one.example"), subject="Angebot 4711")
    two = make_facts(
        make_copy("cem@two.example"), make_copy("dora@two.example"), mail_from="Bert@one.example"
    )
    released = copy_event(two, CopyState.RELEASED, at_ms=NOON_MS + 90, recipient="cem@two.example")
    fill(index, tmp_path, [one, two], released)

    def tracked(query: str) -> list[tuple[str, str]]:
        return [(row.copy.mail_id, row.copy.recipient) for row in index.listings.track(query)]

    both = [(two.id, "cem@two.example"), (two.id, "dora@two.example")]
    assert tracked(one.id) == [(one.id, "bert@one.example")]
    assert tracked("BERT@one.example") == [*both, (one.id, "bert@one.example")]
    assert tracked(one.message_id) == [(one.id, "bert@one.example")]
    assert tracked(one.message_id.strip("<>")) == [(one.id, "bert@one.example")]
    assert tracked(" angebot 4711 ") == [(one.id, "bert@one.example")]
    assert tracked("nothing like it") == []
    story = {row.copy.recipient: row.json() for row in index.listings.track(two.id)}
    events = story["cem@two.example"]["events"]
    assert isinstance(events, list)
    assert [event["what"] for event in events] == ["message", "copy"]
    assert events[1] == {
        "at": "2026-11-23T12:00:00.090Z",
        "what": "copy",
        "detail": {"state": "released"},
    }
    assert set(story["dora@two.example"]) == {
        "id", "recipient", "mail_from", "subject", "verdict", "action", "events",
    }  # fmt: skip
    assert len(story["dora@two.example"]["events"]) == 1  # type: ignore[arg-type]


def test_show_has_everything(index: Index, tmp_path: Path) -> None:
    facts = make_facts()
    label = Event(
        at_ms=NOON_MS + 9, what=What.LABEL, mail_id=facts.id, detail={"label": "ham", "person": "b"}
    )
    fill(index, tmp_path, [facts], label)
    view = index.listings.show(facts.id)
    assert view is not None
    assert view.facts == facts
    assert facts.verdict is not None
    assert view.facts.verdict is not None
    assert view.facts.verdict.outcomes == facts.verdict.outcomes
    assert [copy.recipient for copy in view.copies] == ["bert@example.org"]
    assert [event.what for event in view.events] == ["label", "message"]
    assert index.listings.show(make_facts().id) is None


def test_what_retention_asks(index: Index, tmp_path: Path) -> None:
    held = make_facts(make_copy("a@x.example"), make_copy("b@x.example", CopyState.DELIVERED))
    gone = make_facts(make_copy("a@x.example", CopyState.DELIVERED))
    fill(index, tmp_path, [held, gone])
    over_ms = NOON_MS + 14 * DAY_MS
    assert index.listings.expired(over_ms - 1) == ()
    assert [row.cursor for row in index.listings.expired(over_ms)] == [f"{held.id}/a@x.example"]
    unknown = make_facts().id
    assert index.listings.no_longer_ours([held.id, gone.id, unknown]) == {gone.id}
    assert index.listings.counts() == {CopyState.HELD: 1, CopyState.DELIVERED: 2}
