"""CPU time of what storing one message costs: record, journal line, index rows, queue turn.

A message of 5 KB with two recipients and the facts of an ordinary verdict. Printed is the best of
several runs, user and system time of this process, in milliseconds each; the disk is the one the
temporary directory is on. Run: ``python -m tests.perf.bench_store``.
"""

import asyncio
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from gateway.core.clock import SystemClock
from gateway.core.ids import IdSource
from gateway.core.record import CopyState, MessageFacts
from gateway.store import codec
from gateway.store.files import OsFileLayer
from gateway.store.index import Index
from gateway.store.journal import Journal
from gateway.store.records import FileRecords
from tests.contract.samples import NOON_MS, copy_event, make_copy, make_facts, message_line
from tests.contract.samples import write_journal as write_lines

_CONTENT = os.urandom(2500) * 2
_ids = IdSource("n1")
_clock = SystemClock()
_sample = make_facts(make_copy("a@one.example"), make_copy("b@two.example"))


class NoSyncs(OsFileLayer):
    """To tell our own work from the disk's."""

    def fsync(self, descriptor: int) -> None:
        """Not now."""

    def sync_directory(self, path: Path) -> None:
        """Not now."""


def _cpu_ms() -> tuple[float, float]:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime * 1000, spent.ru_stime * 1000


def _measure(name: str, run: Callable[[], int], rounds: int = 5) -> None:
    best = (1e9, 0.0, 0.0)
    for _ in range(rounds):
        user, system = _cpu_ms()
        done = run()
        user_after, system_after = _cpu_ms()
        each = ((user_after - user) / done, (system_after - system) / done)
        best = min(best, (sum(each), *each))
    print(f"{name:44} {best[0]:7.3f} (user {best[1]:.3f}, system {best[2]:.3f})")


def _fresh(count: int) -> Iterator[MessageFacts]:
    for _ in range(count):
        yield replace(_sample, id=_ids.next(_clock.now_ms()))


def _put(records: FileRecords, count: int = 400) -> int:
    for facts in _fresh(count):
        records.put_now(facts, _CONTENT)
    return count


def _put_side_by_side(records: FileRecords, waiters: int, count: int = 400) -> int:
    waiting = _fresh(count)

    async def session() -> None:
        for facts in waiting:
            await records.put(facts, _CONTENT)

    async def sessions() -> None:
        await asyncio.gather(*(session() for _ in range(waiters)))

    asyncio.run(sessions())
    return count


def _append(journal: Journal, count: int = 4000) -> int:
    for _ in range(count):
        journal.append(codec.message_event(_sample, NOON_MS))
    return count


def _append_durably(journal: Journal, count: int = 400) -> int:
    event = copy_event(_sample, CopyState.DELIVERED, at_ms=NOON_MS, reply="250 2.0.0 ok")
    for _ in range(count):
        journal.append_durable_now([event])
    return count


def _ingest(folder: Path, count: int = 4000) -> None:
    waiting = [
        make_facts(make_copy(f"u{n % 50}@example.org", CopyState.QUEUED), at_ms=NOON_MS + n)
        for n in range(count)
    ]
    write_lines(folder / "journal", "2026-11-23/smtp-1-1.jsonl", map(message_line, waiting))
    number = iter(range(100))

    def once() -> int:
        index = Index.open(f"sqlite:///{folder / f'index-{next(number)}.db'}", node="n1")
        done = index.ingest(folder / "journal").lines
        index.close()
        return done

    _measure("index: a message line (3 rows), in batches", once, rounds=3)
    index = Index.open(f"sqlite:///{folder / 'index-0.db'}", node="n1")
    _measure("queue: claim one copy", lambda: _claim(index, 200), rounds=1)
    _measure("queue: result of one copy to the index", lambda: _finish(index, folder, waiting))
    index.close()


def _claim(index: Index, count: int) -> int:
    for _ in range(count):
        index.leases.claim(owner="k", now_ms=NOON_MS * 2, lease_ms=9, limit=1, without=())
    return count


def _finish(index: Index, folder: Path, waiting: list[MessageFacts], count: int = 200) -> int:
    name = "2026-11-23/keeper-1-1.jsonl"
    for facts in waiting[:count]:
        event = copy_event(facts, CopyState.QUEUED, at_ms=NOON_MS * 2, attempts=1)
        write_lines(folder / "journal", name, [event])
        index.ingest(folder / "journal", names=[name])
    return count


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = FileRecords(folder / "records", folder / "tmp")
        unsynced = FileRecords(folder / "unsynced", folder / "tmp", file_layer=NoSyncs())
        journal = Journal(folder / "lines", "smtp", _clock)
        print(f"{'milliseconds of CPU each':44} {'all':>7}")
        _measure("record: put, no syncs", lambda: _put(unsynced))
        _measure("record: put, one after another", lambda: _put(records))
        _measure("record: put, 1 session", lambda: _put_side_by_side(records, 1))
        _measure("record: put, 20 sessions", lambda: _put_side_by_side(records, 20))
        _measure("journal: a message line", lambda: _append(journal))
        _measure("journal: a durable line", lambda: _append_durably(journal))
        _ingest(folder)
        journal.close()
        records.close()
        unsynced.close()


if __name__ == "__main__":
    main()
