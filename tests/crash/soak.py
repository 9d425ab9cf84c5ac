"""The parts of the soak: fast clients with a ledger, a next hop that counts, and memory samples."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from tests.crash.matrix import GTUBE, MAIL
from tests.fakes.gateway import Gateway
from tests.fakes.ledger import MARK, Copies, Entry, number_of
from tests.fakes.sink import Fault, Sink, SinkMessage

KINDS = (  # of a hundred messages: what is in it, and to whom
    (80, "das Angebot", ("clean@trial.example",)),
    (12, "die Rechnung", ("clean@flaky.example",)),
    (4, GTUBE, ("spam@trial.example",)),
    (2, "der Plan", ("clean@trial.example", "clean@flaky.example")),
    (2, GTUBE, ("mixed@trial.example", "mixed@tolerant.example")),
)
_TABLE = [(body, to) for share, body, to in KINDS for _ in range(share)]
_PER_CONNECTION = 10
_PATIENCE_S = 300.0
_READ_S = 60.0


def entry(number: int) -> Entry:
    """Message ``number``; its bytes are made when it is sent."""
    return Entry(number=number, content=b"", recipients=_TABLE[number * 37 % 100][1])


def content(number: int) -> bytes:
    """The bytes of message ``number``."""
    text = MAIL.format(number=number, body=_TABLE[number * 37 % 100][0]).encode()
    return MARK + b"%d\r\n" % number + text


class CountingSink(Sink):
    """A next hop that keeps no bytes: which copies it took, and which it took without saying so."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: Copies = Counter()
        self.unanswered: Copies = Counter()
        self.on_message = self._count

    def _count(self, message: SinkMessage) -> None:
        keys = [(number_of(message.content), recipient) for recipient in message.rcpt_to]
        self.copies.update(keys)
        if isinstance(self.script.answers.get("final"), Fault):
            self.unanswered.update(keys)
        self.messages.clear()
        self.commands.clear()
        for wire in self.wires:
            wire.clear()
        del self.wires[:-100]


@dataclass(slots=True)
class Crowd:
    """Clients that send all entries up to ``limit``, each until it has a final answer."""

    port: int
    entries: list[Entry]
    clients: int = 16
    limit: int = 0
    sent: int = 0
    _next: int = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.clients):
                group.create_task(self._client())

    async def _client(self) -> None:
        connection: _Connection | None = None
        while self._next < len(self.entries):
            if self._next >= self.limit:
                await asyncio.sleep(0.02)
                continue
            one = self.entries[self._next]
            self._next += 1
            end = time.monotonic() + _PATIENCE_S
            while not (one.taken or one.refused):
                assert time.monotonic() < end, f"no final answer for {one.number}: {one.answers}"
                connection = connection or _Connection(self.port)
                if not await connection.send(one):
                    connection = None
            self.sent += 1
            if connection is not None and connection.used >= _PER_CONNECTION:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


class _Connection:
    """One connection to the gateway; commands go in one packet (RFC 2920)."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.used = 0
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, one: Entry) -> bool:
        """One transaction, noted in the entry; whether the connection can be used again."""
        said = False
        try:
            async with asyncio.timeout(_READ_S):
                code = await self._envelope(one)
                if code == 354:
                    said = True
                    assert self._writer is not None
                    self._writer.write(content(one.number) + b".\r\n")
                    code = await self._reply()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            code = 0
        one.answers.append(code)
        one.unanswered += said and code == 0
        self.used += 1
        if code == 250:
            return True
        self.close()
        if not one.refused:
            await asyncio.sleep(0.1)
        return False

    async def _envelope(self, one: Entry) -> int:
        """354, or the first answer that is none of those that lead there."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
            if (code := await self._reply()) != 220:
                return code
            self._writer.write(b"EHLO client.elsewhere.example\r\n")
            if (code := await self._reply()) != 250:
                return code
        rcpts = b"".join(b"RCPT TO:<%b>\r\n" % to.encode() for to in one.recipients)
        self._writer.write(b"MAIL FROM:<sender@elsewhere.example>\r\n" + rcpts + b"DATA\r\n")
        for _ in range(1 + len(one.recipients)):
            if (code := await self._reply()) != 250:
                return code
        return await self._reply()

    async def _reply(self) -> int:
        while line := await self._reader.readline():
            if line[3:4] != b"-":
                return int(line[:3])
        raise ConnectionResetError

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@dataclass(slots=True)
class Memory:
    """Resident memory of every process of a gateway, against the messages sent so far."""

    seen: dict[tuple[str, int], list[tuple[int, int]]] = field(default_factory=dict)

    def sample(self, gateway: Gateway, sent: int) -> None:
        if gateway.process is None:
            return
        try:
            found = {("supervisor", gateway.process.pid): psutil.Process(gateway.process.pid)}
            for role, children in gateway.children().items():
                found |= {(role, child.pid): child for child in children}
        except psutil.Error:
            return
        for key, process in found.items():
            try:
                rss_bytes = process.memory_info().rss
            except psutil.Error:
                continue
            self.seen.setdefault(key, []).append((sent, rss_bytes))

    def rows(self) -> list[tuple[str, int, int, int, int, int, int]]:
        """Role, pid, first and last message, and megabytes at start, middle and end."""
        rows = []
        for (role, pid), points in sorted(self.seen.items(), key=lambda one: one[1][0]):
            (first, start), (last, end) = points[0], points[-1]
            middle = points[len(points) // 2][1]
            rows.append((role, pid, first, last, start >> 20, middle >> 20, end >> 20))
        return rows

    def growth_bytes(self, over: int) -> dict[tuple[str, int], int]:
        """How much each process grew in its second half, if that was at least ``over`` messages.

        In its first half caches, pools and the allocator fill.
        """
        grown = {}
        for key, points in self.seen.items():
            half = points[len(points) // 2 :]
            if half[-1][0] - half[0][0] >= over:
                quarter = max(1, len(half) // 4)
                late = max(rss for _, rss in half[-quarter:])
                early = max(rss for _, rss in half[:quarter])
                grown[key] = late - early
        return grown


async def every(seconds: float, call: Callable[[], object]) -> None:
    """Call now and then, in a thread, until cancelled."""
    while True:
        await asyncio.to_thread(call)
        await asyncio.sleep(seconds)
