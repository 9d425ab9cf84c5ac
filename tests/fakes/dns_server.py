"""A DNS server over real UDP and TCP sockets, with a zone from a dict and every way to misbehave.

It builds its answers with dnspython, so that the gateway's own reader is tested against another
hand. Run it inside a test (``async with FakeDns(...) as dns``), or for trials as
``python -m tests.fakes.dns_server PORT NAME=ADDRESS...``.
"""

import asyncio
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class Fault(Enum):
    """How a name (or everything below it) goes wrong."""

    SERVFAIL = auto()
    REFUSED = auto()
    REFUSED_BARE = auto()  # a refusal without the question
    FORMERR = auto()
    SILENT = auto()
    WRONG_ID = auto()
    WRONG_QUESTION = auto()
    WRONG_CASE = auto()  # over UDP the question comes back in lower case
    GARBAGE = auto()  # the right header and question, then nonsense
    TRUNCATED = auto()  # over UDP; over TCP in full
    ALWAYS_TRUNCATED = auto()
    CLOSED_TCP = auto()  # truncated over UDP, hung up over TCP
    LOOP = auto()  # an alias for itself
    SLOW = auto()  # answers rightly after ``slow_s``


@dataclass(frozen=True)
class Asked:
    """One query as it came."""

    name: str
    rdtype: str
    transport: str


