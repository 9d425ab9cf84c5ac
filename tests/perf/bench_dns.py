"""CPU time of one DNS query: ours against dnspython's asynchronous resolver.

Both ask the same server, a small responder in a process of its own that answers at once, for names
they have not asked before, one after the other and ten at a time. Printed is this process's CPU
time per query: sockets, event loop, encoding, reading. Run: ``python -m tests.perf.bench_dns``.
"""

import asyncio
import multiprocessing
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import dns.asyncresolver
import dns.resolver
import uvloop

from gateway.core.dns import Budget
from gateway.net.resolver import DnsResolver

_LISTED = bytes.fromhex("c00c000100010000003c00047f000002")


def _respond(pipe: Connection) -> None:
    """Answer A queries: every second name is listed, the others do not exist."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    pipe.send(server.getsockname()[1])
    turn = 0
    while True:
        query, peer = server.recvfrom(4096)
        end = query.index(b"\0", 12) + 5
        turn += 1
        if turn % 2:
            answer = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + _LISTED
        else:
            soa = bytes.fromhex("00000600010000003c0016") + bytes(2) + bytes(20)
            answer = query[:2] + b"\x81\x83\0\1\0\0\0\1\0\0" + query[12:end] + soa
        server.sendto(answer, peer)


def _names(count: int, run: str) -> list[str]:
    return [f"{i % 250}.{i // 250}.{run}.198.bl.example.org" for i in range(count)]


async def _ours(port: int, names: list[str], together: int) -> float:
    resolver = DnsResolver([f"127.0.0.1:{port}"])

    async def ask(name: str) -> None:
        await resolver.query(name, "A", Budget(5.0))

    spent = await _timed(ask, names, together)
    await resolver.aclose()
    return spent


async def _theirs(port: int, names: list[str], together: int) -> float:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], port

    async def ask(name: str) -> None:
        try:
            await resolver.resolve(name, "A", search=False)
        except dns.resolver.NXDOMAIN:
            return

    return await _timed(ask, names, together)


async def _timed(ask: Callable[[str], Awaitable[None]], names: list[str], together: int) -> float:
    await ask("warm." + names[0])
    started = time.process_time()
    for first in range(0, len(names), together):
        if together == 1:
            await ask(names[first])
        else:
            await asyncio.gather(*(ask(name) for name in names[first : first + together]))
    return (time.process_time() - started) / len(names) * 1000


def main() -> int:
    """Print the table."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_respond, args=(theirs,))
    process.start()
    port = ours.recv()
    try:
        print(f"{'loop':8} {'resolver':10} {'at a time':>9} {'CPU ms per query':>17}")
        for loop_name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
            for together in (1, 10):
                for name, measure in (("dnspython", _theirs), ("schwamm", _ours)):
                    label = f"{loop_name[0]}{together}{name[0]}"
                    spent = run(measure(port, _names(2000, label), together))
                    print(f"{loop_name:8} {name:10} {together:9} {spent:17.3f}")
    finally:
        process.terminate()
        process.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
