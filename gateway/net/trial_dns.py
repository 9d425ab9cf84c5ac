"""A small DNS server for trying Schwamm out: one block list of our own, nothing else.

It speaks real DNS over UDP, so the trial runs the same resolver and check as service does. Not for
the open network: it listens on loopback only.
"""

import asyncio
import ipaddress
from collections.abc import Iterable
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

_TTL_S = 60
_TEST_ENTRY = "127.0.0.2"  # RFC 5782 §5: always listed, so that a list's health can be seen


class TrialZone(asyncio.DatagramProtocol):
    """Answers for ``zone``: an A and a TXT record for every listed address, else NXDOMAIN."""

    def __init__(self, zone: str, listed: Iterable[str]) -> None:
        self._zone = dns.name.from_text(zone)
        self._names = {
            dns.name.from_text(_reversed(address), origin=self._zone)
            for address in (_TEST_ENTRY, *listed)
        }
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket to answer on."""
        self._transport = cast("asyncio.DatagramTransport", transport)  # not a subclass of it

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question; what is no question gets no answer."""
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        if query.flags & dns.flags.QR or query.opcode() != dns.opcode.QUERY or not query.question:
            return
        if self._transport is not None:
            self._transport.sendto(self._answer(query).to_wire(), addr)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        if question.name in self._names:
            texts = {dns.rdatatype.A: "127.0.0.2", dns.rdatatype.TXT: '"listed for the trial"'}
            if question.rdtype in texts:
                response.answer.append(
                    dns.rrset.from_text(
                        question.name,
                        _TTL_S,
                        dns.rdataclass.IN,
                        question.rdtype,
                        texts[question.rdtype],
                    )
                )
        elif question.name != self._zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response


def _reversed(address: str) -> str:
    pointer = ipaddress.ip_address(address).reverse_pointer
    return pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


async def serve_trial_zone(
    zone: str, listed: Iterable[str], port: int, host: str = "127.0.0.1"
) -> asyncio.DatagramTransport:
    """Start answering on ``host``:``port``; close the returned transport to stop.

    Raises:
        OSError: the port is taken.
    """
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: TrialZone(zone, listed), local_addr=(host, port)
    )
    return transport
