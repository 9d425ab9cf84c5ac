"""Journals: no line lost that was written, none half read, and durable when asked."""

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.errors import StorageError, StorageFullError
from gateway.core.record import Event, What
from gateway.store.files import OsFileLayer
from gateway.store.journal import Journal
from gateway.store.journal_reading import JournalProblem, journal_names, read_from
from tests.contract.samples import DAY_MS, NOON_MS, FakeClock
from tests.fakes.power_loss import RecordingFiles

ROOT = Path(__file__).parents[2]


def event(number: int = 0, **detail: object) -> Event:
    return Event(
        at_ms=NOON_MS + number,
        what=What.COPY,
        mail_id="1jd8m3q7k-n1-4h2k0a9",
        recipient="bert@example.org",
        detail={"state": "delivered", "number": number, **detail},
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Iterator[Journal]:
    one = Journal(tmp_path / "journal", "smtp", clock)
    yield one
    one.close()


def lines_in(directory: Path) -> list[Event | JournalProblem]:
    return [
        entry for name in journal_names(directory) for entry, _ in read_from(directory / name, 0)
    ]


def test_a_line_is_there_at_once_and_readable(journal: Journal, tmp_path: Path) -> None:
    events = [event(1, subject="Grüße\n\x9b2J\u202e"), Event(at_ms=5, what=What.AVAILABILITY)]
    for one in events:
        journal.append(one)
    directory = tmp_path / "journal"
    (name,) = journal_names(directory)
    assert name == f"2026-11-23/smtp-{os.getpid()}-{NOON_MS}.jsonl"
    assert journal.names == (name,)
    assert lines_in(directory) == events
    raw = (directory / name).read_bytes()
    assert raw.count(b"\n") == 2
    assert b"\xc2\x9b" not in raw
    assert "\u202e".encode() not in raw
    assert "Grüße".encode() not in raw  # a line with something unfit is escaped as a whole
    assert json.loads(raw.splitlines()[0])["v"] == 1
    assert (directory / name).stat().st_mode & 0o077 == 0


def test_lone_surrogates_survive(journal: Journal, tmp_path: Path) -> None:
    journal.append(event(helo="\udcff\ud800"))
    (back,) = lines_in(tmp_path / "journal")
    assert isinstance(back, Event)
    assert back.detail["helo"] == "\udcff\ud800"


def test_reading_goes_on_from_an_offset(journal: Journal, tmp_path: Path) -> None:
    for number in range(3):
        journal.append(event(number))
    path = tmp_path / "journal" / journal.names[0]
    (_, first), (_, second), (_, third) = read_from(path, 0)
    assert [entry for entry, _ in read_from(path, first)] == [event(1), event(2)]
    assert list(read_from(path, second)) == [(event(2), third)]
    assert list(read_from(path, third)) == []
    assert third == path.stat().st_size


def test_a_gap_is_passed_over_and_offsets_stay(journal: Journal, tmp_path: Path) -> None:
    """What gateway.store.purging leaves where lines were."""
    for number in range(3):
        journal.append(event(number))
    (name,) = journal_names(tmp_path / "journal")
    path = tmp_path / "journal" / name
    (_, first), (_, second), (_, third) = read_from(path, 0)
    octets = path.read_bytes()
    gap = b'{"skip":%d}\n' % (second - first)
    path.write_bytes(octets[:first] + gap.ljust(second - first, b"\0") + octets[second:])
    assert list(read_from(path, 0)) == [(event(0), first), (event(2), third)]
    assert list(read_from(path, first)) == [(event(2), third)]


def test_a_torn_end_waits_for_its_rest(tmp_path: Path, journal: Journal) -> None:
    journal.append(event(1))
    journal.append(event(2))
    path = tmp_path / "journal" / journal.names[0]
    whole = path.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:cut])
        assert [entry for entry, _ in read_from(path, 0)] == [event(1)]
    path.write_bytes(whole[:-9] + b"\0" * 400)  # what a file system may leave after a power loss
    assert [entry for entry, _ in read_from(path, 0)] == [event(1)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\0\0\0\0", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "object is missing"),
        (b'{"v":1,"what":"copy"}', "'at'"),
        (b'{"v":1,"at":1.5,"what":"copy"}', "'at'"),
        (b'{"v":1,"at":99999999999999999999,"what":"copy"}', "'at'"),
        (b'{"v":1,"at":1,"what":"copy","d":[]}', "'d'"),
        (b'{"v":1,"at":1,"what":"copy","d":{"x":NaN}}', "NaN"),
        (b'{"v":2,"at":1,"what":"copy"}', "format 2"),
        (b"\xff\xfe", "not valid JSON"),
        (b"", "not valid JSON"),
    ],
)
def test_a_bad_line_is_named_and_passed_over(
    tmp_path: Path, journal: Journal, line: bytes, reason: str
) -> None:
    journal.append(event(1))
    path = tmp_path / "journal" / journal.names[0]
    start = path.stat().st_size
    with path.open("ab") as file:
        file.write(line + b"\n")
    journal.append(event(2))
    one, problem, two = (entry for entry, _ in read_from(path, 0))
    assert (one, two) == (event(1), event(2))
    assert isinstance(problem, JournalProblem)
    assert (problem.offset, problem.path) == (start, path)
    assert reason in problem.reason


