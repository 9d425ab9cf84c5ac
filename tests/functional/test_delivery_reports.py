"""Reports to senders who logged in: through the queue alone, and through a running gateway."""

import asyncio
import email
import email.policy
import smtplib
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.errors import StorageFullError
from gateway.core.ids import IdSource
from gateway.core.record import CopyState, MessageFacts, What
from gateway.core.routing import Generation
from gateway.delivery.notices import Notices
from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.queue_store import queued
from tests.fakes.sink import Fault, Script, SinkMessage, sink
from tests.functional.test_queue import SETTINGS, Bench
from tests.functional.test_relay import CONTENT, copy_for, facts_for, served


class MemoryRecords:
    """Keeps what is put; may refuse."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.full = False

    async def put(self, facts: MessageFacts, content: bytes) -> None:
        if self.full:
            raise StorageFullError("no room")
        self.kept[facts.id] = content


def bench_with(generation: Generation) -> tuple[Bench, MemoryRecords]:
    records = MemoryRecords()
    bench = Bench(generation)
    bench.store.kept = records.kept
    bench.notices = Notices(
        records=records,
        generation=lambda: generation,
        ids=IdSource("n1"),
        node="n1",
        hostname="gw.example",
        clock=bench.clock,
    )
    bench.queue = bench.next_keeper()
    return bench, records


def put(bench: Bench, *addresses: str, login: str, state: CopyState = CopyState.QUEUED) -> None:
    plain = facts_for(*(copy_for(one) for one in addresses), mail_from="from@one.example")
    facts = replace(plain, session=replace(plain.session, authenticated_as=login))
    bench.store.add(queued(facts, state), CONTENT, bench.clock.now_ms())


async def test_a_refusal_in_the_queue_is_reported_and_not_held() -> None:
    script = Script(by_rcpt={"a@one.example": "550 5.1.1 gone", "b@one.example": "550 5.2.2 full"})
    async with sink(script) as target:
        bench, records = bench_with(served(one=target.hop))
        put(bench, "a@one.example", "b@one.example", "c@one.example", login="from@one.example")
        await bench.round()
        await bench.pool.close()
    assert bench.store.states() == {
        "a@one.example": "refused",
        "b@one.example": "refused",
        "c@one.example": "delivered",
    }
    (content,) = records.kept.values()
    assert content.count(b"Action: failed") == 2
    first = bench.journal.events[0]  # the report stands in the journal before what it is about
    assert (first.what, [first.mail_id]) == (What.MESSAGE, list(records.kept))
    assert "hold_reason" not in bench.journal.events[1].detail


async def test_time_in_the_queue_ends_with_a_report() -> None:
    async with sink(Script(answers={"mail": "451 4.3.0 later"})) as target:
        bench, records = bench_with(served(one=target.hop))
        put(bench, "a@one.example", login="from@one.example")
        started_s = bench.clock.now_s
        while bench.store.states() == {"a@one.example": "queued"}:
            assert not any(b"Action: failed" in one for one in records.kept.values())
            await bench.round()
            if bench.store.states() == {"a@one.example": "queued"}:
                await bench.advance_to_next()
        await bench.pool.close()
    assert bench.clock.now_s - started_s == pytest.approx(SETTINGS.expire_after_s)
    assert bench.store.states() == {"a@one.example": "refused"}
    delay, content = records.kept.values()
    assert b"Action: delayed\r\n" in delay
    assert b"Status: 4.4.7\r\n" in content
    assert b"Diagnostic-Code: smtp; 451 4.3.0 later\r\n" in content


@pytest.mark.parametrize("reason", ["stranger", "released", "disk full"])
async def test_what_is_not_reported_is_held(reason: str) -> None:
    async with sink(Script(answers={"rcpt": "550 5.1.1 gone"})) as target:
        bench, records = bench_with(served(one=target.hop))
        records.full = reason == "disk full"
        state = CopyState.RELEASED if reason == "released" else CopyState.QUEUED
        login = "" if reason == "stranger" else "from@one.example"
        put(bench, "a@one.example", login=login, state=state)
        await bench.round()
        await bench.pool.close()
    assert bench.store.states() == {"a@one.example": "held"}
    assert records.kept == {}
    assert bench.journal.events[-1].detail["admin_only"] is True


def submit(gateway: Gateway, *to: str, login: bool = True, notify: str = "") -> int:
    """Send as anna, over TLS; the code after the final dot."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", gateway.smtp_port, timeout=60) as client:
        client.starttls(context=context)
        client.ehlo()
        if login:
            client.login("anna@trial.example", "a long password")
        assert client.mail("anna@trial.example", ["ENVID=QQ7"])[0] == 250
        for one in to:
            assert client.rcpt(one, [f"NOTIFY={notify}"] if notify else [])[0] == 250
        content = "From: anna@trial.example\r\nTo: x@trial.example\r\nSubject: plans\r\n"
        content += "Message-ID: <7@client.example>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\n"
        return client.data(content + "\r\nWe meet at noon.\r\n")[0]


