"""Reports on success and delay: to senders who logged in, once of each copy, whenever it dies."""

import asyncio
import email
import email.policy
import smtplib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from gateway.core.handoff import CopyReply, Phase
from gateway.core.mail import DsnRequest
from gateway.core.record import CopyState, Event, MessageFacts, What
from gateway.core.routing import NextHop, NextHopKind
from gateway.delivery.queue import LEASE_MS
from gateway.delivery.reported_copy import ReportAction, ReportedCopy
from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.queue_store import queued
from tests.fakes.sink import Fault, Script, SinkMessage, sink
from tests.functional.test_delivery_reports import MemoryRecords, bench_with, is_report
from tests.functional.test_queue import SETTINGS, Bench, MemoryJournal
from tests.functional.test_relay import CONTENT, copy_for, facts_for, served

_LATER = {"mail": "451 4.3.0 later"}
_WITH_DSN = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN")


def put(
    bench: Bench,
    *addresses: str,
    login: str = "from@one.example",
    mail_from: str = "from@one.example",
    notify: str = "",
    state: CopyState = CopyState.QUEUED,
) -> MessageFacts:
    plain = facts_for(*(copy_for(one) for one in addresses), mail_from=mail_from)
    dsn = tuple(DsnRequest(recipient=one, notify=notify) for one in addresses) if notify else ()
    facts = replace(
        plain,
        session=replace(plain.session, authenticated_as=login),
        envelope=replace(plain.envelope, dsn=dsn),
    )
    facts = queued(facts, state)
    bench.store.add(facts, CONTENT, bench.clock.now_ms())
    return facts


async def wait_hours(bench: Bench, hours: float) -> None:
    """All attempts of so long a time."""
    ends_s = bench.clock.now_s + hours * 3600
    while bench.clock.now_s < ends_s:
        await bench.round()
        await bench.advance_to_next()


def fields_of(content: bytes) -> list[dict[str, str]]:
    """The groups of a report's part for programs."""
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/report"
    return [dict(group.items()) for group in parsed.get_payload(1).get_payload()]


async def test_one_report_of_delay_for_all_copies_of_a_destination() -> None:
    async with sink(Script(answers=_LATER)) as target:
        bench, records = bench_with(served(one=target.hop))
        facts = put(bench, "a@one.example", "b@one.example")
        started_s = bench.clock.now_s
        await wait_hours(bench, 3.9)
        assert records.kept == {}
        await wait_hours(bench, 40)
        await bench.pool.close()
    (content,) = records.kept.values()
    whole, *copies = fields_of(content)
    assert [one["Final-Recipient"] for one in copies] == [
        "rfc822; a@one.example",
        "rfc822; b@one.example",
    ]
    for one in copies:
        assert (one["Action"], one["Status"]) == ("delayed", "4.3.0")
        until = parsedate_to_datetime(one["Will-Retry-Until"]).timestamp()
        assert until == pytest.approx(started_s + SETTINGS.expire_after_s, abs=1)
        told_at = parsedate_to_datetime(one["Last-Attempt-Date"]).timestamp()
        assert 4 * 3600 <= told_at - started_s < 5.1 * 3600
    assert "Arrival-Date" in whole
    text = email.message_from_bytes(content, policy=email.policy.default).get_payload(0)
    for sentence in ("wird es weiter versucht", "it is tried again until"):
        assert sentence in text.get_content().replace("\n", " ")
    noted = [event for event in bench.journal.events if event.what == What.REPORT]
    assert [(event.mail_id, event.recipient) for event in noted] == [
        (facts.id, "a@one.example"),
        (facts.id, "b@one.example"),
    ]
    assert {event.detail["report"] for event in noted} == records.kept.keys()


@pytest.mark.parametrize(
    "who",
    ["stranger", "null sender", "foreign sender", "NEVER", "FAILURE,SUCCESS", "released", "off"],
)
async def test_who_is_not_told_of_delay(who: str) -> None:
    async with sink(Script(answers=_LATER)) as target:
        bench, records = bench_with(served(one=target.hop))
        if who == "off":
            assert bench.queue._reports is not None
            bench.queue._reports = replace(bench.queue._reports, delay_after_s=0)
        put(
            bench,
            "a@one.example",
            login="" if who == "stranger" else "from@one.example",
            mail_from={"null sender": "", "foreign sender": "x@else.example"}.get(
                who, "from@one.example"
            ),
            notify=who if who.isupper() else "",
            state=CopyState.RELEASED if who == "released" else CopyState.QUEUED,
        )
        await wait_hours(bench, 30)
        await bench.pool.close()
    assert records.kept == {}
    assert not [event for event in bench.journal.events if event.what == What.REPORT]