def test_an_endless_line_is_passed_over(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.journal_reading._MAX_LINE_BYTES", 500)
    journal.append(event(1))
    path = tmp_path / "journal" / journal.names[0]
    with path.open("ab") as file:
        file.write(b"x" * 1700)
    assert [entry for entry, _ in read_from(path, 0)] == [event(1)]  # no end yet
    with path.open("ab") as file:
        file.write(b"\n")
    journal.append(event(2))
    one, problem, two = (entry for entry, _ in read_from(path, 0))
    assert (one, two) == (event(1), event(2))
    assert isinstance(problem, JournalProblem)
    assert problem.reason == "line too long"


def test_only_journal_files_are_read(tmp_path: Path, journal: Journal) -> None:
    journal.append(event())
    directory = tmp_path / "journal"
    (directory / "2026-11-23" / "smtp-1-1.jsonl~").write_text("mine")
    (directory / "notes").mkdir()
    assert journal_names(directory) == list(journal.names)
    assert journal_names(tmp_path / "nothing") == []
    assert list(read_from(directory / "gone.jsonl", 0)) == []


def test_a_new_day_begins_a_new_file(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    journal.append(event(1))
    clock.at_ms += DAY_MS
    journal.append_durable_now([event(2)])
    clock.at_ms -= DAY_MS  # somebody sets the clock back
    journal.append(event(3))
    names = journal_names(tmp_path / "journal")
    assert [name[:10] for name in names] == ["2026-11-23", "2026-11-23", "2026-11-24"]
    assert sorted(names) == sorted(journal.names)
    assert lines_in(tmp_path / "journal") == [event(1), event(3), event(2)]


def test_a_removed_file_is_not_written_on(journal: Journal, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal.append(event(1))
    shutil.rmtree(directory)
    journal.append(event(2))
    journal.append_durable_now([event(3)])
    assert lines_in(directory) == [event(2), event(3)]


def test_a_file_removed_before_its_flush_was_not_durable(tmp_path: Path, clock: FakeClock) -> None:
    """Who waits hears that it failed, and tries again in a new file."""
    (tmp_path / "journal").mkdir()

    class Removing(OsFileLayer):
        armed = True

        def fsync(self, descriptor: int) -> None:
            super().fsync(descriptor)
            if self.armed:
                self.armed = False
                shutil.rmtree(tmp_path / "journal")

    journal = Journal(tmp_path / "journal", "smtp", clock, file_layer=Removing())
    with pytest.raises(StorageError):
        journal.append_durable_now([event(1)])
    journal.append_durable_now([event(1)])
    assert lines_in(tmp_path / "journal") == [event(1)]
    journal.close()


def test_sisters_never_share_a_file(tmp_path: Path, clock: FakeClock) -> None:
    sisters = [Journal(tmp_path / "journal", "smtp", clock) for _ in range(3)]
    for number, one in enumerate(sisters):
        one.append(event(number))
        one.close()
    assert len(journal_names(tmp_path / "journal")) == 3


def test_kill_loses_no_appended_line(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from gateway.core.clock import SystemClock\n"
        "from gateway.core.record import Event\n"
        "from gateway.store.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), 'smtp', SystemClock())\n"
        "for number in range(10**9):\n"
        "    journal.append(Event(at_ms=number, what='copy', detail={'x': 'y' * 500}))\n"
        "    sys.stdout.write(f'{number}\\n'); sys.stdout.flush()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    told = [int(line) for line in said if line.endswith(b"\n")]
    events = [entry for entry in lines_in(tmp_path) if isinstance(entry, Event)]
    assert [entry.at_ms for entry in events][: len(told)] == told


async def test_durable_lines_survive_a_power_loss(tmp_path: Path, clock: FakeClock) -> None:
    root = tmp_path / "state"
    root.mkdir()
    layer = RecordingFiles(root)
    journal = Journal(root / "journal", "keeper", clock, file_layer=layer)
    await asyncio.gather(*(journal.append_durable([event(n), event(n)]) for n in range(20)))
    journal.append(event(99))
    left = layer.survivors(tmp_path / "after")
    survived = lines_in(left / "journal")
    assert len(survived) == 40
    assert all(isinstance(entry, Event) for entry in survived)
    assert len(layer.names("fsync")) <= 20
    journal.close()


@pytest.mark.parametrize("removed", ["fsync", "sync_directory"])
def test_each_sync_is_needed(tmp_path: Path, clock: FakeClock, removed: str) -> None:
    root = tmp_path / "state"
    root.mkdir()
    layer = RecordingFiles(root, ignore=(removed,))
    journal = Journal(root / "journal", "keeper", clock, file_layer=layer)
    journal.append_durable_now([event()])
    journal.close()
    assert lines_in(layer.survivors(tmp_path / "after") / "journal") == []


@pytest.mark.parametrize("call", ["create", "write", "fsync", "sync_directory"])
def test_no_room_is_said_and_writing_goes_on_later(
    tmp_path: Path, clock: FakeClock, call: str
) -> None:
    layer = RecordingFiles(tmp_path)
    journal = Journal(tmp_path / "journal", "keeper", clock, file_layer=layer)
    layer.fail[call] = errno.ENOSPC
    with pytest.raises(StorageFullError):
        journal.append_durable_now([event(1)])
    layer.fail.clear()
    journal.append_durable_now([event(2)])
    journal.close()
    entries = lines_in(tmp_path / "journal")
    assert entries[-1] == event(2)
    assert all(isinstance(entry, Event) for entry in entries)


def test_after_a_failed_flush_nothing_rests_on_that_file(tmp_path: Path, clock: FakeClock) -> None:
    layer = RecordingFiles(tmp_path)
    journal = Journal(tmp_path / "journal", "keeper", clock, file_layer=layer)
    journal.append_durable_now([event(1)])
    layer.fail["fsync"] = errno.EIO
    with pytest.raises(StorageError):
        journal.append_durable_now([event(2)])
    layer.fail.clear()
    journal.append_durable_now([event(3)])
    assert len(journal.names) == 2
    journal.close()


def test_half_a_line_is_taken_back(tmp_path: Path, clock: FakeClock) -> None:
    layer = RecordingFiles(tmp_path)
    journal = Journal(tmp_path / "journal", "smtp", clock, file_layer=layer)
    journal.append(event(1))
    layer.fail["write"] = errno.ENOSPC
    layer.short_write = 17
    with pytest.raises(StorageFullError):
        journal.append(event(2))
    layer.fail.clear()
    journal.append(event(3))
    assert lines_in(tmp_path / "journal") == [event(1), event(3)]
    layer.fail.update({"write": errno.ENOSPC, "truncate": errno.EIO})
    with pytest.raises(StorageFullError):
        journal.append(event(4))
    layer.fail.clear()
    journal.append(event(5))
    assert lines_in(tmp_path / "journal") == [event(1), event(3), event(5)]
    assert len(journal.names) == 2
    journal.close()


def test_a_detail_that_is_no_json_is_refused(journal: Journal, tmp_path: Path) -> None:
    for value in (float("nan"), {1, 2}, b"bytes"):
        with pytest.raises(StorageError, match="no JSON"):
            journal.append(event(value=value))
    assert lines_in(tmp_path / "journal") == []


async def test_a_cancelled_waiter_tears_nothing(journal: Journal, tmp_path: Path) -> None:
    tasks = [asyncio.create_task(journal.append_durable([event(n)])) for n in range(10)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None] * 9
    assert sorted(
        entry.at_ms for entry in lines_in(tmp_path / "journal") if isinstance(entry, Event)
    ) == [NOON_MS + n for n in range(10)]
