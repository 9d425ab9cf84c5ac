"""A next hop for large messages: it keeps none, and notes each one's number and octets of body.

Says its port, then answers each line of standard input with ``{"taken": [[number, octets], ...]}``.
"""

import asyncio
import json
import sys
from typing import cast

import uvloop

_OFFER = b"250-sink\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250 8BITMIME\r\n"
_ANSWERS = {b"EHLO": _OFFER, b"DATA": b"354 go\r\n", b"QUIT": b"221 2.0.0 bye\r\n"}
_END = b"\r\n.\r\n"
_MARK = b"\nX-Ledger: "
taken: list[tuple[int, int]] = []


class Sink(asyncio.Protocol):
    """Commands from a small buffer; content is counted as it passes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = b""
        self.in_data = False
        self.transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self.content() if self.in_data else self.command():
            pass

    def command(self) -> bool:
        line, found, rest = self.buffer.partition(b"\r\n")
        if not found:
            return False
        self.buffer = rest
        verb = line[:4].upper()
        self.transport.write(_ANSWERS.get(verb, b"250 2.0.0 ok\r\n"))
        if verb == b"DATA":
            self.in_data, self.number, self.octets = True, -1, -1  # body's octets, once it begins
        return True

    def content(self) -> bool:
        if self.octets < 0:
            header, found, body = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return False
            at = (b"\n" + header).index(_MARK) + len(_MARK)
            self.number = int((b"\n" + header)[at:].split(b"\r\n", 1)[0])
            self.octets, self.buffer = 0, body
        end = self.buffer.find(_END)
        if end < 0:
            keep = len(_END) - 1
            self.octets += max(0, len(self.buffer) - keep)
            self.buffer = self.buffer[-keep:]
            return False
        taken.append((self.number, self.octets + end + 2))
        self.buffer, self.in_data = self.buffer[end + len(_END) :], False
        self.transport.write(b"250 2.0.0 taken\r\n")
        return bool(self.buffer)


async def serve() -> None:
    """Until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=512)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps({"taken": taken}), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())
