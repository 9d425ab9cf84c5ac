"""Clients that only take up room: idle ones and slow ones, in a process of its own.

Requests are JSON lines: ``{"open": {"port": P, "idle": N, "slow": M, "network": "127.9"}}``,
``{"count": true}`` and ``{"close": true}``; each is answered with how many connections of each kind
live, and how many the other side ended. An idle one said EHLO and nothing more. A slow one is
within DATA and sends a line of 80 octets every 0.4 s.
"""

import asyncio
import json
import sys
from typing import Any

import uvloop

_LINE = b"x" * 78 + b"\r\n"
_SLOW_S = 0.4


class Crowd:
    """All connections of this process."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.alive = {"idle": 0, "slow": 0}
        self.ended = 0

    async def open(self, *, port: int, idle: int, slow: int, network: str) -> None:
        places = asyncio.Semaphore(50)

        async def one(number: int, kind: str) -> None:
            source = f"{network}.{number // 4 % 250 + 1}.{number % 4 + 1}"
            async with places:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, local_addr=(source, 0)
                )
                self.writers.append(writer)
                await _greeted(reader, writer)
                if kind == "slow":
                    await _in_data(reader, writer)
            self.alive[kind] += 1
            task = asyncio.create_task(self._stay(reader, writer, kind))
            self.tasks.append(task)

        kinds = ["idle"] * idle + ["slow"] * slow
        await asyncio.gather(*(one(number, kind) for number, kind in enumerate(kinds)))

    async def _stay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str
    ) -> None:
        try:
            if kind == "idle":
                await reader.read(1)
            else:
                while not reader.at_eof():
                    writer.write(_LINE)
                    await writer.drain()
                    await asyncio.sleep(_SLOW_S)
        except OSError:
            pass
        self.alive[kind] -= 1
        self.ended += 1

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in self.writers:
            writer.close()
        self.__init__()  # type: ignore[misc]


async def _greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _answer(reader, b"220")
    writer.write(b"EHLO crowd.elsewhere.example\r\n")
    await _answer(reader, b"250")


async def _in_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"MAIL FROM:<slow@elsewhere.example>\r\nRCPT TO:<anna@trial.example>\r\nDATA\r\n")
    for code in (b"250", b"250", b"354"):
        await _answer(reader, code)
    writer.write(b"Subject: slow\r\n\r\n")


async def _answer(reader: asyncio.StreamReader, code: bytes) -> None:
    while line := await reader.readline():
        if line[3:4] != b"-":
            if line[:3] != code:
                raise RuntimeError(f"heard {line!r} instead of {code!r}")
            return
    raise ConnectionResetError("hung up")


async def serve() -> None:
    """Answer requests until standard input ends."""
    crowd = Crowd()
    print("{}", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        request: dict[str, Any] = json.loads(line)
        if "open" in request:
            await crowd.open(**request["open"])
        answer = {**crowd.alive, "ended": crowd.ended}
        if "close" in request:
            await crowd.close()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())
