"""The crash matrix: one gateway under load, killed again and again at named points.

``tests/fakes/killpoints`` attaches the points from outside. A round arms each point once, in an
order of its own, and brings about what passes it; at the end every copy the client was told 250
for must be at the sink or ours, and one that is twice must have a reason (``ledger.judge``).
"""

import asyncio
import random
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.ledger import MARK, Entry, Ledger
from tests.fakes.settling import OURS, copies, settle
from tests.fakes.sink import Sink

ROOT = Path(__file__).parents[2]
ATTACHED = ROOT / "tests" / "fakes"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
MAIL = (
    "Date: Mon, 23 Nov 2026 09:00:00 +0100\r\nFrom: Anna <anna@elsewhere.example>\r\n"
    "To: Bert <bert@trial.example>\r\nSubject: Angebot {number}\r\n"
    "Message-ID: <{number}@elsewhere.example>\r\n\r\nGuten Tag, anbei {body}.\r\n"
)
KINDS = (  # what is in it, and to whom: handed over, held, both at once, by way of the queue
    ("das Angebot", ("clean@trial.example",)),
    (GTUBE, ("held@trial.example",)),
    (GTUBE, ("mixed@trial.example", "mixed@tolerant.example")),
    ("die Rechnung", ("queued@later.example",)),
)
UNDER_LOAD = (
    *("worker:after DATA", "worker:record torn", "worker:record before fsync"),
    *("worker:record after fsync", "worker:record before rename", "worker:record after rename"),
    *("worker:record durable", "worker:between hold and hand-over", "worker:before content"),
    *("worker:final dot sent", "worker:250 received, not processed"),
    *("worker:handed over, nothing written", "worker:before journal"),
    *("worker:journal written, no reply", "worker:answered, reply unsent"),
    *("keeper:before claim", "keeper:claim committed", "keeper:claimed, not tried"),
    *("keeper:before content", "keeper:final dot sent", "keeper:250 received, not processed"),
    *("keeper:handed over, nothing written", "keeper:journal line torn"),
    *("keeper:journal before fsync", "keeper:journal after fsync"),
    *("keeper:result durable, index unaware", "keeper:result in the index"),
    *("keeper:ingest begins", "keeper:ingest before commit", "keeper:ingest committed"),
    "supervisor:supervising",
)
AT_KEEPER_START = (
    *("keeper:adopted before commit", "keeper:record before unlink", "keeper:record after unlink"),
)
MIGRATING = ("keeper:migration begins", "keeper:migration before commit")
REINDEXING = (
    *("keeper:reindex before swap", "keeper:reindex within swap", "keeper:reindex after swap"),
)
MODEL_SWAP = ("worker:model swap begins", "worker:model mapped, not in use")
PROMOTING = ("cli:model swap begins", "cli:model pointer replaced, not synced")
RELEASING = ("cli:release decided", "cli:release written")
PUBLISHING = ("cli:publish begins", "cli:publish half done")
WORKER_DIES = (
    *("supervisor:before a child starts", "supervisor:child started"),
    "supervisor:child died, slot not read",
)
RELOADING = ("supervisor:reload begins", "supervisor:child told to drain", "supervisor:reload done")
POINTS = (
    *UNDER_LOAD,
    *AT_KEEPER_START,
    *MIGRATING,
    *REINDEXING,
    *MODEL_SWAP,
    *PROMOTING,
    *RELEASING,
    *PUBLISHING,
    *WORKER_DIES,
    *RELOADING,
)


@dataclass(slots=True)
class Load:
    """Clients that send one message after the other until ``stop``, and then finish theirs."""

    ledger: Ledger
    pause_s: float = 0.08
    stopping: bool = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as senders:
            for _ in range(self.ledger.connections):
                senders.create_task(self._send())

    async def _send(self) -> None:
        client = None
        while not self.stopping:
            entry = self._next()
            end = time.monotonic() + self.ledger.patience_s
            while not entry.taken:
                assert not entry.refused, f"{entry.number} was refused: {entry.answers}"
                assert time.monotonic() < end, f"no answer for {entry.number}: {entry.answers}"
                client = await self.ledger.attempt(client, entry)
            await asyncio.sleep(self.pause_s)
        if client is not None:
            client.close()

    def _next(self) -> Entry:
        number = len(self.ledger.entries)
        body, recipients = KINDS[number % len(KINDS)]
        text = MAIL.format(number=number, body=body).encode()
        content = MARK + str(number).encode() + b"\r\n" + text
        self.ledger.entries.append(Entry(number=number, content=content, recipients=recipients))
        return self.ledger.entries[-1]


