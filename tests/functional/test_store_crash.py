"""Processes die under load: what was acknowledged is there, whole, and the index agrees."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gateway.core.record import CopyState
from gateway.store.index import Index
from gateway.store.rebuild import rebuild
from gateway.store.records import FileRecords
from tests.contract.samples import (
    NOON_MS,
    copy_event,
    everything,
    message_line,
    queued,
    write_journal,
)

ROOT = Path(__file__).parents[2]

# Holds mail as a worker does: record first, then the journal's line, then it says so.
WORKER = """
import asyncio, sys
from pathlib import Path
from gateway.core.clock import SystemClock
from gateway.store.codec import message_event
from gateway.store.journal import Journal
from gateway.store.records import FileRecords
from tests.contract.samples import make_facts

async def main(state):
    clock = SystemClock()
    records = FileRecords(state / "records", state / "tmp")
    journal = Journal(state / "journal", "smtp", clock)
    async def session():
        while True:
            facts = make_facts(at_ms=clock.now_ms())
            await records.put(facts, b"bytes of " + facts.id.encode() * 50)
            journal.append(message_event(facts, clock.now_ms()))
            sys.stdout.write(facts.id + "\\n")
            sys.stdout.flush()
    await asyncio.gather(*(session() for _ in range(10)))

asyncio.run(main(Path(sys.argv[1])))
"""

CLAIMER = """
import sys
from gateway.store.index import Index

index = Index.open(sys.argv[1], node="n1", busy_timeout_s=60)
now_ms = int(sys.argv[3])
while True:
    got = index.leases.claim(
        owner=sys.argv[2], now_ms=now_ms, lease_ms=60_000, limit=2, without=()
    )
    if not got:
        break
    for one in got:
        print(one.mail_id, flush=True)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, cwd=ROOT
    )


def acknowledged(output: Sequence[bytes]) -> list[str]:
    return [line.decode().strip() for line in output if line.endswith(b"\n")]


def kill_after(process: subprocess.Popen[bytes], lines: int) -> list[str]:
    with process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    return acknowledged(said)


def test_killed_workers_lose_nothing_they_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    url = f"sqlite:///{tmp_path / 'index.db'}"
    index = Index.open(url, node="n1")
    told: list[str] = []
    for lines in (3, 40, 77):
        told += kill_after(start(WORKER, str(tmp_path)), lines)
        index.ingest(tmp_path / "journal")  # the keeper reads along
    records = FileRecords(tmp_path / "records", tmp_path / "tmp")
    index.adopt(records)
    held = {row["mail_id"] for row in everything(index)["copy"] if row["state"] == "held"}
    assert len(told) >= 120
    assert set(told) <= held
    for mail_id in told:
        records.verify(mail_id)
        assert bytes(records.content(mail_id)) == b"bytes of " + mail_id.encode() * 50
    before = everything(index)
    report = rebuild(url, node="n1", records=records, journal=tmp_path / "journal")
    assert report.problems == []
    assert everything(index) == before
    index.close()
    records.close()


def test_processes_that_claim_side_by_side_share_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.db'}"
    index = Index.open(url, node="n1", busy_timeout_s=60)
    facts = queued(60)
    write_journal(
        tmp_path / "journal", "2026-11-23/smtp-1-1.jsonl", [message_line(one) for one in facts]
    )
    index.ingest(tmp_path / "journal")
    claimers = [start(CLAIMER, url, f"k{n}", str(NOON_MS + 10_000)) for n in range(3)]
    for number in range(20):  # a writer beside them: nobody may fail with BUSY
        event = copy_event(facts[number], CopyState.QUEUED, at_ms=NOON_MS + 50 + number)
        write_journal(tmp_path / "journal", "2026-11-23/keeper-2-1.jsonl", [event])
        index.ingest(tmp_path / "journal")
    taken: list[str] = []
    for claimer in claimers:
        with claimer:
            assert claimer.stdout is not None
            taken += acknowledged(claimer.stdout.readlines())
        assert claimer.returncode == 0
    assert Counter(taken) == Counter(one.id for one in facts)
    index.close()
