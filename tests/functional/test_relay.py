"""Copies by next hop and dressing: who shares a transaction, and what each one's fate is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.addresses import parse_address
from gateway.core.clock import SystemClock
from gateway.core.handoff import Phase
from gateway.core.ids import IdSource
from gateway.core.mail import Envelope, Session
from gateway.core.record import Copy, CopyState, MessageFacts
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from gateway.core.verdict import Action, Verdict, VerdictClass
from gateway.delivery.marks import Marks
from gateway.delivery.relay import Relay
from gateway.net.maildir import MaildirDelivery
from gateway.net.pool import Pool
from gateway.settings import DeliverySettings
from tests.fakes.sink import Fault, Script, sink

SETTINGS = DeliverySettings(connect_timeout_s=2, command_timeout_s=2, final_timeout_s=2)
CONTENT = b"From: a@example.org\r\nSubject: hello\r\n\r\n.body\r\n"
MARKS = Marks(b"k" * 32)
CLOCK = SystemClock()


def facts_for(*copies: Copy, mail_from: str = "from@example.org") -> MessageFacts:
    now_ms = CLOCK.now_ms()
    return MessageFacts(
        id=IdSource("n1").next(now_ms),
        node="n1",
        direction="in",
        received_at_ms=now_ms,
        answered_at_ms=None,
        handed_off_at_ms=None,
        session=Session(ip="192.0.2.1", port=1, helo="client.example", esmtp=True),
        envelope=Envelope(
            mail_from=mail_from, rcpt_to=tuple(parse_address(copy.rcpt_to) for copy in copies)
        ),
        size_bytes=len(CONTENT),
        sha256="0" * 64,
        subject="hello",
        from_header="a@example.org",
        message_id="",
        verdict=Verdict(kind=VerdictClass.HAM, score=0.5),
        copies=copies,
        generation=1,
        reply="",
        trace="Received: from client.example by gw.example;\r\n\tMon, 23 Nov 2026 15:00:00\r\n",
    )


def copy_for(address: str, action: Action = Action.ACCEPT) -> Copy:
    return Copy(
        recipient=address.lower(),
        rcpt_to=address,
        domain=address.partition("@")[2].lower(),
        customer="",
        action=action,
        state=CopyState.QUEUED,
    )


def served(**hops: NextHop | tuple[NextHop, ...]) -> Generation:
    """``one=hop`` serves one.example by that next hop."""
    return Generation(
        number=1,
        created_at_ms=0,
        domains=tuple(
            Domain(
                name=f"{name}.example",
                next_hops=target if isinstance(target, tuple) else (target,),
                subject_tag="[SPAM?]" if name == "tagging" else "",
            )
            for name, target in hops.items()
        ),
    )


@asynccontextmanager
async def relay_for(
    generation: Generation, settings: DeliverySettings = SETTINGS
) -> AsyncIterator[Relay]:
    pool = Pool(settings, hostname="gw.example", clock=CLOCK)
    try:
        yield Relay(
            connections=pool,
            maildirs=MaildirDelivery(CLOCK),
            generation=lambda: generation,
            marks=MARKS,
            hostname="gw.example",
            clock=CLOCK,
        )
    finally:
        await pool.close()
        pool.abort()


async def test_copies_of_one_domain_share_a_transaction() -> None:
    copies = [copy_for("A@one.example"), copy_for("b@one.example")]
    async with sink() as target, relay_for(served(one=target.hop)) as relay:
        results = await relay.hand_off(facts_for(*copies), CONTENT, copies)
    assert {key: reply.code for key, reply in results.items()} == {
        "a@one.example": 250,
        "b@one.example": 250,
    }
    (message,) = target.messages
    assert message.rcpt_to == ["A@one.example", "b@one.example"]
    assert message.content.endswith(CONTENT)
    assert message.content.startswith(b"Received: from client.example")


async def test_domains_with_the_same_next_hop_share_it_too() -> None:
    copies = [copy_for("a@one.example"), copy_for("b@two.example")]
    async with sink() as target, relay_for(served(one=target.hop, two=target.hop)) as relay:
        await relay.hand_off(facts_for(*copies), CONTENT, copies)
    assert len(target.messages) == 1


async def test_a_tagged_copy_goes_its_own_way() -> None:
    copies = [copy_for("a@one.example"), copy_for("b@tagging.example", Action.TAG)]
    async with sink() as target, relay_for(served(one=target.hop, tagging=target.hop)) as relay:
        await relay.hand_off(facts_for(*copies), CONTENT, copies)
    by_recipient = {message.rcpt_to[0]: message.content for message in target.messages}
    assert b"Subject: hello\r\n" in by_recipient["a@one.example"]
    assert b"Subject: [SPAM?] hello\r\n" in by_recipient["b@tagging.example"]
    assert b"X-Schwamm-Tag: yes\r\n" in by_recipient["b@tagging.example"]


async def test_a_released_copy_carries_its_own_mark() -> None:
    copies = [replace(copy_for(f"{n}@one.example"), state=CopyState.RELEASED) for n in "ab"]
    async with sink() as target, relay_for(served(one=target.hop)) as relay:
        await relay.hand_off(facts_for(*copies), CONTENT, copies)
    assert len(target.messages) == 2
    for message in target.messages:
        (recipient,) = message.rcpt_to
        other = "b@one.example" if recipient == "a@one.example" else "a@one.example"
        assert MARKS.is_released(message.content, recipient, CLOCK.now_ms())
        assert not MARKS.is_released(message.content, other, CLOCK.now_ms())


async def test_different_next_hops_are_served_side_by_side() -> None:
    """The slow one holds its answer until the quick one has the message."""
    copies = [copy_for("a@slow.example"), copy_for("b@quick.example")]
    async with (
        sink(Script(delay_s=0.1)) as slow,
        sink() as quick,
        relay_for(served(slow=slow.hop, quick=quick.hop)) as relay,
    ):
        task = asyncio.create_task(relay.hand_off(facts_for(*copies), CONTENT, copies))
        await quick.wait_for(1)
        assert not slow.messages
        results = await task
    assert [results[key].code for key in ("a@slow.example", "b@quick.example")] == [250, 250]


@pytest.mark.parametrize(
    ("script", "phase", "code"),
    [
        (Script(answers={"rcpt": "550 5.1.1 who?"}), Phase.ANSWERED, 550),
        (Script(answers={"final": "451 4.3.0 later"}), Phase.ANSWERED, 451),
        (Script(answers={"mail": Fault.CLOSE}), Phase.BEFORE_DOT, 0),
        (Script(answers={"final": Fault.CLOSE}), Phase.AFTER_DOT, 0),
    ],
)
async def test_one_bad_next_hop_does_not_touch_the_others(
    script: Script, phase: Phase, code: int
) -> None:
    copies = [copy_for("a@bad.example"), copy_for("b@good.example")]
    async with (
        sink(script) as bad,
        sink() as good,
        relay_for(served(bad=bad.hop, good=good.hop)) as relay,
    ):
        results = await relay.hand_off(facts_for(*copies), CONTENT, copies)
    assert (results["a@bad.example"].phase, results["a@bad.example"].code) == (phase, code)
    assert results["b@good.example"].delivered
    assert len(good.messages) == 1
    assert not bad.messages


async def test_the_next_in_line_takes_over_when_the_first_is_unreachable() -> None:
    copies = [copy_for("a@one.example")]
    async with sink() as gone:
        pass
    async with sink() as second, relay_for(served(one=(gone.hop, second.hop))) as relay:
        for _ in range(2):
            results = await relay.hand_off(facts_for(*copies), CONTENT, copies)
            assert results["a@one.example"].next_hop == second.hop
    assert len(second.messages) == 2


@pytest.mark.parametrize(
    "answers", [{"final": Fault.CLOSE}, {"rcpt": "550 5.1.1 who?"}, {"mail": "451 4.3.0 later"}]
)
async def test_the_next_in_line_is_left_alone_once_the_first_had_a_say(
    answers: dict[str, str | Fault | None],
) -> None:
    copies = [copy_for("a@one.example")]
    async with (
        sink(Script(answers=answers)) as first,
        sink() as second,
        relay_for(served(one=(first.hop, second.hop))) as relay,
    ):
        results = await relay.hand_off(facts_for(*copies), CONTENT, copies)
    assert results["a@one.example"].next_hop == first.hop
    assert not second.messages


async def test_when_all_are_down_the_answer_says_why() -> None:
    copies = [copy_for("a@one.example")]
    async with sink() as gone:
        pass
    async with relay_for(served(one=(gone.hop,))) as relay:
        for _ in range(2):
            results = await relay.hand_off(facts_for(*copies), CONTENT, copies)
            assert results["a@one.example"].phase is Phase.BEFORE_DOT
            assert "connect" in results["a@one.example"].text


async def test_a_domain_served_no_more_uses_the_hop_of_the_record() -> None:
    async with sink() as target, relay_for(served()) as relay:
        known = replace(copy_for("a@one.example"), next_hop=target.hop)
        lost = copy_for("b@two.example")
        results = await relay.hand_off(facts_for(known, lost), CONTENT, [known, lost])
    assert results["a@one.example"].delivered
    assert results["b@two.example"].phase is Phase.BEFORE_DOT
    assert "no next hop" in results["b@two.example"].text


async def test_maildir_and_smtp_side_by_side(tmp_path: Path) -> None:
    local = NextHop(kind=NextHopKind.MAILDIR, path=str(tmp_path / "mail"))
    copies = [copy_for("a@one.example"), copy_for("b@local.example"), copy_for("c@local.example")]
    async with sink() as target, relay_for(served(one=target.hop, local=local)) as relay:
        results = await relay.hand_off(facts_for(*copies), CONTENT, copies)
    assert all(reply.delivered for reply in results.values())
    files = sorted((tmp_path / "mail" / "new").iterdir())
    assert len(files) == 2
    delivered_to = {file.read_bytes().split(b"\n")[1] for file in files}
    assert delivered_to == {b"Delivered-To: b@local.example", b"Delivered-To: c@local.example"}
    assert all(file.read_bytes().endswith(CONTENT.replace(b"\r\n", b"\n")) for file in files)