class DeadlyJournal(MemoryJournal):
    """Lets the keeper be killed the first time it writes such lines, before or after them."""

    def __init__(self, at: Callable[[Sequence[Event]], bool], *, before: bool) -> None:
        super().__init__()
        self.at = at
        self.before = before
        self.killed = False

    async def append_durable(self, events: Sequence[Event]) -> None:
        dies = self.at(events) and not self.killed
        self.killed = self.killed or dies
        if not (dies and self.before):
            await super().append_durable(events)
        if dies:
            raise asyncio.CancelledError


def write_to(bench: Bench, journal: MemoryJournal) -> None:
    """Every keeper from now on writes to this journal, and the index is made of it."""
    bench.journal = journal
    bench.store.journal = journal.events


def notes(events: Sequence[Event]) -> bool:
    return any(event.what == What.REPORT for event in events)


def names_a_message(events: Sequence[Event]) -> bool:
    return any(event.what == What.MESSAGE for event in events)


async def live_on(bench: Bench, records: MemoryRecords, hours: float) -> None:
    """A time of many keepers: each begins anew after a lease has run out."""
    ends_s = bench.clock.now_s + hours * 3600
    while bench.clock.now_s < ends_s and "queued" in bench.store.states().values():
        bench.queue = bench.next_keeper()
        await bench.round()
        bench.clock.now_s += LEASE_MS / 1000
    assert records.kept


@pytest.mark.parametrize(
    ("at", "before"),
    [(notes, True), (notes, False), (names_a_message, True), (names_a_message, False)],
    ids=["before the note", "after the note", "report written", "report known"],
)
async def test_a_keeper_that_is_killed_tells_of_a_delay_once(
    at: Callable[[Sequence[Event]], bool], before: bool
) -> None:
    async with sink(Script(answers=_LATER)) as target:
        bench, records = bench_with(served(one=target.hop))
        put(bench, "a@one.example", "b@one.example")
        journal = DeadlyJournal(at, before=before)
        write_to(bench, journal)
        await live_on(bench, records, 12)
        await bench.pool.close()
    assert journal.killed
    (content,) = records.kept.values()
    assert content.count(b"Action: delayed") == 2


async def test_a_full_disk_puts_a_report_of_delay_off() -> None:
    async with sink(Script(answers=_LATER)) as target:
        bench, records = bench_with(served(one=target.hop))
        put(bench, "a@one.example")
        records.full = True
        await wait_hours(bench, 8)
        records.full = False
        await wait_hours(bench, 8)
        await bench.pool.close()
    assert len(records.kept) == 1
    assert set(bench.store.states().values()) == {"queued"}


def hop_of(kind: NextHopKind, port: int) -> NextHop:
    return NextHop(kind=kind, host="127.0.0.1", port=port)


@pytest.mark.parametrize(
    ("lmtp", "offers", "notify", "action"),
    [
        (False, (), "SUCCESS", "relayed"),
        (True, (), "SUCCESS,FAILURE", "delivered"),
        (False, _WITH_DSN, "SUCCESS", None),
        (True, _WITH_DSN, "SUCCESS", None),
        (False, (), "", None),
        (False, (), "NEVER", None),
        (False, (), "FAILURE,DELAY", None),
    ],
)
async def test_success_in_the_queue(
    lmtp: bool, offers: tuple[str, ...], notify: str, action: str | None
) -> None:
    async with sink(Script(offers=offers), lmtp=lmtp) as target:
        hop = hop_of(NextHopKind.LMTP if lmtp else NextHopKind.SMTP, target.port)
        bench, records = bench_with(served(one=hop))
        put(bench, "a@one.example", notify=notify)
        await bench.round()
        await bench.pool.close()
    assert bench.store.states() == {"a@one.example": "delivered"}
    told = [fields_of(content)[1] for content in records.kept.values()]
    assert [(one["Action"], one["Status"]) for one in told] == (
        [(action, "2.0.0")] if action else []
    )


async def test_success_is_told_once_of_each_copy_though_it_went_out_twice() -> None:
    async with sink(Script(offers=())) as target:
        bench, records = bench_with(served(one=target.hop))
        put(bench, "a@one.example", "b@one.example", notify="SUCCESS")
        write_to(bench, DeadlyJournal(names_a_message, before=True))
        await live_on(bench, records, 1)
        await bench.pool.close()
    assert len(target.messages) == 2  # the keeper died before the result was durable
    told = [fields_of(content)[1]["Final-Recipient"] for content in records.kept.values()]
    assert sorted(told) == ["rfc822; a@one.example", "rfc822; b@one.example"]


async def test_a_report_that_cannot_be_written_delivers_nothing_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise ValueError("a bug")

    monkeypatch.setattr("gateway.delivery.notices.report", broken)
    async with sink(Script(offers=())) as target:
        bench, records = bench_with(served(one=target.hop))
        put(bench, "a@one.example", notify="SUCCESS")
        await bench.round()
        bench.clock.now_s += 2 * LEASE_MS / 1000
        await bench.round()
        await bench.pool.close()
    assert bench.store.states() == {"a@one.example": "delivered"}
    assert (len(target.messages), records.kept) == (1, {})