class FakeDns:
    """Serves ``records``: name -> record type -> texts. ``*.zone`` is a wildcard.

    A name that is not there but lies under one of ``zones`` gets NXDOMAIN with that zone's SOA; a
    name outside gets NXDOMAIN without. ``rcode`` and records can be changed while it runs.
    """

    def __init__(
        self,
        records: Mapping[str, Mapping[str, list[str]]] | None = None,
        *,
        zones: tuple[str, ...] = (),
        faults: Mapping[str, Fault] | None = None,
        ttl_s: int = 60,
        negative_ttl_s: int = 30,
        slow_s: float = 0.2,
        port: int = 0,
    ) -> None:
        self.records = {name.lower(): dict(types) for name, types in (records or {}).items()}
        self.zones = zones
        self.faults = dict(faults or {})
        self.everything: Fault | None = None
        self.ttl_s = ttl_s
        self.negative_ttl_s = negative_ttl_s
        self.slow_s = slow_s
        self.asked: list[Asked] = []
        self.port = port
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._later: set[asyncio.TimerHandle] = set()

    @property
    def address(self) -> str:
        """As the settings write it."""
        return f"127.0.0.1:{self.port}"

    def list_address(self, address: str, zone: str, *codes: str) -> None:
        """Put an IPv4 address on a block list, with the test points of RFC 5782 §5."""
        reverse = ".".join(reversed(address.split(".")))
        self.records[f"{reverse}.{zone}"] = {"A": list(codes)}
        self.records.setdefault(f"2.0.0.127.{zone}", {"A": ["127.0.0.2"]})

    def count(self, name: str) -> int:
        """How often a name was asked for."""
        return sum(asked.name == name.lower() for asked in self.asked)

    async def start(self) -> None:
        """Bind UDP and TCP to one port."""
        loop = asyncio.get_running_loop()
        for attempt in range(10):
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
            )
            port = transport.get_extra_info("sockname")[1]
            try:
                self._tcp = await asyncio.start_server(self._connection, "127.0.0.1", port)
            except OSError:
                transport.close()
                if self.port or attempt == 9:
                    raise
                continue
            self._udp, self.port = transport, port
            return

    async def stop(self) -> None:
        """Close both sockets; the port is remembered for the next ``start``."""
        for timer in self._later:
            timer.cancel()
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def datagram(self, wire: bytes, peer: tuple[str, int]) -> None:
        """Answer one UDP query."""
        query = dns.message.from_wire(wire)
        fault = self._note(query, "udp")
        answer = self._answer(query, fault, udp=True)
        if answer is None or self._udp is None:
            return
        if fault is Fault.SLOW:
            loop = asyncio.get_running_loop()
            self._later.add(loop.call_later(self.slow_s, self._send_late, answer, peer))
        else:
            self._udp.sendto(answer, peer)

    def _send_late(self, answer: bytes, peer: tuple[str, int]) -> None:
        if self._udp is not None and not self._udp.is_closing():
            self._udp.sendto(answer, peer)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = struct.unpack("!H", await reader.readexactly(2))[0]
            query = dns.message.from_wire(await reader.readexactly(size))
            fault = self._note(query, "tcp")
            answer = self._answer(query, fault, udp=False)
            if answer is not None and fault is not Fault.CLOSED_TCP:
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _note(self, query: dns.message.Message, transport: str) -> Fault | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append(Asked(name, dns.rdatatype.to_text(question.rdtype), transport))
        if self.everything is not None:
            return self.everything
        for suffix, fault in self.faults.items():
            if name == suffix or name.endswith("." + suffix):
                return fault
        return None

    def _answer(
        self, query: dns.message.Message, fault: Fault | None, *, udp: bool
    ) -> bytes | None:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        match fault:
            case Fault.SILENT:
                return None
            case Fault.SERVFAIL:
                answer.set_rcode(dns.rcode.SERVFAIL)
            case Fault.REFUSED | Fault.REFUSED_BARE:
                answer.set_rcode(dns.rcode.REFUSED)
                if fault is Fault.REFUSED_BARE:
                    answer.question.clear()
            case Fault.FORMERR:
                answer.set_rcode(dns.rcode.FORMERR)
            case Fault.WRONG_ID:
                answer.id = query.id ^ 1
            case Fault.LOOP:
                name = query.question[0].name
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", name.to_text()))
            case Fault.ALWAYS_TRUNCATED:
                answer.flags |= dns.flags.TC
            case Fault.TRUNCATED | Fault.CLOSED_TCP if udp:
                answer.flags |= dns.flags.TC
            case Fault.WRONG_QUESTION:
                forged = dns.message.make_query("other.example", "A", id=query.id)
                answer = dns.message.make_response(forged)
            case _:
                self._fill(answer)
        wire = answer.to_wire(max_size=65_535)
        if fault is Fault.GARBAGE:
            return wire[:6] + struct.pack("!3H", 3, 0, 0) + wire[12:] + b"\xc0\xff\xff\xff" * 3
        if fault is Fault.WRONG_CASE and udp:
            end = 12 + len(query.question[0].name.to_wire())
            return wire[:12] + wire[12:end].lower() + wire[end:]
        return wire

    def _fill(self, answer: dns.message.Message) -> None:
        question = answer.question[0]
        wanted = dns.rdatatype.to_text(question.rdtype)
        owner = question.name
        for _ in range(20):
            types = self._find(owner.to_text(omit_final_dot=True).lower())
            if types is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
                break
            if wanted in types:
                rrset = dns.rrset.from_text_list(owner, self.ttl_s, "IN", wanted, types[wanted])
                answer.answer.append(rrset)
                return
            if "CNAME" not in types:
                break
            alias = dns.rrset.from_text_list(owner, self.ttl_s, "IN", "CNAME", types["CNAME"])
            answer.answer.append(alias)
            owner = dns.name.from_text(types["CNAME"][0])
        self._add_soa(answer, owner.to_text(omit_final_dot=True).lower())

    def _add_soa(self, answer: dns.message.Message, name: str) -> None:
        for zone in self.zones:
            if name == zone or name.endswith("." + zone):
                text = f"ns.{zone}. host.{zone}. 1 7200 900 86400 {self.negative_ttl_s}"
                answer.authority.append(dns.rrset.from_text(f"{zone}.", 3600, "IN", "SOA", text))

    def _find(self, name: str) -> Mapping[str, list[str]] | None:
        if name in self.records:
            return self.records[name]
        labels = name.split(".")
        for cut in range(1, len(labels)):
            wild = self.records.get("*." + ".".join(labels[cut:]))
            if wild is not None:
                return wild
        return None


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDns) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.datagram(data, addr)


async def _main(port: int, pairs: list[str]) -> None:
    records = {name: {"A": [address]} for name, _, address in (p.partition("=") for p in pairs)}
    async with FakeDns(records, port=port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2:]))
