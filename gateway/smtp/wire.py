"""Bytes in and out of one connection, under deadlines.

This layer sits on aiosmtpd's protocol class and replaces its reader. aiosmtpd cancels the handler
when the client closes its side (a mail being taken, or a pipelined QUIT, gets no answer), has one
timer for everything, and its constructor looks at every attribute of handler and protocol by
``inspect`` (0.1 ms CPU a connection). Here nobody cancels the handler: it finds out by itself, at
the next read, that the client is gone, that time is up or that the service drains.
"""

import asyncio
import contextlib
import ssl
from math import inf

from aiosmtpd.smtp import SMTP

from gateway.core.reply import Reply
from gateway.smtp.answers import BARE_LF, LINE_TOO_LONG, SHUTTING_DOWN, TIMED_OUT
from gateway.smtp.limits import Limits

_HIGH_WATER_BYTES = 128 * 1024
_MAX_SKIPPED_BYTES = 64 * 1024
_CLOCK_GRAIN_S = 0.002  # uvloop's clock has milliseconds: a timer may fire a hair early


class EndedError(Exception):
    """The connection ends here; ``reply`` is the last word to the client, if there is one."""

    def __init__(self, reply: Reply | None = None) -> None:
        super().__init__(str(reply) if reply else "client is gone")
        self.reply = reply


