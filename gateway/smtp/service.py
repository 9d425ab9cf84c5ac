"""What all connections of one worker share: configuration, limits, counters, the ports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic

import structlog

from gateway.core.clock import Clock
from gateway.core.ids import IdSource
from gateway.smtp.body import ByteBudget
from gateway.smtp.limits import (
    ClientLimits,
    Limits,
    Networks,
    RecentNetworks,
    RemembersClients,
)
from gateway.smtp.ports import F, Intake, OnConnect, RecipientPolicy, Submission, TlsContexts

if TYPE_CHECKING:
    from gateway.smtp.conversation import Conversation

Logger = structlog.typing.FilteringBoundLogger


@dataclass(slots=True, kw_only=True)
class Counts:
    """Sums since the worker started, for metrics; ``open`` is the present number."""

    open: int = 0
    connections: int = 0
    refused_connections: int = 0
    early_talkers: int = 0
    tls_sessions: int = 0
    failed_handshakes: int = 0
    timeouts: int = 0
    messages: int = 0  # that reached the intake
    message_bytes: int = 0
    refused_recipients: int = 0
    logins: int = 0
    refused_logins: int = 0
    refused_data: int = 0  # refused by this server, before the intake
    errors: int = 0  # exceptions that were answered 451


@dataclass(slots=True, kw_only=True, eq=False)
class Service(Generic[F]):
    """One worker's SMTP service, seen from a connection."""

    hostname: str
    limits: Limits
    clock: Clock
    ids: IdSource
    recipients: RecipientPolicy
    intake: Intake[F]
    on_connect: OnConnect[F]
    tls: TlsContexts | None
    log: Logger
    temporary: Path
    per_client: ClientLimits
    unlimited: Networks
    proxies: Networks
    budget: ByteBudget
    counts: Counts = field(default_factory=Counts)
    draining: bool = False
    connections: "set[Conversation[F]]" = field(default_factory=set)
    on_idle: Callable[[], None] | None = None  # told when nothing is open or under way
    dsn_kept: Callable[[], bool] = lambda: False  # whether to announce DSN (RFC 3461)
    submission: Submission | None = None  # SMTP AUTH, under TLS only
    logged_in: RecentNetworks = field(default_factory=RecentNetworks)
    greeted: RemembersClients | None = None  # nobody remembers: every stranger waits each time
    greeting: bytes = b""
    hello: bytes = b""
    _ehlo: dict[tuple[bool, bool], bytes] = field(default_factory=dict)
    _ehlo_secured: dict[bool, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        host = self.hostname
        self.greeting = f"220 {host} ESMTP\r\n".encode()
        self.hello = f"250 {host}\r\n".encode()
        words = ["PIPELINING", f"SIZE {self.limits.max_message_bytes}", "8BITMIME", "SMTPUTF8"]
        for tls in (False, True):
            for dsn in (False, True):
                more = ["STARTTLS"] * tls + ["DSN"] * dsn + ["ENHANCEDSTATUSCODES"]
                self._ehlo[tls, dsn] = _ehlo(host, [*words, *more])
        for dsn in (False, True):
            more = ["AUTH PLAIN LOGIN", *["DSN"] * dsn, "ENHANCEDSTATUSCODES"]
            self._ehlo_secured[dsn] = _ehlo(host, [*words, *more])

    def ehlo(self, *, tls: bool, over_tls: bool, logged_in: bool = False) -> bytes:
        """The reply to EHLO, before STARTTLS, or under TLS where AUTH belongs.

        DSN is promised where every next hop keeps the promise, and to who logged in always: to
        them we report ourselves (ADR 0012).
        """
        if over_tls and self.submission is not None:
            return self._ehlo_secured[logged_in or self.dsn_kept()]
        return self._ehlo[tls, self.dsn_kept()]

    def gone(self, connection: "Conversation[F]") -> None:
        """A connection's handler has ended; its last words may still be on their way."""
        self.connections.discard(connection)
        self.look_idle()

    def closed(self) -> None:
        """A connection is closed."""
        self.counts.open -= 1
        self.look_idle()

    @property
    def idle(self) -> bool:
        """No connection is open, and no intake of a client that left is under way."""
        return not self.connections and not self.counts.open

    def look_idle(self) -> None:
        """Tell who waits for it that the service is idle."""
        if self.on_idle is not None and self.idle:
            self.on_idle()


def _ehlo(host: str, words: list[str]) -> bytes:
    lines = [f"250-{line}\r\n" for line in (host, *words[:-1])]
    return "".join([*lines, f"250 {words[-1]}\r\n"]).encode()
