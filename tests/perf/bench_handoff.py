"""CPU of one hand-off on a kept connection: our client, through pool and relay, and aiosmtplib.

Run: ``python -m tests.perf.bench_handoff [MESSAGES]``. The sink runs in a process of its own and is
not counted; user and system time of this process are. Each way is measured in turn, in rounds, and
the median of the rounds is printed; aiosmtplib is a development dependency, here for comparison.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import aiosmtplib
import uvloop

from gateway.core.clock import SystemClock
from gateway.core.routing import NextHop, NextHopKind
from gateway.delivery.marks import Marks
from gateway.delivery.outgoing import Dressing, outgoing
from gateway.delivery.relay import Relay
from gateway.net.maildir import MaildirDelivery
from gateway.net.nexthop import Recipient, Transaction
from gateway.net.pool import Pool
from gateway.settings import DeliverySettings
from tests.functional.test_relay import copy_for, facts_for, served

LINE = b"The quick brown fox jumps over the lazy dog and does so once more.\r\n"
CONTENT = b"From: a@example.org\r\nSubject: hello\r\n\r\n" + LINE * 72  # 5 KB
ROUNDS = 7
GREETING = b"220 sink\r\n"
OFFER = b"250-sink\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250 8BITMIME\r\n"


class QuickSink(asyncio.Protocol):
    """Answers as fast as it can; pipelined commands get pipelined answers."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.in_data = False
        self.buffer = b""
        transport.write(GREETING)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        answers = []
        while True:
            if self.in_data:
                end = self.buffer.find(b"\r\n.\r\n")
                if end < 0:
                    break
                self.buffer, self.in_data = self.buffer[end + 5 :], False
                answers.append(b"250 2.0.0 taken\r\n")
                continue
            line, end_of_line, rest = self.buffer.partition(b"\r\n")
            if not end_of_line:
                break
            self.buffer = rest
            verb = line[:4].upper()
            self.in_data = verb == b"DATA"
            answers.append(
                OFFER if verb == b"EHLO" else b"354 go\r\n" if self.in_data else b"250 2.0.0 ok\r\n"
            )
        if answers:
            self.transport.write(b"".join(answers))  # type: ignore[attr-defined]


def serve(pipe: Connection) -> None:
    """The sink's process; ends with the pipe."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(QuickSink, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)
        server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


async def cpu_ms(work: Callable[[], Awaitable[object]], messages: int) -> float:
    """CPU milliseconds of this process per message."""
    for _ in range(50):
        await work()
    before = time.process_time()
    for _ in range(messages):
        await work()
    return (time.process_time() - before) * 1000 / messages


async def measure(port: int, messages: int) -> dict[str, float]:
    clock = SystemClock()
    pool = Pool(DeliverySettings(), hostname="gw.example", clock=clock)
    generation = served(one=_hop(port))
    marks = Marks(b"k" * 32)
    relay = Relay(
        connections=pool,
        maildirs=MaildirDelivery(clock),
        generation=lambda: generation,
        marks=marks,
        hostname="gw.example",
        clock=clock,
    )
    copies = [copy_for("a@one.example")]
    facts = facts_for(*copies)
    made = outgoing(
        facts,
        CONTENT,
        recipients=["a@one.example"],
        dressing=Dressing(),
        marks=marks,
        hostname="gw.example",
    )
    transaction = Transaction(
        mail_from="f@example.org",
        recipients=(Recipient(key="a@one.example", rcpt_to="a@one.example"),),
        content=made,
    )
    flat = b"".join(made.chunks())
    other = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False)
    await other.connect()

    async def ours() -> None:
        assert (await pool.hand_off(_hop(port), transaction)).replies[0].delivered

    async def through_relay() -> None:
        assert (await relay.hand_off(facts, CONTENT, copies))["a@one.example"].delivered

    async def aiosmtplib_() -> None:
        await other.sendmail("f@example.org", ["a@one.example"], flat)

    ways = {"pool": ours, "relay": through_relay, "aiosmtplib": aiosmtplib_}
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            rounds[name].append(await cpu_ms(work, messages))
    other.close()
    await pool.close()
    return {name: round(statistics.median(values), 4) for name, values in rounds.items()}


def _hop(port: int) -> NextHop:
    return NextHop(kind=NextHopKind.SMTP, host="127.0.0.1", port=port)


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,))
    process.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(measure(here.recv(), messages))
    finally:
        here.send(None)
        process.join()
    size = len(CONTENT)
    print(json.dumps({"cpu_ms_per_message": result, "messages": messages, "size_bytes": size}))


if __name__ == "__main__":
    os.nice(5)
    main()
