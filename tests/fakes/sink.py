"""An SMTP and LMTP sink on a real socket whose every step can be scripted to go wrong.

It records what came byte-exact: all octets of a connection (``wire``) and, per message, the octets
after DATA up to and including the final dot, still dot-stuffed (``raw``).
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

from gateway.core.routing import NextHop, NextHopKind


class Fault(Enum):
    """What the sink does instead of answering."""

    HANG = "hang"  # says nothing more, keeps the connection
    CLOSE = "close"  # closes without a word
    RESET = "reset"  # closes with a TCP reset
    GARBAGE = "garbage"  # answers with something that is no SMTP
    ENDLESS = "endless"  # a reply whose lines never end
    LONG_LINE = "long_line"  # a reply line without end


Answer = str | Fault | None  # None: the step's normal answer


@dataclass
class SinkMessage:
    """One message as it came; ``helo`` and commands beside the octets of DATA."""

    mail_from: str
    rcpt_to: list[str]
    raw: bytes
    tls: bool

    @property
    def content(self) -> bytes:
        """Dots unstuffed, the final dot taken off."""
        assert self.raw.endswith(b"\r\n.\r\n") or self.raw == b".\r\n"
        body = self.raw[:-3]
        body = body[1:] if body.startswith(b"..") else body
        return body.replace(b"\r\n..", b"\r\n.")


@dataclass
class Script:
    """The answer of each step; a step not named answers well.

    Steps: ``greeting``, ``ehlo``, ``helo``, ``starttls``, ``rset``, ``mail``, ``rcpt``, ``data``,
    ``in_data`` (after ``in_data_after`` octets of content), ``final``, ``quit``. ``by_rcpt`` and
    ``final_by_rcpt`` (LMTP) go by the address; ``delay_s`` waits before each answer.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    by_rcpt: dict[str, Answer] = field(default_factory=dict)
    final_by_rcpt: dict[str, Answer] = field(default_factory=dict)
    in_data_after: int = 0
    read_pause: bool = False  # stop reading in DATA, so that our side's buffers fill
    delay_s: float = 0.0
    drip: bool = False  # answers leave one octet at a time
    offers: tuple[str, ...] = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8")
    tls: ssl.SSLContext | None = None
    accept_data_without_recipient: bool = False
    close_after: tuple[str, ...] = ()  # steps after whose answer the connection is closed
    take_before_fault: bool = False  # with a Fault as ``final``: taken all the same


class Sink:
    """Serves until closed. ``script`` may be changed between connections."""

    def __init__(self, script: Script | None = None, *, lmtp: bool = False) -> None:
        self.script = script or Script()
        self.lmtp = lmtp
        self.messages: list[SinkMessage] = []
        self.wires: list[bytearray] = []
        self.commands: list[str] = []
        self.connections = 0
        self.open_connections = 0
        self.most_open = 0
        self.on_message: Callable[[SinkMessage], None] | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._released = asyncio.Event()
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse new connections and drop all that are open."""
        if self._server is not None:
            self._server.close()
        self._released.set()
        for writer in list(self._writers):
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=5)
        if self._server is not None:
            await self._server.wait_closed()

    def drop_connections(self) -> None:
        """Close what is open, keep listening: what an idle timeout of the peer does."""
        for writer in list(self._writers):
            writer.close()

    @property
    def hop(self) -> NextHop:
        kind = NextHopKind.LMTP if self.lmtp else NextHopKind.SMTP
        return NextHop(kind=kind, host="127.0.0.1", port=self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        plain = writer.transport
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        self.open_connections += 1
        self.most_open = max(self.most_open, self.open_connections)
        try:
            await _Conversation(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, _OverError):
            pass
        finally:
            self.open_connections -= 1
            self._writers.discard(writer)
            self._tasks.discard(task)
            plain.abort()
            writer._transport = plain  # a handshake that failed left None there, or a dead one

    async def hang(self) -> None:
        await self._released.wait()
        raise _OverError

    async def wait_for(self, count: int) -> None:
        """Until that many messages came; the test's own timeout bounds it."""
        while len(self.messages) < count:
            await asyncio.sleep(0.005)


class _OverError(Exception):
    """This conversation is over."""


