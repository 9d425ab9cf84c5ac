"""CPU of taking mail in, in milliseconds a message: our server beside bare aiosmtpd, in one run.

``python -m tests.perf.bench_smtp_in [--messages N] [--rounds N] [--profile FILE]`` prints one JSON
object. Each server runs in a process of its own under uvloop with an intake that only answers; the
client is this process, so its cost does not count. Rounds alternate between the servers; the figure
is the median of the rounds' CPU time (user and system, all threads) divided by the messages.
"""

import argparse
import asyncio
import cProfile
import json
import logging
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiosmtpd.smtp
import structlog
import uvloop

from gateway.core.addresses import Address, parse_address
from gateway.core.clock import SystemClock
from gateway.core.ids import IdSource
from gateway.core.mail import Mail, Session
from gateway.core.reply import ACCEPTED, NO_RELAY, Reply
from gateway.settings import SmtpSettings
from gateway.smtp.server import start_server

_SIZE = 5 * 1024
_SERVERS = ("schwamm", "aiosmtpd")


class _Domain:
    async def check(self, address_text: str, session: Session) -> Address | Reply:
        address = parse_address(address_text)
        return address if address.domain == "example.org" else NO_RELAY


class _NoFacts:
    def cancel(self) -> None:
        pass


async def _accept(mail: Mail, facts: _NoFacts) -> Reply:
    return ACCEPTED.with_id(mail.id)


class _NullHandler:
    async def handle_DATA(  # noqa: N802
        self,
        server: aiosmtpd.smtp.SMTP,
        session: aiosmtpd.smtp.Session,
        envelope: aiosmtpd.smtp.Envelope,
    ) -> str:
        return "250 OK"


async def _serve(kind: str) -> None:
    """Serve until standard input ends; each line on it is answered with the CPU seconds so far."""
    loop = asyncio.get_running_loop()
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sock.setblocking(False)
    with tempfile.TemporaryDirectory() as folder:
        if kind == "schwamm":
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
            await start_server(
                sock,
                settings=SmtpSettings(hostname="mx.example.org"),
                clock=SystemClock(),
                ids=IdSource("b1"),
                recipients=_Domain(),
                intake=_accept,
                on_connect=lambda session: _NoFacts(),
                log=structlog.get_logger(),
                temporary=Path(folder),
            )
        else:
            handler = _NullHandler()
            await loop.create_server(
                lambda: aiosmtpd.smtp.SMTP(handler, hostname="mx.example.org", loop=loop),
                sock=sock,
            )
        print(sock.getsockname()[1], flush=True)
        ended = loop.create_future()

        def asked() -> None:
            if sys.stdin.readline():
                print(time.process_time(), flush=True)
            elif not ended.done():
                ended.set_result(None)

        loop.add_reader(sys.stdin.fileno(), asked)
        await ended


class _Server:
    def __init__(self, kind: str, profile: str | None) -> None:
        command = [sys.executable, "-m", "tests.perf.bench_smtp_in", "--serve", kind]
        if profile and kind == "schwamm":
            command += ["--profile", profile]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def cpu_s(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("cpu\n")
        self.process.stdin.flush()
        return float(self._line())

    def stop(self) -> None:
        self.process.communicate(timeout=10)


@contextmanager
def _servers(profile: str | None) -> Iterator[dict[str, _Server]]:
    running = {kind: _Server(kind, profile) for kind in _SERVERS}
    try:
        yield running
    finally:
        for server in running.values():
            server.stop()


def _message() -> bytes:
    head = (
        b"From: Sender <sender@client.example>\r\nTo: <anna@example.org>\r\n"
        b"Subject: A message of an ordinary size\r\nMessage-ID: <1@client.example>\r\n"
        b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    line = b"The quick brown fox jumps over the lazy dog, again and again, all day.\r\n"
    return head + line * ((_SIZE - len(head)) // len(line))


def _expect(reader: socket.SocketIO, code: bytes) -> None:
    while True:
        line = reader.readline()
        assert line.startswith(code), line
        if line[3:4] == b" ":
            return


def _deliver(port: int, messages: int, content: bytes) -> None:
    """One connection that brings so many messages, without pipelining."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock.makefile("rb") as reader:
            _expect(reader, b"220")
            sock.sendall(b"EHLO client.example\r\n")
            _expect(reader, b"250")
            for _ in range(messages):
                sock.sendall(b"MAIL FROM:<sender@client.example>\r\n")
                _expect(reader, b"250")
                sock.sendall(b"RCPT TO:<anna@example.org>\r\n")
                _expect(reader, b"250")
                sock.sendall(b"DATA\r\n")
                _expect(reader, b"354")
                sock.sendall(content)
                _expect(reader, b"250")
            sock.sendall(b"QUIT\r\n")
            _expect(reader, b"221")


def _round(server: _Server, messages: int, per_connection: int, content: bytes) -> float:
    """Milliseconds of server CPU a message."""
    before = server.cpu_s()
    for _ in range(messages // per_connection):
        _deliver(server.port, per_connection, content)
    return (server.cpu_s() - before) * 1000 / messages


def _measure(messages: int, rounds: int, profile: str | None) -> dict[str, object]:
    content = _message() + b".\r\n"
    result: dict[str, object] = {
        "messages_a_round": messages,
        "rounds": rounds,
        "message_bytes": len(content) - 3,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    with _servers(profile) as servers:
        for server in servers.values():
            _round(server, 100, 1, content)  # warm
        for per_connection in (1, 10):
            figures: dict[str, list[float]] = {kind: [] for kind in servers}
            for _ in range(rounds):
                for kind, server in servers.items():
                    figures[kind].append(_round(server, messages, per_connection, content))
            result[f"cpu_ms_a_message_{per_connection}_a_connection"] = {
                kind: {
                    "median": round(statistics.median(values), 3),
                    "min": round(min(values), 3),
                    "max": round(max(values), 3),
                }
                for kind, values in figures.items()
            }
    return result


def main() -> None:
    """Run the comparison, or one of its servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", help="write a profile of our server to this file")
    parser.add_argument("--serve", choices=_SERVERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is None:
        print(json.dumps(_measure(arguments.messages, arguments.rounds, arguments.profile)))
    elif arguments.profile:
        with cProfile.Profile() as profiler:
            uvloop.run(_serve(arguments.serve))
        profiler.dump_stats(arguments.profile)
    else:
        uvloop.run(_serve(arguments.serve))


if __name__ == "__main__":
    main()
