"""Each fault at each step of a hand-off, over real sockets, with the fate of every copy."""

import asyncio
import mmap
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.core.handoff import Phase
from gateway.core.routing import NextHop, NextHopKind
from gateway.delivery.outgoing import Outgoing
from gateway.net.nexthop import HandOff, Recipient, Transaction
from gateway.net.smtp_client import ConnectFault, SmtpConnection
from gateway.net.smtp_client_protocol import SmtpWire
from gateway.settings import DeliverySettings
from tests.fakes.sink import Fault, Script, Sink, recipients_of, sink

QUICK = DeliverySettings(connect_timeout_s=1, command_timeout_s=0.4, final_timeout_s=0.4)
PATIENT = DeliverySettings(connect_timeout_s=5, command_timeout_s=20, final_timeout_s=20)
NO_PIPELINING = ("SIZE 52428800", "8BITMIME", "SMTPUTF8")


@dataclass(frozen=True)
class Bytes:
    """Content from plain bytes, in chunks of a chosen size."""

    octets: bytes
    chunk_bytes: int = 256 * 1024

    @property
    def size_bytes(self) -> int:
        return len(self.octets)

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.octets), self.chunk_bytes):
            yield self.octets[start : start + self.chunk_bytes]

    def header_is_ascii(self) -> bool:
        return self.octets.partition(b"\r\n\r\n")[0].isascii()


MAIL = b"Subject: hello\r\n\r\nbody\r\n"


def transaction(
    content: bytes = MAIL,
    *recipients: str,
    mail_from: str = "from@example.org",
    smtputf8: bool = False,
    chunk_bytes: int = 256 * 1024,
) -> Transaction:
    spelled = recipients or ("a@trial.example",)
    return Transaction(
        mail_from=mail_from,
        recipients=tuple(Recipient(key=one.lower(), rcpt_to=one) for one in spelled),
        content=Bytes(content, chunk_bytes),
        smtputf8=smtputf8,
    )


async def connected(hop: NextHop, settings: DeliverySettings = PATIENT) -> SmtpConnection:
    connection = await SmtpConnection.connect(
        hop, hostname="gw.example", settings=settings, tls=None
    )
    assert isinstance(connection, SmtpConnection), connection
    return connection


async def hand_off(target: Sink, one: Transaction, settings: DeliverySettings = PATIENT) -> HandOff:
    connection = await connected(target.hop, settings)
    try:
        return await connection.transact(one)
    finally:
        connection.abort()


def fates(result: HandOff) -> list[str]:
    return [
        str(reply.code) if reply.phase is Phase.ANSWERED else reply.phase.value
        for reply in result.replies
    ]


@pytest.mark.parametrize("offers", [(), NO_PIPELINING, ("PIPELINING",)])
async def test_a_message_arrives_byte_exact(offers: tuple[str, ...]) -> None:
    async with sink(Script(offers=offers)) as target:
        result = await hand_off(target, transaction(MAIL, "a@trial.example", "b@trial.example"))
    assert fates(result) == ["250", "250"]
    assert [reply.recipient for reply in result.replies] == ["a@trial.example", "b@trial.example"]
    (message,) = target.messages
    assert message.raw == MAIL + b".\r\n"
    assert message.rcpt_to == ["a@trial.example", "b@trial.example"]
    assert not result.fault


async def test_the_null_reverse_path_stays_null() -> None:
    async with sink() as target:
        await hand_off(target, transaction(mail_from=""))
    assert target.messages[0].mail_from == ""
    assert any(line.startswith("MAIL FROM:<> ") for line in target.commands)


WIRE_CASES = {
    "dots": b"a: b\r\n\r\n.\r\n..\r\n.x\r\nx.\r\n",
    "first octet is a dot": b".a: b\r\n\r\n",
    "no final line end": b"a: b\r\n\r\nbody",
    "ends in a dot": b"a: b\r\n\r\nbody\r\n.",
    "empty": b"",
    "empty body": b"a: b\r\n\r\n",
    "8 bit": b"a: b\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    "NUL": b"a: b\r\n\r\n\x00\r\n",
    "long line": b"a: b\r\n\r\n" + b"x" * 70_000 + b"\r\n.y\r\n",
    "many dots": b"a: b\r\n\r\n" + b".\r\n" * 5_000,
}


@pytest.mark.parametrize(
    ("name", "chunk_bytes"),
    [
        (name, chunk_bytes)
        for name, content in WIRE_CASES.items()
        for chunk_bytes in (1, 2, 3, 7, 1000, 1 << 18)
        if len(content) < 1000 or chunk_bytes > 10  # the same paths, only slower
    ],
)
async def test_the_wire_carries_the_message_whatever_the_chunks(
    name: str, chunk_bytes: int
) -> None:
    content = WIRE_CASES[name]
    async with sink() as target:
        result = await hand_off(target, transaction(content, chunk_bytes=chunk_bytes))
    assert fates(result) == ["250"]
    expected = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert target.messages[0].content == expected


