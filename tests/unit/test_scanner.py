"""The scanner's promises: one check's failure is visible and weighs nothing, time is bounded."""

import asyncio
import hashlib

import pytest

from gateway.checks.check import Check, ConnectionFacts
from gateway.core.errors import ScanFailedError
from gateway.core.mail import Envelope, Mail, Session
from gateway.core.verdict import Outcome, Status, Symbol, VerdictClass
from gateway.pipeline.scanner import Scanner
from gateway.pipeline.scoring import Weights
from models.message import ParsedMail

RAW = b"From: a@b.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHallo\r\n"


def mail() -> Mail:
    return Mail(
        id="1m84gy8sf-n1-2tx5d59",
        received_at_ms=1,
        session=Session(ip="192.0.2.1", port=1, helo="x", esmtp=True),
        envelope=Envelope(mail_from="", rcpt_to=()),
        content=RAW,
        sha256=hashlib.sha256(RAW).hexdigest(),
    )


class Guard:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def enter(self, sha256: str) -> None:
        self.calls.append(sha256)

    def leave(self) -> None:
        self.calls.append("")


class Sees:
    def __init__(self, name: str, symbol: str, wait_s: float = 0.0) -> None:
        self.name, self.symbol, self.wait_s = name, symbol, wait_s

    async def examine(self, mail: Mail, parsed: ParsedMail, facts: ConnectionFacts) -> Outcome:
        if self.wait_s:
            await asyncio.sleep(self.wait_s)
        return Outcome(check=self.name, status=Status.HIT, symbols=(Symbol(name=self.symbol),))


class Breaks:
    name = "broken"

    async def examine(self, mail: Mail, parsed: ParsedMail, facts: ConnectionFacts) -> Outcome:
        raise ZeroDivisionError


def scanner(*local: Check, remote: tuple[Check, ...] = (), deadline_s: float = 5.0) -> Scanner:
    return Scanner(
        local=local,
        remote=remote,
        content=None,
        weights=Weights(points={"LOCAL": 2.0, "REMOTE": 3.0, "LISTED": 1.5}, groups={}, caps={}),
        guard=Guard(),
        deadline_s=deadline_s,
        settings_digest="cafe",
    )


async def test_all_that_was_seen_adds_up() -> None:
    facts: asyncio.Future[ConnectionFacts] = asyncio.get_running_loop().create_future()
    listed = Outcome(check="dnsbl", status=Status.HIT, symbols=(Symbol(name="LISTED"),))
    facts.set_result(ConnectionFacts(outcomes=(listed,)))
    one = scanner(Sees("l", "LOCAL"), remote=(Sees("r", "REMOTE", 0.01),))
    scan = await one.scan(mail(), facts, generation=7)
    verdict = scan.verdict
    assert verdict is not None
    assert (verdict.score, verdict.kind, verdict.generation) == (6.5, VerdictClass.SPAM, 7)
    assert [s.name for s in verdict.symbols] == ["LISTED", "REMOTE", "LOCAL"]
    assert (scan.subject, scan.from_header) == ("Grüße", "a@b.example")
    assert isinstance(one.guard, Guard)
    digest = hashlib.sha256(RAW).hexdigest()
    assert one.guard.calls == [digest, "", digest, ""]


async def test_a_broken_check_is_an_error_that_weighs_nothing() -> None:
    scan = await scanner(Breaks(), Sees("l", "LOCAL")).scan(mail(), None, generation=1)
    assert scan.verdict is not None
    assert scan.verdict.score == 2.0
    assert scan.verdict.errors == ("broken:ZeroDivisionError",)


async def test_a_check_that_never_answers_is_a_failed_scan() -> None:
    slow = scanner(remote=(Sees("r", "REMOTE", 60.0),), deadline_s=0.05)
    with pytest.raises(ScanFailedError) as caught:
        await slow.scan(mail(), None, generation=1)
    assert caught.value.reply.code == 451
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task() and not t.done()]
    await asyncio.sleep(0)
    assert not [t for t in left if not t.done()], "nothing goes on in the background"
