"""The generator: many clients that send real mail, in a process of its own. ``python -m`` runs it.

Each request is one JSON line: ``port``, ``mails`` (a file of real_mail.write_mails), ``messages``,
``first`` (where in the file to begin), ``connections`` (at once, for saturation) or ``rate``
(messages a second, in random arrivals of a fixed seed), ``per_connection``, ``network`` (first two
octets of the clients' addresses) and ``recipient``. A client says EHLO, sends MAIL, RCPT and DATA
in one packet as RFC 2920 allows, then the message, and QUIT at the end.

Latency is from the moment a message was due (for the first of a connection: before connecting) to
the reply to its final dot, so a queue at the gateway is seen even when clients have to wait.
"""

import asyncio
import collections
import gc
import json
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any, cast

import uvloop

from tests.perf.real_mail import load_mails

_PATIENCE_S = 60.0
_STEPS = (b"220", b"250", b"250", b"250", b"354", b"250", b"221")
_BANNER, _EHLO, _MAIL, _RCPT, _DATA, _FINAL, _QUIT = range(7)


class Run:
    """One request and what came of it."""

    def __init__(self, request: dict[str, Any], mails: list[tuple[bytes, bytes]]) -> None:
        self.request = request
        self.mails = mails
        self.recipient = request["recipient"].encode()
        self.codes: collections.Counter[str] = collections.Counter()
        self.latencies_ms: list[float] = []
        self.last_s = 0.0
        self.octets = 0

    def finished(self, code: bytes, due_s: float) -> None:
        now = time.monotonic()
        self.codes[code.decode()] += 1
        self.latencies_ms.append((now - due_s) * 1000)
        self.last_s = now

    def failed(self, why: str, messages: int) -> None:
        self.codes[why] += messages


class Client(asyncio.Protocol):
    """One connection that brings the messages of ``numbers``."""

    def __init__(self, run: Run, numbers: range, due_s: float, ended: asyncio.Future[None]) -> None:
        self.run = run
        self.left = collections.deque(numbers)
        self.due_s = due_s
        self.ended = ended
        self.step = _BANNER
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-":
                self.reply(line[:3])

    def reply(self, code: bytes) -> None:
        step = self.step
        self.step += 1
        if code != _STEPS[step]:
            if self.left:
                self.run.failed(f"{step}:{code.decode()}", len(self.left))
                self.left.clear()
            self.transport.close()
        elif step == _BANNER:
            self.transport.write(b"EHLO client.elsewhere.example\r\n")
        elif step == _EHLO:
            self.begin()
        elif step == _DATA:
            run, number = self.run, self.left[0]
            content = run.mails[number % len(run.mails)][1]
            run.octets += len(content)
            # A field of its own makes every message another one, whatever hashes it.
            self.transport.write(b"X-Bench: %d\r\n%b.\r\n" % (number, content))
        elif step == _FINAL:
            self.left.popleft()
            self.run.finished(code, self.due_s)
            if self.left:
                self.due_s = time.monotonic()
                self.begin()
            else:
                self.transport.write(b"QUIT\r\n")
        elif step == _QUIT:
            self.transport.close()

    def begin(self) -> None:
        self.step = _MAIL
        sender = self.run.mails[self.left[0] % len(self.run.mails)][0]
        self.transport.write(
            b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n" % (sender, self.run.recipient)
        )

    def connection_lost(self, error: Exception | None) -> None:
        if self.left:
            self.run.failed("lost", len(self.left))
        if not self.ended.done():
            self.ended.set_result(None)


async def connect(run: Run, numbers: range, due_s: float) -> None:
    """One connection from its beginning to its end."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    place = numbers.start // run.request["per_connection"]
    source = f"{run.request['network']}.{place // 250 % 250 + 1}.{place % 250 + 1}"
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await loop.create_connection(
                lambda: Client(run, numbers, due_s, ended),
                run.request.get("host", "127.0.0.1"),
                run.request["port"],
                local_addr=(source, 0),
            )
            await ended
    except (TimeoutError, OSError) as error:
        run.failed(type(error).__name__, len(numbers))


async def saturate(run: Run, batches: list[range]) -> None:
    """So many connections at once, the next as soon as one ends."""
    waiting = iter(batches)

    async def client() -> None:
        for numbers in waiting:
            await connect(run, numbers, time.monotonic())

    await asyncio.gather(*(client() for _ in range(run.request["connections"])))


async def arrive(run: Run, batches: list[range]) -> None:
    """Connections at random moments, whatever the gateway does."""
    chance = random.Random(run.request["first"])
    per_second = run.request["rate"] / run.request["per_connection"]
    due_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for numbers in batches:
            due_s += chance.expovariate(per_second)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            group.create_task(connect(run, numbers, due_s))


async def perform(request: dict[str, Any], mails: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Carry out one request."""
    run = Run(request, mails)
    first, last = request["first"], request["first"] + request["messages"]
    size = request["per_connection"]
    batches = [range(at, min(at + size, last)) for at in range(first, last, size)]
    spent = resource.getrusage(resource.RUSAGE_SELF)
    began_s = time.monotonic()
    await (arrive if request.get("rate") else saturate)(run, batches)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime - spent.ru_utime - spent.ru_stime
    return {
        "codes": dict(run.codes),
        "began_s": began_s,
        "last_s": run.last_s,
        "elapsed_s": run.last_s - began_s,
        "octets": run.octets,
        "cpu_s": cpu_s,
        "latencies_ms": [round(one, 3) for one in run.latencies_ms],
    }


def main() -> None:
    """Answer requests until standard input ends."""
    gc.disable()
    loaded: dict[str, list[tuple[bytes, bytes]]] = {}
    print("{}", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        path = request["mails"]
        if path not in loaded:
            loaded[path] = load_mails(Path(path))
        print(json.dumps(uvloop.run(perform(request, loaded[path]))), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