@pytest.mark.parametrize("chunk_bytes", [1, 2, 5, 1 << 18])
@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\r", b"\r\n.\n", b"\r\r\n.\r\n"]
)
async def test_no_bare_cr_or_lf_leaves_and_nothing_is_smuggled(
    end: bytes, chunk_bytes: int
) -> None:
    smuggled = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<x@trial.example>\r\nDATA\r\n"
    content = b"a: b\r\n\r\nbody" + end + smuggled
    async with sink() as target:
        result = await hand_off(target, transaction(content, chunk_bytes=chunk_bytes))
        await asyncio.sleep(0)
    assert fates(result) == ["250"]
    (message,) = target.messages
    assert message.raw.replace(b"\r\n", b"").count(b"\r") == 0
    assert message.raw.replace(b"\r\n", b"").count(b"\n") == 0
    assert message.raw.endswith(b"DATA\r\n.\r\n")
    assert not [line for line in target.commands if "evil" in line]


F = Fault
STEP_CASES: list[tuple[str, str | Fault, list[str]]] = [
    ("mail", "451 4.3.0 later", ["451", "451"]),
    ("mail", "550 5.7.1 never", ["550", "550"]),
    ("mail", "421 4.3.2 closing", ["421", "421"]),
    ("mail", F.HANG, ["before_dot", "before_dot"]),
    ("mail", F.CLOSE, ["before_dot", "before_dot"]),
    ("mail", F.RESET, ["before_dot", "before_dot"]),
    ("mail", F.GARBAGE, ["before_dot", "before_dot"]),
    ("mail", F.ENDLESS, ["before_dot", "before_dot"]),
    ("mail", F.LONG_LINE, ["before_dot", "before_dot"]),
    ("rcpt", "450 4.2.1 later", ["450", "450"]),
    ("rcpt", "550 5.1.1 who?", ["550", "550"]),
    ("rcpt", F.CLOSE, ["before_dot", "before_dot"]),
    ("rcpt", F.HANG, ["before_dot", "before_dot"]),
    ("rcpt", F.GARBAGE, ["before_dot", "before_dot"]),
    ("data", "451 4.3.0 later", ["451", "451"]),
    ("data", "554 5.7.1 never", ["554", "554"]),
    ("data", "250 what?", ["before_dot", "before_dot"]),
    ("data", F.HANG, ["before_dot", "before_dot"]),
    ("data", F.CLOSE, ["before_dot", "before_dot"]),
    ("data", F.GARBAGE, ["before_dot", "before_dot"]),
    ("final", "451 4.3.0 later", ["451", "451"]),
    ("final", "552 5.2.2 full", ["552", "552"]),
    ("final", "421 4.3.2 closing", ["421", "421"]),
    ("final", "354 what?", ["after_dot", "after_dot"]),
    ("final", F.HANG, ["after_dot", "after_dot"]),
    ("final", F.CLOSE, ["after_dot", "after_dot"]),
    ("final", F.RESET, ["after_dot", "after_dot"]),
    ("final", F.GARBAGE, ["after_dot", "after_dot"]),
    ("final", F.ENDLESS, ["after_dot", "after_dot"]),
    ("final", F.LONG_LINE, ["after_dot", "after_dot"]),
]


@pytest.mark.parametrize("offers", [NO_PIPELINING, ("PIPELINING", *NO_PIPELINING)])
@pytest.mark.parametrize(("step", "answer", "expected"), STEP_CASES)
async def test_each_fault_at_each_step_settles_every_copy(
    step: str, answer: str | Fault, expected: list[str], offers: tuple[str, ...]
) -> None:
    async with sink(Script(answers={step: answer}, offers=offers)) as target:
        one = transaction(MAIL, "a@trial.example", "b@trial.example")
        result = await hand_off(target, one, QUICK)
    assert fates(result) == expected
    assert target.messages == []
    assert all(reply.text for reply in result.replies)
    if "dot" in expected[0]:
        assert result.fault


@pytest.mark.parametrize("step", ["greeting", "ehlo"])
@pytest.mark.parametrize(
    "answer", ["421 no", "554 no", F.HANG, F.CLOSE, F.RESET, F.GARBAGE, F.ENDLESS, F.LONG_LINE]
)
async def test_a_conversation_that_does_not_begin_is_a_value(
    step: str, answer: str | Fault
) -> None:
    async with sink(Script(answers={step: answer})) as target:
        fault = await SmtpConnection.connect(
            target.hop, hostname="gw.example", settings=QUICK, tls=None
        )
    assert isinstance(fault, ConnectFault)
    assert fault.text
    assert not fault.tls


