"""A client that keeps a ledger: what it sent, what it heard, and later where each message is.

It behaves as a sending mail server does: after a 4xx or a broken connection it tries again. The
judge compares its 250s with the sink and the quarantine; a message counts as lost when the client
heard 250 and it is in neither.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiosmtplib

MARK = b"X-Ledger: "


@dataclass(slots=True, kw_only=True)
class Entry:
    """One message; ``answers`` are codes in the order heard, 0 for a broken connection."""

    number: int
    content: bytes
    recipients: tuple[str, ...]
    answers: list[int] = field(default_factory=list)

    @property
    def taken(self) -> bool:
        return bool(self.answers) and self.answers[-1] == 250

    @property
    def refused(self) -> bool:
        return bool(self.answers) and 500 <= self.answers[-1] < 600

    @property
    def may_be_double(self) -> bool:
        """The client tried again after a broken connection or a 4xx."""
        return len(self.answers) > 1


def entries_from(paths: Iterable[Path], recipients: Sequence[str]) -> list[Entry]:
    """Real messages as an MTA would send them: CRLF, no mbox line, one mark in front."""
    entries = []
    for number, path in enumerate(paths):
        raw = path.read_bytes()
        if raw.startswith(b"From "):
            raw = raw.partition(b"\n")[2]
        lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\0", b"")
        content = MARK + str(number).encode() + b"\r\n" + lines.replace(b"\n", b"\r\n")
        to = (recipients[number % len(recipients)],)
        entries.append(Entry(number=number, content=content, recipients=to))
    return entries


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Sends every entry until it has a final answer."""

    host: str
    port: int
    entries: list[Entry]
    connections: int = 4
    patience_s: float = 60.0
    pause_s: float = 0.0  # of each connection between two messages, to stretch the load
    sent: int = 0

    async def run(self) -> None:
        waiting: asyncio.Queue[Entry] = asyncio.Queue()
        for entry in self.entries:
            waiting.put_nowait(entry)
        async with asyncio.TaskGroup() as group:
            for _ in range(self.connections):
                group.create_task(self._send_all(waiting))

    async def _send_all(self, waiting: asyncio.Queue[Entry]) -> None:
        client: aiosmtplib.SMTP | None = None
        end = time.monotonic() + self.patience_s
        while True:
            try:
                entry = waiting.get_nowait()
            except asyncio.QueueEmpty:
                break
            while not (entry.taken or entry.refused):
                if time.monotonic() > end:
                    raise AssertionError(f"no final answer for {entry.number}: {entry.answers}")
                client = await self._attempt(client, entry)
            self.sent += 1
            await asyncio.sleep(self.pause_s)
        if client is not None:
            client.close()

    async def _attempt(
        self, client: aiosmtplib.SMTP | None, entry: Entry
    ) -> aiosmtplib.SMTP | None:
        try:
            if client is None or not client.is_connected:
                client = aiosmtplib.SMTP(
                    hostname=self.host, port=self.port, timeout=30, start_tls=False
                )
                await client.connect()
            await client.mail("sender@elsewhere.example")
            for recipient in entry.recipients:
                await client.rcpt(recipient)
            await client.data(entry.content)
            entry.answers.append(250)
        except aiosmtplib.SMTPResponseException as answer:
            entry.answers.append(max(0, answer.code))
            if client is not None:
                client.close()
            client = None
            if not entry.refused:
                await asyncio.sleep(0.1)
        except (aiosmtplib.SMTPException, OSError):
            entry.answers.append(0)
            if client is not None:
                client.close()
            client = None
            await asyncio.sleep(0.1)
        return client


def number_of(content: bytes) -> int:
    """The mark of a message as it arrived somewhere."""
    at = content.index(MARK) + len(MARK)
    return int(content[at : content.index(b"\n", at)])


def judge(
    entries: Sequence[Entry],
    delivered: Iterable[bytes],
    held: Iterable[bytes],
    *,
    under_way_when_killed: int = 0,
) -> dict[str, int]:
    """Where every message is; raises AssertionError for one lost, doubled or refused and kept.

    ``under_way_when_killed`` is how many deliveries killed keepers can have had under way: whether
    the next hop took those, nobody could know, so that many may arrive twice though the client
    heard 250 at once.
    """
    at_sink = Counter(number_of(content) for content in delivered)
    in_hold = Counter(number_of(content) for content in held)
    counts = Counter[str]()
    unexplained = 0
    for entry in entries:
        places = at_sink[entry.number] + in_hold[entry.number]
        if entry.taken and not places:
            raise AssertionError(f"LOST: message {entry.number} was answered {entry.answers}")
        if places > 1 and not entry.may_be_double:
            unexplained += 1
            if unexplained > under_way_when_killed:
                raise AssertionError(f"DOUBLE: message {entry.number} was answered {entry.answers}")
        if entry.refused and places and not entry.may_be_double:
            raise AssertionError(f"refused and kept: {entry.number}, {entry.answers}")
        counts["sent"] += 1
        counts["delivered"] += at_sink[entry.number] > 0
        counts["held"] += in_hold[entry.number] > 0 and not at_sink[entry.number]
        counts["refused"] += entry.refused and not places
        counts["doubled"] += max(0, places - 1)
    if counts["sent"] != counts["delivered"] + counts["held"] + counts["refused"]:
        raise AssertionError(f"the ledger does not balance: {dict(counts)}")
    return dict(counts)
