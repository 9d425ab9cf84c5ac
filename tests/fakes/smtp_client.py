"""A client that says exactly the bytes it is told, for dialogues with SMTP servers in tests."""

import asyncio
import contextlib
import socket
import ssl
import struct
from types import TracebackType
from typing import Self


class RawClient:
    """One connection. Every read has a time limit, so a silent server fails the test."""

    def __init__(self, host: str, port: int, *, patience_s: float = 10.0) -> None:
        self._host = host
        self._port = port
        self._patience_s = patience_s
        self._half_closed = False
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._host, self._port, limit=1 << 20
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._patience_s):
                await self._writer.wait_closed()

    @property
    def local_port(self) -> int:
        return int(self._writer.get_extra_info("sockname")[1])

    async def send(self, data: bytes) -> None:
        """Raw bytes, nothing added."""
        self._writer.write(data)
        async with asyncio.timeout(self._patience_s):
            await self._writer.drain()

    async def line(self) -> bytes:
        """One line of the server without CR LF; empty at the end of the connection."""
        async with asyncio.timeout(self._patience_s):
            line = await self._reader.readline()
        if line:
            assert line.endswith(b"\r\n"), f"reply line without CR LF: {line!r}"
        return line[:-2]

    async def reply(self) -> str:
        """One whole reply, its lines joined with LF."""
        lines = []
        while line := await self.line():
            lines.append(line.decode())
            if line[3:4] != b"-":
                break
        return "\n".join(lines)

    async def ask(self, command: str) -> str:
        """Send one command line, return the reply."""
        await self.send(command.encode() + b"\r\n")
        return await self.reply()

    async def transaction(self, content: bytes, *, to: str = "anna@example.org") -> str:
        """MAIL, RCPT, DATA; the reply to the content, or the first refusal."""
        for command, code in (
            ("MAIL FROM:<sender@client.example>", "250"),
            (f"RCPT TO:<{to}>", "250"),
            ("DATA", "354"),
        ):
            reply = await self.ask(command)
            if not reply.startswith(code):
                return reply
        await self.send(content + b".\r\n")
        return await self.reply()

    async def rest(self) -> bytes:
        """All that still comes, until the server closes; a reset counts as closed."""
        parts = []
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(self._patience_s):
                while data := await self._reader.read(65536):
                    parts.append(data)
        return b"".join(parts)

    async def ended_without_reset(self) -> bool:
        """Whether the server says no more and ends the connection in an orderly way."""
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._reader.read() == b""
        except ConnectionResetError:
            return False

    async def silent_for(self, seconds: float) -> bool:
        """Whether the server says nothing, and does not close, for that long."""
        try:
            async with asyncio.timeout(seconds):
                return bool(await self._reader.read(1)) and False
        except TimeoutError:
            return True

    async def finish(self) -> bytes:
        """Close our sending side (TLS has none of its own), return what the server still says."""
        if self._writer.get_extra_info("ssl_object") is not None and not self._reader.at_eof():
            return b""
        gone = self._half_closed or self._reader.at_eof() or self._writer.is_closing()
        if not gone:
            self.half_close()
        return await self.rest()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """The client's part of the handshake, after the server's 220."""
        async with asyncio.timeout(self._patience_s):
            await self._writer.start_tls(context, server_hostname="mx.example.org")

    def half_close(self) -> None:
        """No more from us; we still listen."""
        self._half_closed = True
        self._writer.write_eof()

    def reset(self) -> None:
        """Vanish with a TCP reset."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