async def test_a_closed_port_and_a_name_without_address_are_values() -> None:
    async with sink() as target:
        hop = target.hop
    for nowhere in (hop, NextHop(kind=NextHopKind.SMTP, host="nohost.invalid", port=25)):
        fault = await SmtpConnection.connect(
            nowhere, hostname="gw.example", settings=QUICK, tls=None
        )
        assert isinstance(fault, ConnectFault)
        assert "connect" in fault.text


async def test_helo_follows_a_refused_ehlo() -> None:
    async with sink(Script(answers={"ehlo": "502 5.5.1 old"})) as target:
        result = await hand_off(target, transaction())
    assert fates(result) == ["250"]
    assert [line.split()[0] for line in target.commands[:3]] == ["EHLO", "HELO", "MAIL"]


@pytest.mark.parametrize("offers", [NO_PIPELINING, ("PIPELINING", *NO_PIPELINING)])
async def test_each_recipient_has_its_own_fate(offers: tuple[str, ...]) -> None:
    script = Script(
        by_rcpt={"b@trial.example": "550 5.1.1 who?", "c@trial.example": "451 4.2.0 busy"},
        offers=offers,
    )
    async with sink(script) as target:
        result = await hand_off(
            target, transaction(MAIL, "a@trial.example", "b@trial.example", "c@trial.example")
        )
    assert fates(result) == ["250", "550", "451"]
    assert [reply.enhanced for reply in result.replies] == ["2.0.0", "5.1.1", "4.2.0"]
    assert recipients_of(target.messages) == ["a@trial.example"]


@pytest.mark.parametrize("size", [100, 2_000_000])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (F.CLOSE, "before_dot"),
        (F.RESET, "before_dot"),
        (F.HANG, "before_dot"),
        ("552 5.3.4 too big", "552"),
        ("451 4.3.1 full", "451"),
        ("250 2.0.0 eager yes", "before_dot"),
    ],
)
async def test_a_fault_within_a_large_message_leaves_no_doubt(
    answer: str | Fault, expected: str, size: int
) -> None:
    """The final dot never left, or the peer had already refused: never AFTER_DOT, never 2yz."""
    content = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 1_500_000
    script = Script(answers={"in_data": answer}, in_data_after=size)
    async with sink(script) as target:
        result = await hand_off(target, transaction(content), QUICK)
    assert fates(result) == [expected]
    assert result.content_sent
    assert target.messages == []


@pytest.mark.parametrize("eager", ["250 2.0.0 taken", "451 4.3.0 no"])
async def test_an_answer_before_the_message_is_none_to_it(eager: str) -> None:
    """Else a message that was never read would count as delivered."""
    async with sink(Script(answers={"data": f"354 go on\r\n{eager}"})) as target:
        result = await hand_off(target, transaction(), QUICK)
        await asyncio.sleep(0.02)
        assert target.messages == []
    assert fates(result) == ["before_dot"]


