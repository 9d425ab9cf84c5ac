"""Many large messages at once, each sent until it is taken; in a process of its own.

Each request is a JSON line: ``port``, ``messages``, ``size_bytes``. The answer is the client's
ledger: how often each code was heard, how many messages got their 250, and the seconds it took. A
message carries its number in ``X-Ledger`` and is 25 MB of lines of base64, as an attachment is.
"""

import asyncio
import collections
import json
import random
import sys
import time
from typing import Any

import uvloop

_PIECE = 256 * 1024
_PATIENCE_S = 900.0


def head(number: int, size_bytes: int) -> bytes:
    """The header section of message ``number``."""
    return (
        b"X-Ledger: %d\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\nFrom: anna@elsewhere.example\r\n"
        b"To: bert@trial.example\r\nSubject: plans\r\nMessage-ID: <%d@elsewhere.example>\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=plans.bin\r\n"
        b"Content-Transfer-Encoding: base64\r\nX-Size: %d\r\n\r\n" % (number, number, size_bytes)
    )


def piece() -> bytes:
    """Lines of base64, the same in every message: making them must cost the generator nothing."""
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    chance = random.Random(3)
    line = bytes(chance.choices(letters, k=76)) + b"\r\n"
    return line * (_PIECE // len(line))


async def send(number: int, request: dict[str, Any], body: bytes, heard: collections.Counter[str]):
    """One message, until its 250."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        code = await attempt(number, request, body)
        heard[code] += 1
        if code == "250":
            return
        if time.monotonic() > end or code.startswith("5"):
            raise RuntimeError(f"message {number} was not taken: {code}")
        await asyncio.sleep(random.uniform(0.5, 1.5))


async def attempt(number: int, request: dict[str, Any], body: bytes) -> str:
    """One transaction; the code of its last answer, ``lost`` where there was none."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", request["port"])
        commands = (
            b"EHLO large.elsewhere.example\r\n",
            b"MAIL FROM:<anna@elsewhere.example>\r\n",
            b"RCPT TO:<bert@trial.example>\r\n",
            b"DATA\r\n",
        )
        for command, wanted in zip(
            (b"", *commands), ("220", "250", "250", "250", "354"), strict=True
        ):
            writer.write(command)
            if (code := await reply(reader)) != wanted:
                return code
        writer.write(head(number, request["size_bytes"]))
        for _ in range(request["size_bytes"] // len(body)):
            writer.write(body)
            await writer.drain()
        writer.write(b".\r\n")
        return await reply(reader)
    except OSError:
        return "lost"
    finally:
        if writer is not None:
            writer.close()


async def reply(reader: asyncio.StreamReader) -> str:
    """The code of the next reply."""
    while line := await reader.readline():
        if line[3:4] != b"-":
            return line[:3].decode()
    raise ConnectionResetError


async def perform(request: dict[str, Any]) -> dict[str, Any]:
    """All messages at once."""
    heard: collections.Counter[str] = collections.Counter()
    body, began_s = piece(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(request["messages"]):
            group.create_task(send(number, request, body, heard))
    return {
        "heard": heard,
        "seconds": time.monotonic() - began_s,
        "body_bytes": request["size_bytes"] // len(body) * len(body),
    }


def main() -> None:
    """Answer requests until standard input ends."""
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(uvloop.run(perform(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
