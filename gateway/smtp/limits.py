"""What one client, its network, and all clients of a worker together, may use."""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, Self

from gateway.settings import SmtpSettings
from gateway.telemetry.networks import NetworkCounts, Rate

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
    greet_delay_s: float = 0.0
    proxy_timeout_s: float = 10.0
    unknown_delay_s: float = 0.0  # the longest pause before a recipient or a login is refused
    max_refused_logins: int = 3
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
            greet_delay_s=settings.greet_delay_s,
            unknown_delay_s=settings.unknown_delay_s,
        )


class ClientLimits(Protocol):
    """What a client's network may do; the answers do not tell clients of one network apart."""

    def enter(self, ip: str) -> bool:
        """Count one more connection; False when the network has its share: then none is open."""

    def leave(self, ip: str) -> None:
        """One that entered is gone."""

    def may_send(self, ip: str) -> bool:
        """Count one more message; False when there were too many lately."""

    def unknown_recipient(self, ip: str) -> None:
        """Count one more recipient that does not exist."""

    def guesses(self, ip: str) -> bool:
        """Whether there were too many of those lately."""

    def refused_login(self, ip: str) -> None:
        """Count one more wrong password."""

    def guesses_logins(self, ip: str) -> bool:
        """Whether there were too many of those lately."""


class NetworkLimits:
    """Limits per IPv4 /24 and IPv6 /64 (whoever has one address there has them all).

    ``counts`` are this process's own, or shared by all workers. Networks that ``unlimited`` names
    are not counted at all. A limit of 0 is none.
    """

    def __init__(self, settings: SmtpSettings, counts: NetworkCounts) -> None:
        self._settings = settings
        self._counts = counts
        self._unlimited = Networks(settings.unlimited_networks)

    def enter(self, ip: str) -> bool:
        """The rate counts those turned away too: who hammers stays out until it pauses."""
        network = self._network(ip)
        if network is None:
            return True
        self._counts.count(network, Rate.CONNECTIONS)
        most = self._settings.connections_per_network
        if most and self._counts.connections(network) >= most:
            return False
        if not self._within(network, Rate.CONNECTIONS, self._settings.connection_rate_per_min):
            return False
        self._counts.connected(network, 1)
        return True

    def leave(self, ip: str) -> None:
        """The connection is closed."""
        network = self._network(ip)
        if network is not None:
            self._counts.connected(network, -1)

    def may_send(self, ip: str) -> bool:
        """Called at MAIL."""
        network = self._network(ip)
        if network is None:
            return True
        self._counts.count(network, Rate.MESSAGES)
        return self._within(network, Rate.MESSAGES, self._settings.message_rate_per_min)

    def unknown_recipient(self, ip: str) -> None:
        """Called when a RCPT was refused for good."""
        network = self._network(ip)
        if network is not None:
            self._counts.count(network, Rate.UNKNOWN_RECIPIENTS)

    def guesses(self, ip: str) -> bool:
        """Called before a RCPT is answered, whether its mailbox exists or not."""
        network = self._network(ip)
        most = self._settings.unknown_rate_per_min
        return network is not None and not self._within(network, Rate.UNKNOWN_RECIPIENTS, most)

    def refused_login(self, ip: str) -> None:
        """Called when a login was refused."""
        network = self._network(ip)
        if network is not None:
            self._counts.count(network, Rate.REFUSED_LOGINS)

    def guesses_logins(self, ip: str) -> bool:
        """Called before a password is looked at, be it right or wrong."""
        network = self._network(ip)
        most = self._settings.login_failures_per_min
        return network is not None and not self._within(network, Rate.REFUSED_LOGINS, most)

    def _within(self, network: bytes, rate: Rate, most: int) -> bool:
        return not most or self._counts.per_minute(network, rate) <= most

    def _network(self, ip: str) -> bytes | None:
        return None if ip in self._unlimited else network_of(ip)


_REMEMBERED = 1024  # addresses


class Networks:
    """A set of networks to ask of an address; a string that is no address lies in none."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._networks = tuple(ipaddress.ip_network(text, strict=False) for text in texts)
        self._asked = lru_cache(maxsize=_REMEMBERED)(self._has)  # four times a message

    def __contains__(self, ip: str) -> bool:
        return bool(self._networks) and self._asked(ip)

    def _has(self, ip: str) -> bool:
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class RecentNetworks:
    """The networks of whom something good was seen last."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._networks: OrderedDict[bytes, None] = OrderedDict()

    def remember(self, ip: str) -> None:
        """This one was good."""
        network = network_of(ip)
        self._networks[network] = None
        self._networks.move_to_end(network)
        if len(self._networks) > self._most:
            self._networks.popitem(last=False)

    def __contains__(self, ip: str) -> bool:
        return network_of(ip) in self._networks


class RemembersClients(Protocol):
    """Who waited for a greeting before (gateway.telemetry.greeted)."""

    def knows(self, client: bytes) -> bool:
        """Whether this client need not wait again."""

    def remember(self, client: bytes) -> None:
        """It waited."""


def client_of(ip: str) -> bytes:
    """Who is remembered as one client: an IPv4 address, an IPv6 /64."""
    return network_of(ip) if ":" in ip else ip.encode(errors="replace")


@lru_cache(maxsize=_REMEMBERED)
def network_of(ip: str) -> bytes:
    """Who counts as one client: an IPv4 /24, an IPv6 /64; what is no address stands for itself."""
    try:
        packed = ipaddress.ip_address(ip).packed
    except ValueError:
        return ip.encode(errors="replace")
    return packed[:3] if len(packed) == 4 else packed[:8]


def client_ip(peer: str) -> str:
    """The address of a peer in one spelling: an IPv4 client of a dual socket is an IPv4 client."""
    if ":" not in peer:
        return peer
    try:
        address = ipaddress.IPv6Address(peer.partition("%")[0])
    except ValueError:
        return peer
    return str(address.ipv4_mapped or address)