class _Conversation:
    def __init__(
        self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.sink = sink
        self.reader = reader
        self.writer = writer
        self.script = sink.script
        if "in_data" in self.script.answers:
            # Linux lets a receive buffer grow to 32 MB by itself: more than "a large message".
            accepted: socket.socket = writer.get_extra_info("socket")
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.wire = bytearray()
        sink.wires.append(self.wire)
        self.mail_from: str | None = None
        self.rcpt_to: list[str] = []
        self.tls = False

    async def run(self) -> None:
        await self.answer("greeting", "220 sink.test ESMTP")
        while line := await self.reader.readline():
            self.wire += line
            assert line.endswith(b"\r\n"), f"command not ended by CRLF: {line!r}"
            text = line[:-2].decode("utf-8")
            self.sink.commands.append(text)
            verb = text.split(" ", 1)[0].upper()
            handler = getattr(self, f"do_{verb.lower()}", None)
            if handler is None:
                await self.say("500 5.5.1 what?")
            else:
                await handler(text)

    async def say(self, text: str) -> None:
        if self.script.delay_s:
            await asyncio.sleep(self.script.delay_s)
        octets = text.encode() + b"\r\n"
        if self.script.drip:
            for octet in octets:
                self.writer.write(bytes([octet]))
                await self.writer.drain()
                await asyncio.sleep(0)
            return
        self.writer.write(octets)
        await self.writer.drain()

    async def answer(
        self, step: str, normal: str, answer: Answer = None, *, positive: str = "23"
    ) -> bool:
        """Say the scripted answer of a step; True when it was positive."""
        scripted = answer if answer is not None else self.script.answers.get(step)
        if isinstance(scripted, Fault):
            await self.misbehave(scripted)
        said = scripted or normal
        await self.say(said)
        if said.startswith("421") or step in self.script.close_after:
            raise _OverError
        return said[0] in positive

    async def misbehave(self, fault: Fault) -> None:
        match fault:
            case Fault.HANG:
                await self.sink.hang()
            case Fault.CLOSE:
                with contextlib.suppress(ConnectionError):
                    self.writer.close()
                    await self.writer.wait_closed()
                raise _OverError
            case Fault.RESET:
                self.writer.transport.abort()
                raise _OverError
            case Fault.GARBAGE:
                await self.say("\x00\xff lorem ipsum")
            case Fault.ENDLESS:
                for _ in range(1000):
                    await self.say("250-more")
            case Fault.LONG_LINE:
                await self.say("250 " + "x" * 100_000)
        await self.sink.hang()

    async def do_ehlo(self, text: str) -> None:
        offers = list(self.script.offers)
        if self.script.tls is not None and not self.tls:
            offers.append("STARTTLS")
        lines = ["sink.test greets you", *offers]
        normal = "\r\n".join(f"250-{line}" for line in lines[:-1])
        normal = f"{normal}\r\n250 {lines[-1]}" if normal else f"250 {lines[-1]}"
        await self.answer("ehlo", normal)

    do_lhlo = do_ehlo

    async def do_helo(self, text: str) -> None:
        await self.answer("helo", "250 sink.test")

    async def do_starttls(self, text: str) -> None:
        if await self.answer("starttls", "220 go ahead"):
            assert self.script.tls is not None
            await self.writer.start_tls(self.script.tls)
            self.tls = True

    async def do_rset(self, text: str) -> None:
        self.mail_from, self.rcpt_to = None, []
        await self.answer("rset", "250 2.0.0 reset")

    async def do_noop(self, text: str) -> None:
        await self.say("250 2.0.0 ok")

    async def do_quit(self, text: str) -> None:
        await self.answer("quit", "221 2.0.0 bye")
        self.writer.close()
        raise _OverError

    async def do_mail(self, text: str) -> None:
        if self.mail_from is not None:
            await self.say("503 5.5.1 nested MAIL")
        elif await self.answer("mail", "250 2.1.0 ok"):
            self.mail_from = text[len("MAIL FROM:<") :].split(">", 1)[0]

    async def do_rcpt(self, text: str) -> None:
        address = text[len("RCPT TO:<") :].rsplit(">", 1)[0]
        if self.mail_from is None:
            await self.say("503 5.5.1 need MAIL")
        elif await self.answer("rcpt", "250 2.1.5 ok", self.script.by_rcpt.get(address)):
            self.rcpt_to.append(address)

    async def do_data(self, text: str) -> None:
        if not self.rcpt_to and not self.script.accept_data_without_recipient:
            await self.say("503 5.5.1 need RCPT")
            return
        if not await self.answer("data", "354 go on"):
            return
        raw = await self.read_content()
        message = SinkMessage(self.mail_from or "", list(self.rcpt_to), raw, self.tls)
        self.mail_from, self.rcpt_to = None, []
        if not message.rcpt_to:
            await self.say("554 5.5.1 no valid recipients")
        elif self.sink.lmtp:
            await self.final_lmtp(message)
        else:
            await self.final(message, message.rcpt_to, "250 2.0.0 taken")

    async def final_lmtp(self, message: SinkMessage) -> None:
        for address in message.rcpt_to:
            scripted = self.script.final_by_rcpt.get(address)
            await self.final(message, [address], f"250 2.0.0 <{address}> taken", scripted)

    async def final(
        self, message: SinkMessage, rcpt_to: list[str], normal: str, answer: Answer = None
    ) -> None:
        scripted = answer if answer is not None else self.script.answers.get("final")
        if isinstance(scripted, Fault) and self.script.take_before_fault:
            self.take(message, rcpt_to)
        if await self.answer("final", normal, scripted or normal, positive="2"):
            self.take(message, rcpt_to)

    def take(self, message: SinkMessage, rcpt_to: list[str]) -> None:
        taken = SinkMessage(message.mail_from, rcpt_to, message.raw, message.tls)
        self.sink.messages.append(taken)
        if self.sink.on_message is not None:
            self.sink.on_message(taken)

    async def read_content(self) -> bytes:
        raw = bytearray()
        if "in_data" in self.script.answers:
            while len(raw) < self.script.in_data_after:
                raw += await self.read_some()
            scripted = self.script.answers["in_data"]
            if isinstance(scripted, Fault):
                await self.misbehave(scripted)
            await self.say(str(scripted))
            raise _OverError
        while not (raw.endswith(b"\r\n.\r\n") or raw == b".\r\n"):
            raw += await self.read_some()
        return bytes(raw)

    async def read_some(self) -> bytes:
        if self.script.read_pause:
            self.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await self.sink.hang()
        octets = await self.reader.readline()
        if not octets:
            raise _OverError
        self.wire += octets
        return octets


@asynccontextmanager
async def sink(
    script: Script | None = None, *, lmtp: bool = False, port: int = 0
) -> AsyncIterator[Sink]:
    """A running sink for one test."""
    one = Sink(script, lmtp=lmtp)
    await one.start(port)
    try:
        yield one
    finally:
        await one.stop()


def recipients_of(messages: Iterable[SinkMessage]) -> list[str]:
    """Every copy that was taken, in order."""
    return [address for message in messages for address in message.rcpt_to]
