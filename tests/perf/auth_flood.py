"""``python -m tests.perf.auth_flood``: does guessing passwords slow mail or honest logins down?

Clients from thousands of networks try wrong passwords under TLS, as many as the gateway lets them.
Beside them mail comes in at a steady pace, from one client at a time, turn and turn about with and
without the flood; and a person logs in from a network that logged in before. The guessers run with
the lowest priority: they stand for other people's machines, whose CPU is not ours.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from tests.fakes.gateway import Gateway
from tests.fakes.sink import sink
from tests.perf.end_to_end import percentile

GUESSERS = 12
RATE_PER_S = 20.0
_LOGIN, _PASSWORD = "anna@trial.example", "a long password"
_KNOWN = "127.200.1.1"  # the only network without limits, so that nothing but the flood counts
_MAIL = (
    b"From: Bert <bert@client.example>\r\nSubject: Hi\r\nMessage-ID: <1@client.example>\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nHello\r\n.\r\n"
)
_COMMANDS = (
    b"EHLO client.example\r\n",
    b"MAIL FROM:<bert@client.example>\r\n",
    b"RCPT TO:<anna@trial.example>\r\n",
    b"DATA\r\n",
    _MAIL,
)


class Client:
    """One connection that asks and hears."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def heard(self) -> str:
        """The code of the next reply."""
        while line := await asyncio.wait_for(self._reader.readline(), 60):
            if line[3:4] != b"-":
                return line[:3].decode("ascii", "replace")
        raise ConnectionError

    async def ask(self, line: bytes) -> str:
        self._writer.write(line)
        return await self.heard()

    async def secure(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await self.ask(b"EHLO client.example\r\n")
        await self.ask(b"STARTTLS\r\n")
        await self._writer.start_tls(context)
        await self.ask(b"EHLO client.example\r\n")

    async def login(self, password: str) -> str:
        secret = base64.b64encode(f"\0{_LOGIN}\0{password}".encode()).decode()
        return await self.ask(f"AUTH PLAIN {secret}\r\n".encode())


@contextlib.asynccontextmanager
async def connected(port: int, source: str) -> AsyncIterator[Client]:
    """A client that was greeted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        client = Client(reader, writer)
        await client.heard()
        yield client
    finally:
        writer.close()


async def guess(port: int, number: int, heard: Counter[str]) -> None:
    """One guesser, each time from another network."""
    for turn in range(1_000_000):
        place = number * 2000 + turn
        source = f"127.{1 + place // 250 % 190}.{place % 250}.1"
        try:
            async with connected(port, source) as client:
                await client.secure()
                for _ in range(3):
                    heard[await client.login("wrong")] += 1
        except (OSError, RuntimeError, TimeoutError):
            await asyncio.sleep(0.05)


async def attack(port: int) -> None:
    """Guess until standard input ends; print what was heard."""
    heard: Counter[str] = Counter()
    tasks = [asyncio.create_task(guess(port, number, heard)) for number in range(GUESSERS)]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    print(json.dumps(heard))


async def mail_times(port: int, seconds: float) -> list[float]:
    """Milliseconds of transactions that begin at a steady pace."""
    taken: list[float] = []

    async def one() -> None:
        began_s = time.monotonic()
        async with connected(port, _KNOWN) as client:
            codes = [await client.ask(command) for command in _COMMANDS]
        assert codes[-1] == "250", codes
        taken.append((time.monotonic() - began_s) * 1000)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(round(seconds * RATE_PER_S)):
            tasks.create_task(one())
            await asyncio.sleep(1 / RATE_PER_S)
    return taken


async def login_times(port: int, count: int) -> tuple[Counter[str], list[float]]:
    """Right logins, one after another: what they heard, and after how many milliseconds."""
    heard: Counter[str] = Counter()
    taken = []
    for _ in range(count):
        async with connected(port, _KNOWN) as client:
            await client.secure()
            began_s = time.monotonic()
            heard[await client.login(_PASSWORD)] += 1
            taken.append((time.monotonic() - began_s) * 1000)
    return heard, taken


async def flooded(port: int, seconds: float) -> tuple[list[float], Counter[str], list[float], str]:
    """Mail and logins in a flood, and what the guessers heard."""
    command = ("nice", "-n", "19", sys.executable, "-m", "tests.perf.auth_flood")
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    guessers = await asyncio.create_subprocess_exec(*command, "--attack", str(port), **pipes)
    await asyncio.sleep(3)
    mails = await mail_times(port, seconds)
    heard, logins = await login_times(port, 5)
    said, _ = await guessers.communicate(b"")
    return mails, heard, logins, said.decode().strip()


async def measure(folder: Path, rounds: int, seconds: float) -> None:
    """Print a line for each half of each round."""
    async with sink() as to:
        gateway = Gateway(folder, f"127.0.0.1:{to.port}", workers=2)
        gateway.environment |= {
            "SCHWAMM_SMTP__AUTH": "true",
            "SCHWAMM_SMTP__UNLIMITED_NETWORKS": f'["{_KNOWN}/32"]',
            "SCHWAMM_SMTP__GREET_DELAY_S": "0",
            "SCHWAMM_SMTP__UNKNOWN_DELAY_S": "0",
            "SCHWAMM_LOG__LEVEL": "warning",
        }
        try:
            await asyncio.to_thread(gateway.init)
            add = ("user", "add", _LOGIN, "--password", _PASSWORD)
            await asyncio.to_thread(gateway.run, *add)
            await asyncio.to_thread(gateway.start)
            await mail_times(gateway.smtp_port, 2)
            for _ in range(rounds):
                alone = await mail_times(gateway.smtp_port, seconds)
                _, quick = await login_times(gateway.smtp_port, 5)
                show("alone", alone, quick, "")
                mails, heard, logins, said = await flooded(gateway.smtp_port, seconds)
                show("flood", mails, logins, f"{dict(heard)}, guesses {said}")
        finally:
            gateway.kill_everything()


def show(what: str, mails: list[float], logins: list[float], more: str) -> None:
    p50, p95 = (percentile(sorted(mails), share) for share in (0.5, 0.95))
    slowest = f"slowest right login {max(logins):.0f} ms"
    print(f"{what}: mail p50 {p50:.0f} ms, p95 {p95:.0f} ms; {slowest} {more}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attack", type=int, default=0, help="port; used by the program itself")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    if arguments.attack:
        asyncio.run(attack(arguments.attack))
        return
    with tempfile.TemporaryDirectory(prefix="schwamm-flood-") as folder:
        asyncio.run(measure(Path(folder), arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
