"""What one client, and all clients of a worker together, may use.

Counters live in this process for now; ``ConnectionCounter`` is the seam where counters shared by
all workers take their place.
"""

import ipaddress
from collections import Counter
from dataclasses import dataclass
from typing import Protocol, Self

from gateway.settings import SmtpSettings

WINDOW_BYTES = 128 * 1024  # reserved for every message in flight, and written to disk at once
MAX_LINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the protocol. Times in seconds, sizes in octets.

    ``max_line_bytes``: RFC 5321 §4.5.3.1.6 asks for 1,000; good mail has longer lines (24 of 6,046
    in SpamAssassin's corpus, the longest above 16 KiB), so they are taken and passed on up to this
    cap. ``max_commands_without_mail`` bounds what is no mistake, costs us work and brings nothing:
    endless NOOP, RSET, or recipients above the limit. ``intake_timeout_s`` ends before the client's
    own 10 minutes (RFC 5321 §4.5.3.2.6).
    """

    max_message_bytes: int
    memory_budget_bytes: int
    spill_bytes: int
    max_recipients: int
    max_refused_recipients: int
    max_connections: int
    max_errors: int
    max_received: int
    command_timeout_s: float
    data_timeout_s: float
    data_min_bytes_per_s: int
    session_timeout_s: float
    disk_reserve_bytes: int = 64 * 1024 * 1024  # that large messages in flight leave free
    data_grace_s: float = 30.0
    max_line_bytes: int = MAX_LINE_BYTES
    intake_timeout_s: float = 540.0
    handshake_timeout_s: float = 60.0
    max_commands_without_mail: int = 2000
    linger_s: float = 2.0
    linger_bytes: int = 1024 * 1024
    connections_per_client: int = 100
    count_loopback: bool = False  # whether connections from this machine count per client
    backlog: int = 1024

    @classmethod
    def from_settings(cls, settings: SmtpSettings) -> Self:
        """The bounds that the operator chose; what has no setting keeps its default."""
        return cls(
            max_message_bytes=settings.max_message_bytes,
            memory_budget_bytes=settings.memory_budget_bytes,
            spill_bytes=settings.spill_bytes,
            max_recipients=settings.max_recipients,
            max_refused_recipients=settings.max_recipients,
            max_connections=settings.max_connections,
            max_errors=settings.max_errors,
            max_received=settings.max_received,
            command_timeout_s=settings.command_timeout_s,
            data_timeout_s=settings.data_timeout_s,
            data_min_bytes_per_s=settings.data_min_bytes_per_s,
            session_timeout_s=settings.session_timeout_s,
        )


class ConnectionCounter(Protocol):
    """Counts open connections by client."""

    def enter(self, ip: str) -> bool:
        """Count one more; False when ``ip`` has its share already (then nothing was counted)."""

    def leave(self, ip: str) -> None:
        """One that entered is gone."""


class LocalConnectionCounter:
    """Open connections per client, within this worker: an IPv4 address or an IPv6 /64."""

    def __init__(self, *, per_client: int, count_loopback: bool = False) -> None:
        self._per_client = per_client
        self._count_loopback = count_loopback
        self._open: Counter[str] = Counter()

    def enter(self, ip: str) -> bool:
        """Count one more connection of ``ip`` unless it has its share."""
        if not self._counts(ip):
            return True
        client = _client(ip)
        if self._open.get(client, 0) >= self._per_client:
            return False
        self._open[client] += 1
        return True

    def leave(self, ip: str) -> None:
        """Forget one connection; an address without any is not remembered."""
        if not self._counts(ip):
            return
        client = _client(ip)
        if self._open[client] > 1:
            self._open[client] -= 1
        else:
            del self._open[client]

    def _counts(self, ip: str) -> bool:
        return self._count_loopback or not (ip.startswith("127.") or ip == "::1")


def _client(ip: str) -> str:
    """Who counts as one: whoever has one IPv6 address has the 2^64 of its network."""
    if ":" not in ip:
        return ip
    try:
        packed = ipaddress.IPv6Address(ip).packed
    except ValueError:
        return ip
    return packed[:8].hex()


def client_ip(peer: str) -> str:
    """The address of a peer in one spelling: an IPv4 client of a dual socket is an IPv4 client."""
    if ":" not in peer:
        return peer
    try:
        address = ipaddress.IPv6Address(peer.partition("%")[0])
    except ValueError:
        return peer
    return str(address.ipv4_mapped or address)
