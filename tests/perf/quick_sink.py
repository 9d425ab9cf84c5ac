"""The next hop of a measurement: takes every message at once and counts. ``python -m`` runs it.

Says its port, then answers each line with how many messages and octets came, and when the last one
did (the machine's monotonic clock, which all processes share).
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

_OFFER = b"250-sink\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250 8BITMIME\r\n"
_ANSWERS = {b"EHLO": _OFFER, b"DATA": b"354 go\r\n", b"QUIT": b"221 2.0.0 bye\r\n"}
_END = b"\r\n.\r\n"


class Counts:
    """What came."""

    messages = 0
    octets = 0
    last_at_s = 0.0
    connections = 0


class Sink(asyncio.Protocol):
    """Pipelined commands get pipelined answers."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Counts.connections += 1
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.in_data = False
        self.buffer = bytearray()
        self.seen = 0  # octets of the buffer that hold no end of a message
        self.transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        answers = []
        while answer := self.message() if self.in_data else self.command():
            answers.append(answer)
        if answers:
            self.transport.write(b"".join(answers))
            if answers[-1].startswith(b"221"):
                self.transport.close()

    def command(self) -> bytes:
        end = self.buffer.find(b"\r\n")
        if end < 0:
            return b""
        verb = bytes(self.buffer[:4]).upper()
        del self.buffer[: end + 2]
        if verb == b"DATA":
            self.in_data = True
            # The CRLF before the body belongs to it: an empty body ends at once.
            self.buffer[:0] = b"\r\n"
            self.seen = 0
        return _ANSWERS.get(verb, b"250 2.0.0 ok\r\n")

    def message(self) -> bytes:
        end = self.buffer.find(_END, max(0, self.seen - len(_END)))
        if end < 0:
            self.seen = len(self.buffer)
            return b""
        del self.buffer[: end + len(_END)]
        self.in_data = False
        Counts.messages += 1
        Counts.octets += end
        Counts.last_at_s = time.monotonic()
        return b"250 2.0.0 taken\r\n"


async def serve() -> None:
    """Until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=512)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    ended = loop.create_future()

    def asked() -> None:
        if sys.stdin.readline():
            answer = {
                "messages": Counts.messages,
                "octets": Counts.octets,
                "last_at_s": Counts.last_at_s,
                "connections": Counts.connections,
            }
            print(json.dumps(answer), flush=True)
        elif not ended.done():
            ended.set_result(None)

    loop.add_reader(sys.stdin.fileno(), asked)
    await ended


if __name__ == "__main__":
    uvloop.run(serve())
