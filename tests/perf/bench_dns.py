"""CPU time of one DNS query: ours against dnspython's asynchronous resolver.

Both ask the same server, a small responder in a process of its own that answers at once, for names
they have not asked before, one after the other and ten at a time; then our check asks two block
lists about clients it does not know. Printed is this process's CPU time: sockets, event loop,
encoding, reading. Run: ``python -m tests.perf.bench_dns``.
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

from gateway.checks.dnsbl import DnsblCheck, DnsblZone
from gateway.core.dns import Budget
from gateway.core.verdict import Status
from gateway.net.resolver import DnsResolver

_LISTED = bytes.fromhex("c00c000100010000003c00047f000002")


def _respond(pipe: Connection) -> None:
    """Answer A queries: even first labels and the test entry are listed, others do not exist."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    pipe.send(server.getsockname()[1])
    while True:
        query, peer = server.recvfrom(4096)
        end = query.index(b"\0", 12) + 5
        loopback = b"\x03127\x02bl" in query.lower() and not query[12:].startswith(
            b"\x012\x010\x010"
        )
        if query[12 + query[12]] % 2 == 0 and not loopback:
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


async def _clients(port: int, count: int) -> float:
    resolver = DnsResolver([f"127.0.0.1:{port}"])
    codes = {"127.0.0.2": "DNSBL_BENCH"}
    lists = [DnsblZone(zone=f"bl.{zone}.example", codes=codes) for zone in ("one", "two")]
    check = DnsblCheck(lists, resolver)

    async def ask(ip: str) -> None:
        for outcome in await check.examine_client(ip, Budget(5.0)):
            if outcome.status is Status.ERROR:
                raise RuntimeError(outcome.error)

    await ask("8.9.9.9")
    started = time.process_time()
    for turn in range(count):
        await ask(f"8.8.{turn // 250}.{turn % 250}")
    spent = (time.process_time() - started) / count * 1000
    await check.aclose()
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
            print(f"{loop_name:8} a client on two lists {run(_clients(port, 2000)):15.3f}")
    finally:
        process.terminate()
        process.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