class FailingTransport(asyncio.Transport):
    """Breaks within ``write``, as a socket does whose peer is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.broken = True

    def is_closing(self) -> bool:
        return self.broken

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


async def test_octets_dropped_by_a_failing_write_are_not_taken_for_sent() -> None:
    wire = SmtpWire()
    wire.connection_made(FailingTransport())
    assert wire.flushed
    wire.write(b".\r\n")
    wire.connection_lost(BrokenPipeError())
    assert not wire.flushed


async def test_a_peer_that_stops_reading_never_gets_the_dot() -> None:
    content = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 1_500_000
    async with sink(Script(read_pause=True)) as target:
        result = await hand_off(target, transaction(content), QUICK)
    assert fates(result) == ["before_dot"]


async def test_a_last_piece_stuck_in_our_own_memory_was_not_sent() -> None:
    """One chunk, so the dot is written with it; the kernel takes only a part of it."""
    content = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 1_500_000
    async with sink(Script(read_pause=True)) as target:
        result = await hand_off(target, transaction(content, chunk_bytes=1 << 30), QUICK)
    assert fates(result) == ["before_dot"]


@pytest.mark.parametrize("lone", [True, False])
async def test_data_that_is_taken_without_a_recipient_ends_empty(lone: bool) -> None:
    script = Script(answers={"rcpt": "550 5.1.1 who?"}, accept_data_without_recipient=lone)
    async with sink(script) as target:
        connection = await connected(target.hop)
        first = await connection.transact(transaction())
        target.script.answers.clear()
        second = await connection.transact(transaction())
        connection.abort()
    assert (fates(first), fates(second)) == (["550"], ["250"])
    assert [message.raw for message in target.messages] == [MAIL + b".\r\n"]


async def test_a_refused_transaction_is_reset_before_the_next() -> None:
    async with sink(Script(by_rcpt={"bad@trial.example": "550 no"})) as target:
        connection = await connected(target.hop)
        for address in ("bad@trial.example", "a@trial.example", "b@trial.example"):
            await connection.transact(transaction(MAIL, address))
        connection.abort()
    assert recipients_of(target.messages) == ["a@trial.example", "b@trial.example"]
    assert target.commands.count("RSET") == 1
    assert target.connections == 1


async def test_too_many_recipients_in_old_words_means_later() -> None:
    script = Script(by_rcpt={"b@trial.example": "552 too many recipients"})
    async with sink(script) as target:
        result = await hand_off(target, transaction(MAIL, "a@trial.example", "b@trial.example"))
    assert fates(result) == ["250", "452"]


async def test_lmtp_answers_for_each_recipient() -> None:
    script = Script(
        by_rcpt={"no@trial.example": "550 5.1.1 who?"},
        final_by_rcpt={"full@trial.example": "452 4.2.2 full", "never@trial.example": "554 5.0.0"},
    )
    names = ("a", "no", "full", "never", "b")
    async with sink(script, lmtp=True) as target:
        result = await hand_off(
            target, transaction(MAIL, *(f"{name}@trial.example" for name in names))
        )
    assert fates(result) == ["250", "550", "452", "554", "250"]
    assert recipients_of(target.messages) == ["a@trial.example", "b@trial.example"]
    assert target.commands[0] == "LHLO gw.example"


async def test_lmtp_lost_between_two_answers_leaves_the_first_certain() -> None:
    script = Script(final_by_rcpt={"b@trial.example": F.CLOSE})
    async with sink(script, lmtp=True) as target:
        names = ("a@trial.example", "b@trial.example", "c@trial.example")
        result = await hand_off(target, transaction(MAIL, *names))
    assert fates(result) == ["250", "after_dot", "after_dot"]
    assert recipients_of(target.messages) == ["a@trial.example"]


async def test_lmtp_without_a_valid_recipient_gets_no_content() -> None:
    script = Script(answers={"rcpt": "550 5.1.1 who?"}, accept_data_without_recipient=True)
    async with sink(script, lmtp=True) as target:
        result = await hand_off(target, transaction())
    assert fates(result) == ["550"]
    assert target.messages == []


async def test_a_dripping_peer_is_understood() -> None:
    async with sink(Script(drip=True)) as target:
        result = await hand_off(target, transaction())
    assert fates(result) == ["250"]


@pytest.mark.parametrize("offers", [NO_PIPELINING, ("PIPELINING", *NO_PIPELINING)])
async def test_a_peer_that_is_just_patient_enough_has_an_end(offers: tuple[str, ...]) -> None:
    """Each answer comes within its own timeout; all of them together do not."""
    settings = QUICK.model_copy(update={"command_timeout_s": 0.2})
    names = [f"r{number}@trial.example" for number in range(40)]
    async with sink(Script(offers=offers)) as target:
        connection = await connected(target.hop, settings)
        target.script.delay_s = 0.1
        result = await connection.transact(transaction(MAIL, *names))
        connection.abort()
    assert fates(result) == ["before_dot"] * 40
    assert len(target.commands) < 40
    assert result.timed_out


async def test_texts_are_bounded_and_printable() -> None:
    text = "550 5.7.1 \x1b[31mred\x07 " + "y" * 3000
    async with sink(Script(answers={"mail": text})) as target:
        result = await hand_off(target, transaction())
    (reply,) = result.replies
    assert reply.text.isprintable()
    assert len(reply.text) <= 500
    assert reply.text.startswith("?[31mred?")


async def test_a_cancelled_hand_off_cuts_the_connection() -> None:
    async with sink(Script(answers={"final": F.HANG})) as target:
        connection = await connected(target.hop)
        task = asyncio.create_task(connection.transact(transaction()))
        while not any(line == "DATA" for line in target.commands):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not connection.usable


async def test_twenty_megabytes_from_a_mapped_file_arrive_octet_for_octet() -> None:
    line = b".".join(b"%d" % number for number in range(250)) + b" \xe4\r\n"
    content = b"Subject: big\r\n\r\n" + (line + b".dots\r\n") * 23_000
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            pieces = (b"X-Ours: 1\r\n", range(len(mapped)))
            made = Outgoing(content=mapped, pieces=pieces, header_stop=14)
            recipients = (Recipient(key="a@trial.example", rcpt_to="a@trial.example"),)
            one = Transaction(mail_from="f@example.org", recipients=recipients, content=made)
            async with sink() as target:
                result = await hand_off(target, one)
    assert fates(result) == ["250"]
    assert target.messages[0].content == b"X-Ours: 1\r\n" + content
    assert len(content) > 20_000_000
