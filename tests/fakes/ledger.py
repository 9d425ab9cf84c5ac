"""A client that keeps a ledger: what it sent, what it heard, and later where each message is.

It behaves as a sending mail server does: after a 4xx or a broken connection it tries again. The
judge compares its 250s with the sinks and the quarantine, copy by copy: one is lost when the client
heard 250 and it is in neither, and one that is somewhere twice needs a reason.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiosmtplib

from tests.fakes.sink import Sink

MARK = b"X-Ledger: "
Copies = Counter[tuple[int, str]]  # a message's number and a recipient -> how often


@dataclass(slots=True, kw_only=True)
class Entry:
    """One message; ``answers`` are codes in the order heard, 0 for a broken connection."""

    number: int
    content: bytes
    recipients: tuple[str, ...]
    answers: list[int] = field(default_factory=list)
    unanswered: int = 0  # how often the connection broke when DATA had been said, before its answer

    @property
    def taken(self) -> bool:
        return bool(self.answers) and self.answers[-1] == 250

    @property
    def refused(self) -> bool:
        return bool(self.answers) and 500 <= self.answers[-1] < 600


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
                client = await self.attempt(client, entry)
            self.sent += 1
            await asyncio.sleep(self.pause_s)
        if client is not None:
            client.close()

    async def attempt(self, client: aiosmtplib.SMTP | None, entry: Entry) -> aiosmtplib.SMTP | None:
        """Send one entry once; returns the connection if it can be used again."""
        asked = False
        try:
            if client is None or not client.is_connected:
                client = aiosmtplib.SMTP(
                    hostname=self.host, port=self.port, timeout=30, start_tls=False
                )
                await client.connect()
            await client.mail("sender@elsewhere.example")
            for recipient in entry.recipients:
                await client.rcpt(recipient)
            asked = True
            await client.data(entry.content)
        except (aiosmtplib.SMTPException, OSError) as error:
            is_answer = isinstance(error, aiosmtplib.SMTPResponseException)
            entry.answers.append(max(0, error.code) if is_answer else 0)
            entry.unanswered += asked and entry.answers[-1] == 0
            if client is not None:
                client.close()
            if not entry.refused:
                await asyncio.sleep(0.1)
            return None
        entry.answers.append(250)
        return client


def number_of(content: bytes) -> int:
    """The mark of a message as it arrived somewhere."""
    at = content.index(MARK) + len(MARK)
    return int(content[at : content.index(b"\n", at)])


def at_sinks(*sinks: Sink) -> Copies:
    """Every copy the next hops took."""
    return Counter(
        (number_of(message.content), recipient)
        for sink in sinks
        for message in sink.messages
        for recipient in message.rcpt_to
    )


def tries_without_result(directory: Path) -> Copies:
    """What killed keepers had under way, as ``tests/fakes/attaching`` noted it.

    The final dot was sent, or was about to be, and no result of it is durable.
    """
    lost: Copies = Counter()
    for path in directory.glob("tries-*"):
        last = {}
        for line in path.read_text().splitlines():
            what, number, recipient = line.split(" ")
            last[int(number), recipient] = what
        lost.update(key for key, what in last.items() if what == "dot")
    return lost


def judge(
    entries: Iterable[Entry], at_sink: Copies, ours: Copies, answers_lost: Copies | None = None
) -> Counter[str]:
    """Where every copy is: at a next hop, held here, or refused.

    ``answers_lost`` counts deliveries of the queue whose answer nobody has: that of a killed
    keeper, or one that a next hop took without saying so.

    Raises AssertionError for a copy that is lost, for one that is somewhere more often than its
    client's and its next hop's lost answers explain, and for one refused and kept.
    """
    lost = answers_lost or Counter()
    counts: Counter[str] = Counter()
    for entry in entries:
        for recipient in entry.recipients:
            key = entry.number, recipient
            places, excuses = at_sink[key] + ours[key], entry.unanswered + lost[key]
            about = (
                f"{key}: client heard {entry.answers}, {entry.unanswered} without its answer; "
                f"{at_sink[key]} at the sink, {ours[key]} held, {lost[key]} answers lost behind us"
            )
            assert entry.taken or entry.refused, f"no final answer for {about}"
            assert places >= 1 or not entry.taken, f"LOST {about}"
            assert places <= entry.taken + excuses, f"DOUBLE or refused and kept {about}"
            counts["copies"] += 1
            counts["at the sink"] += at_sink[key] > 0
            counts["held"] += ours[key] > 0 and not at_sink[key]
            counts["refused"] += not places
            counts["twice"] += max(0, places - 1)
        counts["messages"] += 1
        counts["answers the clients lost"] += entry.unanswered
    counts["answers the queue lost"] = sum(lost.values())
    assert counts["copies"] == counts["at the sink"] + counts["held"] + counts["refused"]
    return counts