class Wire(SMTP):
    """Reads lines and chunks, batches replies (RFC 2920), and knows when to stop waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        # Not calling aiosmtpd's constructor is on purpose, see above.
        self.loop = loop
        self._limits = limits
        self._inbox = bytearray()
        self._outbox: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._write_gate: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._deadline = inf
        self._eof = False
        self._lost = False
        self._reading_paused = False
        self._between_commands = False
        self._over_tls = False
        self._tcp: asyncio.Transport

    # What the transport tells us

    def data_received(self, data: bytes) -> None:
        """More bytes of the client; a client that sends faster than we take is slowed down."""
        self._inbox += data
        self._wake()
        if len(self._inbox) > _HIGH_WATER_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._tcp.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more, but may still listen: what it sent is answered."""
        self._eof = True
        self._wake()
        return not self._over_tls  # TLS knows no half-closed connection

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody listens any more. May be called twice after a failed handshake."""
        del error
        self._lost = True
        self._cancel_timer()
        self._wake()
        if self._write_gate is not None and not self._write_gate.done():
            self._write_gate.set_result(None)

    def pause_writing(self) -> None:
        """The client does not read our replies: no further command is obeyed until it does."""
        self._write_gate = self.loop.create_future()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._write_gate is not None and not self._write_gate.done():
            self._write_gate.set_result(None)
        self._write_gate = None

    # Reading

    @property
    def pending(self) -> bool:
        """Whether the client has sent more than what was read so far."""
        return bool(self._inbox)

    async def read_line(self, deadline: float) -> bytes:
        """The next command line without its CR LF; replies so far go out before we wait.

        Raises:
            EndedError: client gone, deadline (event loop's time) passed, service drains, or a line
                that ends with a bare LF: two servers could disagree where the command ends.
        """
        searched = 0
        self._between_commands = True
        try:
            while (end := self._inbox.find(b"\n", searched)) < 0:
                searched = len(self._inbox)
                if searched > _MAX_SKIPPED_BYTES:
                    raise EndedError(LINE_TOO_LONG)
                await self.more(deadline)
        finally:
            self._between_commands = False
        line = bytes(self._inbox[: end + 1])
        del self._inbox[: end + 1]
        if not line.endswith(b"\r\n"):
            raise EndedError(BARE_LF)
        return line[:-2]

    def take_pending(self) -> bytes:
        """All that has come and was not read yet."""
        data = bytes(self._inbox)
        self._inbox.clear()
        return data

    def put_back(self, rest: bytes) -> None:
        """Return what came behind a message: the next commands."""
        if rest:
            self._inbox[:0] = rest

    async def more(self, deadline: float) -> None:
        """Send what is to be sent, then wait for more bytes or the client's end.

        Raises:
            EndedError: see ``read_line``.
        """
        self.flush()
        if self._write_gate is not None:
            await self._wait_for(self._write_gate, deadline)
        if self._lost or self._eof:
            raise EndedError
        if self._between_commands and self.drains:
            raise EndedError(SHUTTING_DOWN)
        if self._reading_paused:
            if self._tcp.is_closing():
                raise EndedError
            self._reading_paused = False
            self._tcp.resume_reading()
        self._waiter = self.loop.create_future()
        try:
            await self._wait_for(self._waiter, deadline)
        finally:
            self._waiter = None

    async def quiet_for(self, seconds: float) -> bool:
        """Whether the client sends nothing for that long; what it sent stays unread.

        Raises:
            EndedError: see ``read_line``.
        """
        if not self.pending:
            try:
                await self.more(self.loop.time() + seconds)
            except EndedError as end:
                if end.reply is not TIMED_OUT:
                    raise
        return not self.pending

    async def secure(self, context: ssl.SSLContext) -> tuple[str, str]:
        """Do the server's part of a TLS handshake; protocol version and cipher.

        Raises:
            OSError, RuntimeError, TimeoutError: no handshake; the connection is closed.
        """
        plain = self._tcp
        try:
            transport = await self.loop.start_tls(
                plain,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=self._limits.handshake_timeout_s,
            )
        except BaseException:
            # The loop tells nobody about a connection that it loses during a handshake.
            plain.abort()
            self.connection_lost(None)
            raise
        if transport is None:
            raise ConnectionAbortedError("closed during the handshake")
        self._tcp = transport
        self._over_tls = True
        secured = transport.get_extra_info("ssl_object")
        cipher = secured.cipher()
        return secured.version() or "", cipher[0] if cipher else ""

    @property
    def drains(self) -> bool:
        """Whether the service is about to stop."""
        return False

    def begin_drain(self) -> None:
        """The service is about to stop: whoever waits for a command waits no longer."""
        if self._between_commands and self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(EndedError(SHUTTING_DOWN))

    # Writing

    def say(self, data: bytes) -> None:
        """Have ``data`` go out with the next flush."""
        self._outbox.append(data)

    def flush(self) -> None:
        """Hand all replies to the transport in one write."""
        if self._outbox:
            if not self._lost:
                self._tcp.write(b"".join(self._outbox))
            self._outbox.clear()

    async def push(self, status: str | bytes) -> None:
        """The way aiosmtpd says something."""
        self.say((status.encode() if isinstance(status, str) else status) + b"\r\n")

    async def part(self, last_word: bytes, *, linger: bool) -> None:
        """Say the last word, if there is one, and close.

        With ``linger`` we close our side first and read on for a moment: closing a socket with
        unread input resets the connection, and the client would lose our reply with it.
        """
        if last_word:
            self.say(last_word)
        self.flush()
        if linger and not self._lost and not self._eof and not self._over_tls:
            with contextlib.suppress(EndedError, OSError, RuntimeError):
                await self._drain_client()
        if not self._lost:
            self._tcp.close()
            # A client that does not read keeps unsent replies and with them the socket.
            self._deadline = self.loop.time() + self._limits.linger_s
            self._arm()

    async def _drain_client(self) -> None:
        deadline = self.loop.time() + self._limits.linger_s
        left = self._limits.linger_bytes
        self._tcp.write_eof()
        while left > 0:
            left -= len(self.take_pending())
            await self.more(deadline)

    # Time

    async def _wait_for(self, event: asyncio.Future[None], deadline: float) -> None:
        self._deadline = deadline
        self._arm()
        try:
            await event
        finally:
            self._deadline = inf

    def _arm(self) -> None:
        """Keep one timer that fires at the deadline or before; most deadlines only move it away."""
        if self._timer is not None:
            if self._timer_at <= self._deadline:
                return
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self.loop.call_at(self._deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._deadline == inf or self._lost:
            return
        if self.loop.time() + _CLOCK_GRAIN_S < self._deadline:
            self._arm()
        elif self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_exception(EndedError(TIMED_OUT))
        else:  # it does not read our replies, or its end
            self._tcp.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