def test_silence_has_a_status_too() -> None:
    for phase, status in ((Phase.BEFORE_DOT, "4.4.1"), (Phase.AFTER_DOT, "4.4.2")):
        reply = CopyReply(recipient="a@one.example", phase=phase, text="timeout")
        one = ReportedCopy(recipient="a@one.example", reply=reply, action=ReportAction.DELAYED)
        assert one.status == status


def submit(gateway: Gateway, *to: str, login: bool = True, notify: str = "") -> bool:
    """Send as anna, over TLS; whether DSN was announced."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", gateway.smtp_port, timeout=60) as client:
        client.starttls(context=context)
        client.ehlo()
        if login:
            client.login("anna@trial.example", "a long password")
        client.ehlo()
        assert client.mail("anna@trial.example", ["ENVID=QQ7"])[0] == 250
        for one in to:
            assert client.rcpt(one, [f"NOTIFY={notify}"] if notify else [])[0] == 250
        content = "From: anna@trial.example\r\nTo: x@trial.example\r\nSubject: plans\r\n"
        content += "Message-ID: <7@client.example>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\n"
        assert client.data(content + "\r\nWe meet at noon.\r\n")[0] == 250
        return client.has_extn("dsn")


def reports(messages: Sequence[SinkMessage]) -> list[SinkMessage]:
    return [one for one in messages if is_report(one)]


def actions(messages: Sequence[SinkMessage]) -> list[tuple[str, str]]:
    """Of each reported copy, action and recipient."""
    groups = [fields_of(one.content)[1:] for one in reports(messages)]
    return [(one["Action"], one["Final-Recipient"]) for group in groups for one in group]


def attempts(gateway: Gateway) -> int:
    """Of the copy that was tried least."""
    return min(int(str(row["attempts"])) for row in gateway.rows("queue", "list"))


async def test_through_a_running_gateway(tmp_path: Path) -> None:
    """Success where the next hop has no DSN, and a delay whose keeper is killed again and again."""
    async with (
        sink(Script(offers=("PIPELINING", "8BITMIME"))) as to,
        sink(Script(answers={"greeting": Fault.CLOSE})) as dead,
    ):
        gateway = Gateway(tmp_path, f"127.0.0.1:{to.port}")
        gateway.environment |= {
            "SCHWAMM_SMTP__AUTH": "true",
            "SCHWAMM_DELIVERY__FIRST_RETRY_S": "0.3",
            "SCHWAMM_DELIVERY__LONGEST_RETRY_S": "0.3",
            "SCHWAMM_DELIVERY__DELAY_REPORT_AFTER_S": "1",
        }
        add = ("user", "add", "anna@trial.example", "--password", "a long password")
        served_too = ("domain", "add", "dead.example", "--next-hop", f"127.0.0.1:{dead.port}")
        try:
            await asyncio.to_thread(gateway.init)
            await asyncio.to_thread(gateway.run, *add)
            await asyncio.to_thread(gateway.run, *served_too)
            await asyncio.to_thread(gateway.start)
            plain = ("bert@trial.example",)
            assert not await asyncio.to_thread(
                lambda: submit(gateway, *plain, login=False, notify="SUCCESS")
            )
            assert await asyncio.to_thread(lambda: submit(gateway, *plain, notify="SUCCESS"))
            await asyncio.to_thread(wait_until, lambda: reports(to.messages), "a report")
            assert actions(to.messages) == [("relayed", "rfc822; bert@trial.example")]
            late = ("late@dead.example", "later@dead.example")
            await asyncio.to_thread(lambda: submit(gateway, *late))
            await asyncio.to_thread(lambda: submit(gateway, "x@dead.example", login=False))
            for _ in range(6):
                await asyncio.sleep(0.7)
                for keeper in gateway.children().get("keeper", []):
                    keeper.kill()
            await asyncio.to_thread(
                wait_until, lambda: len(reports(to.messages)) >= 2, "the report on delay"
            )
            tried = attempts(gateway)
            await asyncio.to_thread(
                wait_until, lambda: attempts(gateway) >= tried + 5, "more attempts"
            )
            told = actions(to.messages)
            assert sorted(told[1:]) == [
                ("delayed", "rfc822; late@dead.example"),
                ("delayed", "rfc822; later@dead.example"),
            ]
            for one in reports(to.messages):
                assert (one.mail_from, one.rcpt_to) == ("", ["anna@trial.example"])
                assert b"Original-Envelope-Id: QQ7\r\n" in one.content
            until = parsedate_to_datetime(
                fields_of(reports(to.messages)[-1].content)[1]["Will-Retry-Until"]
            )
            arrived = parsedate_to_datetime(
                fields_of(reports(to.messages)[-1].content)[0]["Arrival-Date"]
            )
            assert timedelta(days=4) < until - arrived < timedelta(days=6)
            assert "report to the sender" in gateway.run("track", "late@dead.example").stdout
        finally:
            gateway.kill_everything()