def is_report(message: SinkMessage) -> bool:
    return b"report-type=delivery-status" in message.content


def states(gateway: Gateway) -> dict[str, str]:
    rows = gateway.rows("quarantine", "list", "--limit", "1000")
    return {str(row["recipient"]): "held" for row in rows}


async def test_through_a_running_gateway(tmp_path: Path) -> None:
    """A mixed reply, a time that runs out, a sender who wants no report, and one who is nobody."""
    script = Script(by_rcpt={"gone@trial.example": "550 5.1.1 no such user"})
    async with sink(script) as to, sink(Script(answers={"greeting": Fault.CLOSE})) as dead:
        gateway = Gateway(tmp_path, f"127.0.0.1:{to.port}")
        gateway.environment |= {
            "SCHWAMM_SMTP__AUTH": "true",
            "SCHWAMM_DELIVERY__FIRST_RETRY_S": "1",
            "SCHWAMM_DELIVERY__EXPIRE_AFTER_S": "3",
        }
        add = ("user", "add", "anna@trial.example", "--password", "a long password")
        served_too = ("domain", "add", "dead.example", "--next-hop", f"127.0.0.1:{dead.port}")
        try:
            await asyncio.to_thread(gateway.init)
            await asyncio.to_thread(gateway.run, *add)
            await asyncio.to_thread(gateway.run, *served_too)
            await asyncio.to_thread(gateway.start)
            both = ("bert@trial.example", "gone@trial.example")
            assert await asyncio.to_thread(submit, gateway, *both) == 250
            await asyncio.to_thread(
                wait_until, lambda: sum(map(is_report, to.messages)), "a report"
            )
            (report,) = filter(is_report, to.messages)
            check_report(report, "gone@trial.example", "5.1.1")
            assert (await asyncio.to_thread(submit, gateway, "late@dead.example")) == 250
            await asyncio.to_thread(
                wait_until, lambda: sum(map(is_report, to.messages)) == 2, "the second report"
            )
            check_report([*filter(is_report, to.messages)][1], "late@dead.example", "4.4.7")
            assert states(gateway) == {}
            never = ("bert@trial.example", "gone@trial.example")
            await asyncio.to_thread(lambda: submit(gateway, *never, notify="NEVER"))
            wait = ("late@dead.example", "bert@trial.example")
            await asyncio.to_thread(lambda: submit(gateway, *wait, login=False))
            await asyncio.to_thread(
                wait_until,
                lambda: states(gateway).keys() == {"gone@trial.example", "late@dead.example"},
                "both to be held",
            )
            assert sum(map(is_report, to.messages)) == 2
            assert gateway.rows("queue", "list") == []
        finally:
            gateway.kill_everything()


def check_report(message: SinkMessage, recipient: str, status: str) -> None:
    assert (message.mail_from, message.rcpt_to) == ("", ["anna@trial.example"])
    parsed = email.message_from_bytes(message.content, policy=email.policy.default)
    people, programs, original = parsed.iter_parts()
    assert recipient in people.get_content()
    whole, one = programs.get_payload()
    assert whole["Original-Envelope-Id"] == "QQ7"
    assert (one["Final-Recipient"], one["Status"]) == (f"rfc822; {recipient}", status)
    assert "Subject: plans" in original.get_content()
    assert b"We meet at noon" not in message.content


async def test_a_domain_may_say_how_long_its_mail_waits() -> None:
    async with sink(Script(answers={"mail": "451 4.3.0 later"})) as target:
        plain = served(one=target.hop, two=target.hop)
        hours = {"one.example": 2, "two.example": 0}
        domains = tuple(replace(d, queue_hours=hours[d.name]) for d in plain.domains)
        bench, _ = bench_with(Generation(number=1, created_at_ms=0, domains=domains))
        put(bench, "a@one.example", "b@two.example", login="")
        started_s = bench.clock.now_s
        while bench.store.states()["a@one.example"] == "queued":
            await bench.round()
            if bench.store.states()["a@one.example"] == "queued":
                await bench.advance_to_next()
        await bench.pool.close()
    assert bench.clock.now_s - started_s == pytest.approx(2 * 3600)
    assert bench.store.states() == {"a@one.example": "held", "b@two.example": "queued"}
