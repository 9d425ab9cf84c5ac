"""Connections kept per next hop, and what is known of each next hop's health."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.core.clock import Clock
from gateway.core.routing import NextHop, TlsPolicy
from gateway.net.nexthop import HandOff, Transaction, unanswered
from gateway.net.smtp_client import ConnectFault, SmtpConnection, opportunistic_tls, verifying_tls
from gateway.net.smtp_client_protocol import WireReply
from gateway.settings import DeliverySettings

FIRST_PAUSE_S: Final = 2.0  # after a first failure; doubles to the longest
LONGEST_PAUSE_S: Final = 30.0
PLAIN_AFTER_BROKEN_TLS_S: Final = 600.0
QUIT_TIMEOUT_S: Final = 1.0

AvailabilityCallback = Callable[[NextHop, bool, str], None]


@dataclass(slots=True)
class _Idle:
    connection: SmtpConnection
    since_s: float


@dataclass(slots=True)
class _Hop:
    """What one process knows of one next hop. Times are monotonic seconds."""

    free: asyncio.Semaphore
    idle: deque[_Idle] = field(default_factory=deque)
    down: bool = False
    reason: str = ""
    failures: int = 0
    next_try_s: float = 0.0
    probing: bool = False
    plain_until_s: float = 0.0
    dsn: bool = False  # offered at its last greeting
    suspect: bool = False  # it fell silent in a conversation: a greeting does not clear it


class Pool:
    """Hands transactions to next hops over kept connections.

    A next hop is down from a failed connect or greeting until it greets us again, and from a
    conversation it fell silent in until it answers in one. While it is down, one attempt at a time
    finds out whether it is back, after a pause that doubles from 2 to 30 s; everything else gets
    its answer at once, so that an outage does not cost each message the connect timeout.
    ``on_availability`` hears of each change with the reason. ``verifying`` is the TLS context for
    next hops whose certificate is checked; by default it trusts the machine's authorities.
    """

    def __init__(
        self,
        settings: DeliverySettings,
        *,
        hostname: str,
        clock: Clock,
        on_availability: AvailabilityCallback | None = None,
        verifying: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._hostname = hostname
        self._clock = clock
        self._on_availability = on_availability
        self._tls = opportunistic_tls()
        self._verifying = verifying
        self._hops: dict[NextHop, _Hop] = {}
        self._in_use: set[SmtpConnection] = set()
        self._closing = False
        self._sweeper: asyncio.TimerHandle | None = None

    def is_down(self, hop: NextHop) -> bool:
        """Whether the last word from this next hop was a failure."""
        known = self._hops.get(hop)
        return known is not None and known.down

    def fails_at_once(self, hop: NextHop) -> bool:
        """Whether a hand-off now would be answered without asking the next hop."""
        known = self._hops.get(hop)
        if known is None or not known.down:
            return False
        return known.probing or self._clock.monotonic_s() < known.next_try_s

    def down_reason(self, hop: NextHop) -> str:
        """Why it is down, for the admin; empty when it is up."""
        known = self._hops.get(hop)
        return known.reason if known is not None and known.down else ""

    def down_hops(self) -> tuple[NextHop, ...]:
        """Next hops whose last word was a failure."""
        return tuple(hop for hop, known in self._hops.items() if known.down)

    def offers_dsn(self, hop: NextHop) -> bool:
        """Whether this next hop offered DSN (RFC 3461) when it last greeted us."""
        known = self._hops.get(hop)
        return known is not None and known.dsn

    def expect_up(self, hop: NextHop) -> None:
        """Another process reached it: the next attempt need not wait out the pause."""
        known = self._hops.get(hop)
        if known is not None:
            known.next_try_s = self._clock.monotonic_s()

    async def hand_off(self, hop: NextHop, transaction: Transaction) -> HandOff:
        """Give one message to one next hop; every recipient gets a reply value."""
        state = self._state(hop)
        if self._closing:
            return unanswered(transaction, hop, "shutting down")
        if self.fails_at_once(hop):
            return unanswered(transaction, hop, f"next hop is down: {state.reason}")
        if not await self._acquire(state):
            return unanswered(transaction, hop, "all connections to the next hop are busy")
        try:
            if self.fails_at_once(hop):  # it went down while we waited
                return unanswered(transaction, hop, f"next hop is down: {state.reason}")
            with _Probe(state):
                return await self._hand_off(hop, state, transaction)
        finally:
            state.free.release()

    async def probe(self, hop: NextHop) -> bool:
        """Find out whether a next hop that is down is back; True when it is up."""
        state = self._state(hop)
        if not state.down:
            return True
        if self._closing or self.fails_at_once(hop):
            return False
        if not await self._acquire(state):
            return False
        try:
            with _Probe(state):
                connection = await self._connect(hop, state)
                if isinstance(connection, ConnectFault):
                    return False
                fault = await connection.mail_fault() if state.suspect else ""
        finally:
            state.free.release()
        self._keep(state, connection)
        if fault:
            self._went_down(hop, state, fault)
            return False
        self._came_up(hop, state)
        return True

    async def ask_recipients(
        self, hop: NextHop, addresses: Sequence[str]
    ) -> tuple[WireReply, ...] | None:
        """What the next hop says to RCPT, without a message; None when it cannot be asked."""
        state = self._state(hop)
        if self._closing or self.fails_at_once(hop) or not await self._acquire(state):
            return None
        try:
            with _Probe(state):
                return await self._ask(hop, state, addresses)
        finally:
            state.free.release()

    async def _ask(
        self, hop: NextHop, state: _Hop, addresses: Sequence[str]
    ) -> tuple[WireReply, ...] | None:
        kept = self._take_idle(state)
        for connection in (kept, None) if kept else (None,):
            one = connection or await self._connect(hop, state)
            if isinstance(one, ConnectFault):
                return None
            replies = await one.rcpt_replies(addresses)
            self._keep(state, one)
            if replies is not None or one.usable:
                return replies
        return None

    async def _hand_off(self, hop: NextHop, state: _Hop, transaction: Transaction) -> HandOff:
        kept = self._take_idle(state)
        if kept is not None:
            result = await self._transact(state, kept, transaction)
            if not _is_stale(result):
                self._judge(hop, state, result)
                return result
        connection = await self._connect(hop, state)
        if isinstance(connection, ConnectFault):
            return unanswered(transaction, hop, connection.text)
        result = await self._transact(state, connection, transaction)
        self._judge(hop, state, result)
        return result

    async def _transact(
        self, state: _Hop, connection: SmtpConnection, transaction: Transaction
    ) -> HandOff:
        self._in_use.add(connection)
        try:
            return await connection.transact(transaction)
        finally:
            self._in_use.discard(connection)
            self._keep(state, connection)

    async def _connect(self, hop: NextHop, state: _Hop) -> SmtpConnection | ConnectFault:
        plain = self._clock.monotonic_s() < state.plain_until_s
        connection = await self._open(hop, None if plain else self._context(hop.tls))
        if isinstance(connection, ConnectFault) and connection.tls and hop.tls is TlsPolicy.MAY:
            state.plain_until_s = self._clock.monotonic_s() + PLAIN_AFTER_BROKEN_TLS_S
            connection = await self._open(hop, None)
        if isinstance(connection, ConnectFault):
            state.suspect = False
            self._went_down(hop, state, connection.text)
            return connection
        state.dsn = connection.offer.dsn
        if not state.suspect:
            self._came_up(hop, state)
        return connection

    def _context(self, policy: TlsPolicy) -> ssl.SSLContext | None:
        match policy:
            case TlsPolicy.NONE:
                return None
            case TlsPolicy.MAY | TlsPolicy.MUST:
                return self._tls
            case TlsPolicy.VERIFY:
                self._verifying = self._verifying or verifying_tls()
                return self._verifying

    async def _open(
        self, hop: NextHop, tls: ssl.SSLContext | None
    ) -> SmtpConnection | ConnectFault:
        return await SmtpConnection.connect(
            hop, hostname=self._hostname, settings=self._settings, tls=tls
        )

    def _state(self, hop: NextHop) -> _Hop:
        known = self._hops.get(hop)
        if known is None:
            limit = self._settings.connections_per_next_hop
            known = self._hops[hop] = _Hop(free=asyncio.Semaphore(limit))
        return known

    async def _acquire(self, state: _Hop) -> bool:
        """Take one of the hop's places; False when none came free in the connect timeout."""
        if not state.free.locked():  # nearly always: no timer for it
            return await state.free.acquire()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                return await state.free.acquire()
        except TimeoutError:
            return False

    def _take_idle(self, state: _Hop) -> SmtpConnection | None:
        """The connection used last; those too old or closed by the peer go."""
        self._close_old(state)
        while state.idle:
            connection = state.idle.pop().connection
            if connection.usable:
                return connection
            connection.abort()
        return None

    def _keep(self, state: _Hop, connection: SmtpConnection) -> None:
        if connection.usable and not self._closing:
            state.idle.append(_Idle(connection, self._clock.monotonic_s()))
            self._sweep_later()
        else:
            connection.abort()

    def _sweep_later(self) -> None:
        if self._sweeper is None and any(state.idle for state in self._hops.values()):
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(self._settings.idle_connection_s, self.close_idle)

    def close_idle(self) -> None:
        """End connections that were not used for the idle time; runs by itself now and then."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for state in self._hops.values():
            self._close_old(state)
        self._sweep_later()

    def _close_old(self, state: _Hop) -> None:
        oldest_s = self._clock.monotonic_s() - self._settings.idle_connection_s
        while state.idle and state.idle[0].since_s <= oldest_s:
            state.idle.popleft().connection.quit_and_close()

    def _judge(self, hop: NextHop, state: _Hop, result: HandOff) -> None:
        if not result.fault:
            if result.answered:
                state.failures = 0
                self._came_up(hop, state)
        elif not result.content_sent or result.timed_out:
            # a connection lost within the message may be that message's fault; a hang is not
            state.suspect = True
            self._went_down(hop, state, result.fault)

    def _went_down(self, hop: NextHop, state: _Hop, reason: str) -> None:
        pause_s = min(FIRST_PAUSE_S * 2 ** min(state.failures, 8), LONGEST_PAUSE_S)
        state.failures += 1
        state.next_try_s = self._clock.monotonic_s() + pause_s
        state.reason = reason
        while state.idle:
            state.idle.popleft().connection.abort()
        if not state.down:
            state.down = True
            self._tell(hop, up=False, reason=reason)

    def _came_up(self, hop: NextHop, state: _Hop) -> None:
        state.suspect = False
        if state.down:
            state.down = False
            state.reason = ""
            self._tell(hop, up=True, reason="")

    def _tell(self, hop: NextHop, *, up: bool, reason: str) -> None:
        if self._on_availability is not None:
            self._on_availability(hop, up, reason)

    async def close(self) -> None:
        """End all idle connections politely and refuse new work; those in use end when done."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        idle = [one.connection for state in self._hops.values() for one in state.idle]
        for state in self._hops.values():
            state.idle.clear()
        for connection in idle:
            connection.quit()
        await asyncio.gather(*(connection.wait_closed(QUIT_TIMEOUT_S) for connection in idle))

    def abort(self) -> None:
        """Cut off what is still in use at the end of a drain; each copy gets its reply value."""
        self._closing = True
        for connection in self._in_use:
            connection.abort()


class _Probe:
    """Marks the one attempt that finds out whether a next hop is back."""

    def __init__(self, state: _Hop) -> None:
        self._state = state
        self._ours = state.down

    def __enter__(self) -> None:
        if self._ours:
            self._state.probing = True

    def __exit__(self, *_: object) -> None:
        if self._ours:
            self._state.probing = False


def _is_stale(result: HandOff) -> bool:
    """The peer had closed the kept connection, or says 421 now that we use it again.

    Nothing of the message was sent, so a fresh connection may be tried without any risk.
    """
    if result.content_sent or result.timed_out:
        return False
    said = [reply.code for reply in result.replies if not reply.local]
    return bool(result.fault) or (bool(said) and set(said) == {421})
