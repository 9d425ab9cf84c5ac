"""Which recipients a domain has: rules, and what is made of a next hop's answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from gateway.app.routing import ServedRecipients
from gateway.core.addresses import Address, parse_address
from gateway.core.clock import SystemClock
from gateway.core.errors import ConfigError
from gateway.core.mail import Session
from gateway.core.recipients import parse_recipient_rules
from gateway.core.reply import Reply
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from gateway.net.callout import Callout, Existence
from gateway.net.smtp_client_protocol import WireReply

HOP = NextHop(kind=NextHopKind.SMTP, host="mail.example", port=25)
SPARE = NextHop(kind=NextHopKind.SMTP, host="spare.example", port=25)
SESSION = Session(ip="192.0.2.1", port=1, helo="x", esmtp=True)


@pytest.mark.parametrize(
    ("rules", "local", "known"),
    [
        ("any", "whoever", True),
        ("list:anna,Info", "anna", True),
        ("list:anna,info", "INFO", True),
        ("list:anna,info", "anna+news", True),
        ("list:anna,info", "bert", False),
        ("list:anna,info", "annab", False),
        ("list:anna", "postmaster", True),
        ("list:anna", "abuse", True),
        ("list:a*", "anna", False),
        ("pattern:*.*,info", "anna.meier", True),
        ("pattern:*.*,info", "info", True),
        ("pattern:*.*,info", "anna", False),
        ("pattern:x??", "xab", True),
        ("pattern:x??", "xabc", False),
        ("callout", "anna", None),
        ("callout:defer", "postmaster", True),
    ],
)
def test_rules(rules: str, local: str, known: bool | None) -> None:
    assert parse_recipient_rules(rules).knows(parse_address(f"{local}@example.org")) is known


def test_a_hostile_pattern_is_quick() -> None:
    rules = parse_recipient_rules("pattern:*a*a*a*b")
    assert rules.knows(parse_address("a" * 64 + "@example.org")) is False


@pytest.mark.parametrize(
    "text", ["any", "list:anna,info", "pattern:*.*", "callout", "callout:defer"]
)
def test_rules_are_written_as_they_are_read(text: str) -> None:
    assert str(parse_recipient_rules(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "some", "list", "list:", "list:a b", "list:a@b", "any:x", "callout:x", "pattern:*****"],
)
def test_malformed_rules(text: str) -> None:
    with pytest.raises(ConfigError, match="callout:defer"):
        parse_recipient_rules(text)


def _reply(code: int, enhanced: str = "") -> WireReply:
    return WireReply(code=code, enhanced=enhanced, lines=("words",))


@dataclass
class _Hop:
    """Knows ``anna``; ``other`` is its answer to everybody else, None: it cannot be asked."""

    other: WireReply | None = field(default_factory=lambda: _reply(550, "5.1.1"))
    down: bool = False
    asked: list[list[str]] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def fails_at_once(self, hop: NextHop) -> bool:
        return self.down

    async def ask_recipients(
        self, hop: NextHop, addresses: Sequence[str]
    ) -> tuple[WireReply, ...] | None:
        self.asked.append(list(addresses))
        if self.gate is not None:
            await self.gate.wait()
        if self.other is None:
            return None
        return tuple(_reply(250) if one.startswith("anna@") else self.other for one in addresses)


@dataclass
class _Clock(SystemClock):
    s: float = 1000.0

    def monotonic_s(self) -> float:
        return self.s


def _anna() -> Address:
    return parse_address("anna@example.org")


def _bert(n: int = 0) -> Address:
    return parse_address(f"bert{n}@example.org")


async def test_answers_are_kept_good_ones_longer() -> None:
    hop, clock = _Hop(), _Clock()
    callout = Callout(hop, clock)
    for _ in range(3):
        assert await callout.ask(HOP, _anna()) is Existence.KNOWN
        assert await callout.ask(HOP, _bert()) is Existence.UNKNOWN
    assert len(hop.asked) == 2
    clock.s += 3600
    assert await callout.ask(HOP, _anna()) is Existence.KNOWN
    assert len(hop.asked) == 2
    assert await callout.ask(HOP, _bert()) is Existence.UNKNOWN
    assert len(hop.asked) == 3
    clock.s += 25 * 3600
    await callout.ask(HOP, _anna())
    assert len(hop.asked) == 4


async def test_a_mailbox_that_cannot_exist_is_asked_for_too() -> None:
    hop = _Hop()
    callout = Callout(hop, _Clock())
    await callout.ask(HOP, _anna())
    ((asked, probe),) = hop.asked
    assert asked == "anna@example.org"
    assert probe.endswith("@example.org")
    assert len(probe) == 20 + len("@example.org")
    await callout.ask(HOP, _bert())
    assert hop.asked[1] == ["bert0@example.org"]  # known not to take everything


async def test_who_takes_everybody_is_not_asked_again() -> None:
    hop, clock = _Hop(other=_reply(250)), _Clock()
    callout = Callout(hop, clock)
    for n in range(5):
        assert await callout.ask(HOP, _bert(n)) is Existence.KNOWN
    assert len(hop.asked) == 1
    for round_ in (2, 3):  # found out anew each time the answer is too old
        clock.s += 7 * 3600
        for n in range(5):
            assert await callout.ask(HOP, _bert(10 * round_ + n)) is Existence.KNOWN
        assert [len(addresses) for addresses in hop.asked] == [2] * round_


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_reply(550), Existence.UNKNOWN),
        (_reply(550, "5.1.1"), Existence.UNKNOWN),
        (_reply(550, "5.4.1"), Existence.UNKNOWN),
        (_reply(554, "5.7.1"), Existence.UNSURE),
        (_reply(552, "5.2.2"), Existence.UNSURE),
        (_reply(450, "4.2.0"), Existence.UNSURE),
        (_reply(421), Existence.UNSURE),
        (None, Existence.UNSURE),
    ],
)
async def test_what_an_answer_means(answer: WireReply | None, expected: Existence) -> None:
    assert await Callout(_Hop(other=answer), _Clock()).ask(HOP, _bert()) is expected


async def test_a_next_hop_that_is_down_is_not_asked() -> None:
    hop = _Hop(down=True)
    assert await Callout(hop, _Clock()).ask(HOP, _anna()) is Existence.UNSURE
    assert hop.asked == []


async def test_questions_are_rationed_by_next_hop() -> None:
    hop, clock = _Hop(), _Clock()
    callout = Callout(hop, clock)
    found = [await callout.ask(HOP, _bert(n)) for n in range(50)]
    assert found.count(Existence.UNKNOWN) == len(hop.asked) == 20
    assert await callout.ask(SPARE, _bert(99)) is Existence.UNKNOWN
    clock.s += 1
    found = [await callout.ask(HOP, _bert(n)) for n in range(100, 110)]
    assert found.count(Existence.UNKNOWN) == 2


async def test_clients_share_a_question_and_one_that_leaves_ends_it_for_none() -> None:
    hop = _Hop(gate=asyncio.Event())
    callout = Callout(hop, _Clock())
    waiting = [asyncio.create_task(callout.ask(HOP, _anna())) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert hop.gate is not None
    hop.gate.set()
    assert await asyncio.gather(*waiting[1:]) == [Existence.KNOWN] * 4
    assert len(hop.asked) == 1


@dataclass
class _Routing:
    current: Generation


async def _check(rules: str, local: str, *hops: tuple[NextHop, Existence]) -> str:
    answers = dict(hops)

    class Answers:
        async def ask(self, hop: NextHop, address: Address) -> Existence:
            return answers[hop]

    domain = Domain(
        name="example.org",
        next_hops=tuple(answers) or (HOP,),
        recipients=parse_recipient_rules(rules),
    )
    routing = _Routing(Generation(number=1, created_at_ms=0, domains=(domain,)))
    served = ServedRecipients(routing, Answers() if hops else None)  # type: ignore[arg-type]
    found = await served.check(f"{local}@example.org", SESSION)
    return f"{found.code} {found.enhanced}" if isinstance(found, Reply) else found.key


@pytest.mark.parametrize(
    ("rules", "hops", "expected"),
    [
        ("list:anna", (), "550 5.1.1"),
        ("list:bert", (), "bert@example.org"),
        ("callout", (), "bert@example.org"),
        ("callout:defer", (), "450 4.2.0"),
        ("callout", ((HOP, Existence.UNKNOWN),), "550 5.1.1"),
        ("callout", ((HOP, Existence.KNOWN),), "bert@example.org"),
        ("callout", ((HOP, Existence.UNSURE),), "bert@example.org"),
        ("callout:defer", ((HOP, Existence.UNSURE),), "450 4.2.0"),
        ("callout", ((HOP, Existence.UNSURE), (SPARE, Existence.UNKNOWN)), "550 5.1.1"),
        ("callout", ((HOP, Existence.KNOWN), (SPARE, Existence.UNKNOWN)), "bert@example.org"),
    ],
)
async def test_what_the_client_hears(
    rules: str, hops: tuple[tuple[NextHop, Existence], ...], expected: str
) -> None:
    assert await _check(rules, "bert", *hops) == expected