@dataclass(slots=True)
class Matrix:
    """A gateway, its two sinks and the armed points."""

    gateway: Gateway
    here: Path
    chance: random.Random
    hits: Counter[str] = field(default_factory=Counter)
    released: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def prepared(cls, directory: Path, sink: Sink, later: Sink, seed: int) -> "Matrix":
        here = directory / "killpoints"
        here.mkdir()
        gateway = Gateway(directory, f"127.0.0.1:{sink.port}", workers=2)
        gateway.environment |= {
            "PYTHONPATH": f"{ATTACHED / 'killpoints'}:{ATTACHED / 'attaching'}",
            "KILLPOINTS": str(here),
            "KILLPOINTS_OUTAGE": str(later.port),
            "SCHWAMM_DELIVERY__FIRST_RETRY_S": "1",
        }
        return cls(gateway, here, random.Random(seed))

    def start(self, sink: Sink, later: Sink) -> None:
        """Three domains: one at ``sink``, one there that holds nothing, one by way of the queue."""
        self.gateway.init()
        add = ("domain", "add")
        self.gateway.run(*add, "later.example", "--next-hop", f"127.0.0.1:{later.port}")
        tolerant = ("--unsure-score", "900", "--spam-score", "1000", "--reject-score", "1001")
        hop = ("--next-hop", f"127.0.0.1:{sink.port}")
        self.gateway.run(*add, "tolerant.example", *hop, *tolerant)
        self.gateway.start()

    def kill_at(self, point: str) -> None:
        """Arm a point, bring about what passes it, and wait for the death there."""
        role = point.partition(":")[0]
        armed = self.here / point
        passages = self.chance.randrange(4) if point in UNDER_LOAD else 0
        if role != "supervisor" and role != "cli":
            wait_until(lambda: self.gateway.children().get(_ROLES[role]), f"a {role}")
        armed.with_suffix(".new").write_text(str(passages))
        armed.with_suffix(".new").rename(armed)
        self._provoke(point)
        wait_until(lambda: not armed.exists(), f"somebody to die at {point}", 45.0)
        self.hits[point] += 1
        if role == "supervisor":
            self._restart()

    def _provoke(self, point: str) -> None:
        if point in AT_KEEPER_START:
            self._kill("keeper")
        elif point in MIGRATING:
            self._go_back_a_version()
            self._kill("keeper")
        elif point in REINDEXING:
            (self.gateway.state / "run" / "reindex").touch()
        elif point in MODEL_SWAP:
            self._touch_model_pointer()
        elif point in PROMOTING:
            name = (self.gateway.state / "models" / "current").read_text().strip()
            assert self.gateway.run("model", "promote", name, check=False).returncode == -9
        elif point in RELEASING:
            self._release(point)
        elif point in PUBLISHING:
            days = str(self.chance.randrange(10, 99))
            done = self.gateway.run(
                "domain", "set", "later.example", "--retention-days", days, check=False
            )
            assert done.returncode == -9, done.stderr
        elif point in WORKER_DIES:
            self._kill("smtp")
        elif point in RELOADING:
            assert self.gateway.process is not None
            self.gateway.process.send_signal(1)

    def _kill(self, role: str) -> None:
        def killed() -> bool:
            for victim in self.gateway.children().get(role, [])[:1]:
                victim.kill()
                return True
            return False

        wait_until(killed, f"a process of role {role}")

    def _restart(self) -> None:
        self.gateway.stop(9)
        self.gateway.start()

    def _touch_model_pointer(self) -> None:
        pointer = self.gateway.state / "models" / "current"
        fresh = pointer.with_name(".current-by-test")
        fresh.write_text(pointer.read_text())
        fresh.rename(pointer)

    def _go_back_a_version(self) -> None:
        wait_until(self._is_migrated, "a keeper that has migrated the index")
        with sqlite3.connect(self.index, timeout=20) as connection:
            connection.execute("alter table message drop column mood")
            (version,) = connection.execute("select version_num from index_version").fetchone()
            connection.execute("update index_version set version_num = ?", (_before(version),))
        connection.close()

    def _is_migrated(self) -> bool:
        connection = sqlite3.connect(self.index, timeout=20)
        try:
            columns = connection.execute("pragma table_info(message)").fetchall()
            return any(column[1] == "mood" for column in columns)
        finally:
            connection.close()

    def _release(self, point: str) -> None:
        (mail_id, recipient) = self._held()
        done = self.gateway.run("quarantine", "release", mail_id, check=False)
        assert done.returncode == -9, done.stderr
        if point == "cli:release written":
            self.released.append((mail_id, recipient))

    def _held(self) -> tuple[str, str]:
        found: list[tuple[str, str]] = []

        def look() -> bool:
            found[:] = self.copies("held")
            return bool(found)

        wait_until(look, "something held")
        return self.chance.choice(found)

    @property
    def index(self) -> Path:
        return self.gateway.state / "index.db"

    def copies(self, *states: str) -> list[tuple[str, str]]:
        """Ids and recipients of copies in these states."""
        return copies(self.gateway, *states)

    def settle(self) -> None:
        """Let the queue run dry, and make the index anew: it has to come to the same."""
        settle(self.gateway)
        before = sorted(self.copies(*OURS))
        assert self.gateway.stop() == 0
        self.gateway.run("reindex")
        after = sorted(self.copies(*OURS))
        assert after == before, (
            f"only anew: {set(after) - set(before)}; lost: {set(before) - set(after)}"
        )


_ROLES = {"worker": "smtp", "keeper": "keeper"}


def _before(version: str) -> str:
    return f"{int(version) - 1:04d}"
