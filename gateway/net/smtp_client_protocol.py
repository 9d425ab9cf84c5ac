"""The line level of our SMTP and LMTP client: bounded replies in, octets out, and what got lost."""

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from typing import cast

from gateway.core.handoff import printable

MAX_LINE_BYTES = 4096  # RFC 5321 §4.5.3.1.5 allows 512; real servers exceed it
MAX_LINES_PER_REPLY = 128
MAX_WAITING_REPLIES = 2048

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?=\s|\Z)")


class WireFaultError(Exception):
    """The conversation cannot go on; its text is for the admin. Never leaves ``gateway.net``."""


class WireTimeoutError(WireFaultError):
    """The peer took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireReply:
    """One whole reply of the peer; ``lines`` without code and enhanced code."""

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The peer's words on one printable, bounded line."""
        return printable(" ".join(line for line in self.lines[:8] if line))

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


def _reply(code: int, raw_lines: list[bytes]) -> WireReply:
    lines = [raw.decode("utf-8", "replace") for raw in raw_lines]
    enhanced = _ENHANCED.match(lines[-1])
    if enhanced is None or enhanced[1] != str(code)[0]:
        return WireReply(code=code, enhanced="", lines=tuple(lines))
    prefix = enhanced[0]
    lines = [line.removeprefix(prefix).lstrip() for line in lines]
    return WireReply(code=code, enhanced=prefix, lines=tuple(lines))


class SmtpWire(asyncio.Protocol):
    """Collects replies, and knows whether all we wrote has left us.

    The write buffer's high-water mark is zero: ``flushed`` is False exactly while octets of ours
    have not been given to the kernel, also at the moment the connection is lost. That is how a
    final dot that never left is told from one whose answer is missing.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._replies: deque[WireReply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = asyncio.get_running_loop().create_future()
        self.fault = ""
        self.flushed = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called again with the new transport after STARTTLS."""
        self._transport = cast("asyncio.Transport", transport)
        encrypted = transport.get_extra_info("sslcontext") is not None
        # plain transports pause above the mark, TLS transports from the mark on
        self._transport.set_write_buffer_limits(high=1 if encrypted else 0, low=0)

    def data_received(self, data: bytes) -> None:
        """Split lines; anything out of bounds or out of grammar ends the conversation."""
        if self.fault:
            return
        self._buffer += data
        start = 0
        while (end := self._buffer.find(b"\n", start)) >= 0:
            line = bytes(self._buffer[start:end]).removesuffix(b"\r")
            start = end + 1
            if not self._take_line(line):
                return
        del self._buffer[:start]
        if len(self._buffer) > MAX_LINE_BYTES:
            self.break_off("reply line too long")
        elif self._replies:
            self._wake()

    def _take_line(self, line: bytes) -> bool:
        matched = _LINE.match(line) if len(line) <= MAX_LINE_BYTES else None
        if matched is None:
            shown = printable(line[:60].decode("ascii", "replace"))
            self.break_off(f"not an SMTP reply: {shown!r}")
            return False
        self._lines.append(matched[3] or b"")
        if matched[2] != b"-":
            self._replies.append(_reply(int(matched[1]), self._lines))
            self._lines = []
        if len(self._lines) > MAX_LINES_PER_REPLY or len(self._replies) > MAX_WAITING_REPLIES:
            self.break_off("endless reply")
            return False
        return True

    def eof_received(self) -> bool:
        """No half-open connections: the transport closes."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Remember why; replies that came before stay readable."""
        reason = f"connection lost: {error}" if error else "connection closed by the next hop"
        self.fault = self.fault or reason
        if not self._closed.done():
            self._closed.set_result(None)
        self._wake()

    def pause_writing(self) -> None:
        """Octets are waiting in our own memory."""
        self.flushed = False

    def resume_writing(self) -> None:
        """The kernel has them all."""
        self.flushed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, until: float, what: str) -> None:
        loop = asyncio.get_running_loop()
        if self.fault:
            raise WireFaultError(f"{self.fault} ({what})")
        if loop.time() >= until:
            raise WireTimeoutError(f"timeout ({what})")
        self._waiter = waiter = loop.create_future()
        timer = loop.call_at(until, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport in use; changes with STARTTLS."""
        assert self._transport is not None  # noqa: S101  a wire without transport is never handed out
        return self._transport

    @property
    def unread(self) -> bool:
        """Whether the peer sent anything that nobody has read yet."""
        return bool(self._replies or self._lines or self._buffer)

    @property
    def quiet(self) -> bool:
        """Open, and nothing unasked has come: fit for a transaction."""
        return not self.fault and not self.unread and not self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Give octets to the transport; a fault shows at the next reply.

        A transport that is closing, or that fails in this very call, drops them.
        """
        if not self.fault:
            self.transport.write(data)
        if self.fault or self.transport.is_closing():
            self.flushed = False

    def take_reply(self) -> WireReply | None:
        """A reply that is already here."""
        return self._replies.popleft() if self._replies else None

    async def reply(self, timeout_s: float, what: str) -> WireReply:
        """The next whole reply; ``what`` names what it answers, for the admin.

        Raises:
            WireFaultError: timeout, lost connection, or no SMTP.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        while not self._replies:
            await self._wait(until, f"waiting for {what}")
        return self._replies.popleft()

    async def drain(self, timeout_s: float, what: str) -> None:
        """Wait until the kernel has every octet we wrote.

        Raises:
            WireFaultError: timeout or lost connection.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        while self.fault or not self.flushed:
            await self._wait(until, f"sending {what}")

    def break_off(self, fault: str) -> None:
        """End the conversation at once; octets still in our memory are not sent any more."""
        self.fault = self.fault or fault
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def close_when_sent(self) -> None:
        """Close as soon as the kernel has every octet; what the peer still says is not read."""
        self.transport.close()

    async def wait_closed(self, timeout_s: float) -> None:
        """Until the connection is gone; a peer that does not close is cut off."""
        await asyncio.wait([self._closed], timeout=timeout_s)
        self.break_off("closed by us")
        await asyncio.wait([self._closed], timeout=1)
