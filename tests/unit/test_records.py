"""Record files: readable, whole or not there, and durable when ``put`` returns."""

import asyncio
import errno
import hashlib
import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.errors import RecordFormatError, StorageError, StorageFullError
from gateway.core.ids import IdSource
from gateway.store.errors import RecordMissingError
from gateway.store.records import FileRecords
from tests.contract.samples import DAY_MS, NOON_MS, make_facts
from tests.fakes.power_loss import RecordingFiles

CONTENT = b"Subject: hello\r\n\r\nB\xf6se \x00 bytes\r\n"
LARGE = os.urandom(1 << 20) + b"end"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    root = tmp_path / "state"
    (root / "tmp").mkdir(parents=True)
    return root


@pytest.fixture
def records(state: Path) -> Iterator[FileRecords]:
    one = FileRecords(state / "records", state / "tmp")
    yield one
    one.close()


def with_layer(state: Path, layer: RecordingFiles) -> FileRecords:
    return FileRecords(state / "records", state / "tmp", file_layer=layer)


def path_of(state: Path, mail_id: str) -> Path:
    (path,) = (state / "records").glob(f"*/{mail_id}.rec")
    return path


@pytest.mark.parametrize("content", [b"", CONTENT, b"x" * 100_000, LARGE])
async def test_what_is_put_comes_back_unchanged(records: FileRecords, content: bytes) -> None:
    facts = make_facts()
    await records.put(facts, content)
    assert records.read(facts.id) == facts
    back = records.content(facts.id)
    assert bytes(back) == content
    records.verify(facts.id)
    assert records.exists(facts.id)


def test_large_content_is_mapped(records: FileRecords) -> None:
    facts = make_facts()
    records.put_now(facts, LARGE)
    content = records.content(facts.id)
    assert isinstance(content, mmap.mmap)
    assert content[:] == LARGE
    content.close()


def test_content_may_come_mapped(records: FileRecords, tmp_path: Path) -> None:
    (tmp_path / "spill").write_bytes(LARGE)
    facts = make_facts()
    with (tmp_path / "spill").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        records.put_now(facts, mapped)
        mapped.close()  # nothing holds on to it
    assert bytes(records.content(facts.id)) == LARGE


def test_an_admin_can_read_the_file(records: FileRecords, state: Path) -> None:
    facts = make_facts()
    records.put_now(facts, CONTENT)
    path = path_of(state, facts.id)
    assert path.parent.name == "2026-11-23"
    assert path.stat().st_mode & 0o077 == 0
    first, _, rest = path.read_bytes().partition(b"\n")
    name, version, facts_bytes, content_bytes, digest = first.split(b" ")
    assert (name, version, int(content_bytes)) == (b"schwamm-record", b"1", len(CONTENT))
    assert rest.endswith(CONTENT)
    assert hashlib.sha256(rest).hexdigest().encode() == digest
    text = rest[: int(facts_bytes)].decode()
    assert ' "subject": "Grüße aus Köln",\n' in text
    assert json.loads(text)["id"] == facts.id


@pytest.mark.parametrize(
    "mail_id", ["", "x", "../../etc/passwd", "1jd8m3q7k-n1-4h2k0a9/..", "a" * 99]
)
def test_only_ids_name_files(records: FileRecords, mail_id: str) -> None:
    for call in (records.read, records.content, records.verify, records.exists, records.delete):
        with pytest.raises(RecordMissingError):
            call(mail_id)
    with pytest.raises(RecordMissingError):
        records.put_now(replace(make_facts(), id=mail_id), CONTENT)


def test_a_missing_record_says_so(records: FileRecords) -> None:
    mail_id = IdSource("n1").next(NOON_MS)
    with pytest.raises(RecordMissingError):
        records.read(mail_id)
    assert not records.exists(mail_id)
    assert records.delete(mail_id) is False


def damage(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"schwamm-record 1 ", b"schwamm-record 2 ", "format 2"),
        (b"schwamm-record 1 ", b"something-else 1 ", "first line"),
        (b'"v": 1', b'"v": 7', "format 7"),
        (b'"id": ', b'"id" :: ', "octets long"),
        (b'"id": "', b'"id": [', "not valid JSON"),
        (b'"copies"', b'"c0pies"', None),
        (b'"state":"held"', b'"state":"hold"', "hold"),
        (b'"received_at_ms": 1', b'"received_at_ms":"1', "not valid JSON"),
        (CONTENT, CONTENT[:-1], "octets long"),
        (CONTENT, b"", "octets long"),
    ],
)
def test_damage_is_named(
    records: FileRecords, state: Path, old: bytes, new: bytes, reason: str | None
) -> None:
    facts = make_facts()
    records.put_now(facts, CONTENT)
    damage(path_of(state, facts.id), old, new)
    if reason is None:  # a list that is not there is empty: only the digest can tell
        assert records.read(facts.id).copies == ()
    else:
        with pytest.raises(RecordFormatError, match=reason):
            records.read(facts.id)
    with pytest.raises(RecordFormatError):
        records.verify(facts.id)


def test_tampered_bytes_fail_the_digest(records: FileRecords, state: Path) -> None:
    facts = make_facts()
    records.put_now(facts, CONTENT)
    damage(path_of(state, facts.id), b"hello", b"hullo")
    assert records.read(facts.id) == facts
    with pytest.raises(RecordFormatError, match="digest"):
        records.verify(facts.id)


def test_a_record_of_another_name_is_refused(records: FileRecords, state: Path) -> None:
    facts, other = make_facts(), make_facts()
    records.put_now(facts, CONTENT)
    path = path_of(state, facts.id)
    path.rename(path.with_name(f"{other.id}.rec"))
    with pytest.raises(RecordFormatError, match=facts.id):
        records.read(other.id)


def test_fields_of_a_newer_release_are_passed_over(records: FileRecords, state: Path) -> None:
    facts = make_facts()
    records.put_now(facts, CONTENT)
    path = path_of(state, facts.id)
    head, _, rest = path.read_bytes().partition(b"\n")
    size = int(head.split(b" ")[2])
    newer = rest[:size].replace(b'"v": 1,', b'"v": 1, "colour": {"rgb": [1, 2]},')
    newer = newer.replace(b'"helo"', b'"mood":"fine","helo"')
    parts = head.split(b" ")
    parts[2] = b"%d" % len(newer)
    path.write_bytes(b" ".join(parts) + b"\n" + newer + rest[size:])
    assert records.read(facts.id) == facts


def test_ids_come_oldest_first_and_strangers_are_passed_over(
    records: FileRecords, state: Path
) -> None:
    late, early = make_facts(at_ms=NOON_MS + DAY_MS), make_facts(at_ms=NOON_MS)
    middle = make_facts(at_ms=NOON_MS + 1)
    for facts in (late, middle, early):
        records.put_now(facts, CONTENT)
    (state / "records" / "lost+found").mkdir()
    (state / "records" / "2026-11-23" / "note.txt").write_text("mine")
    assert list(records.ids()) == [early.id, middle.id, late.id]
    assert records.delete(middle.id) is True
    assert list(records.ids()) == [early.id, late.id]


def test_the_same_mail_may_be_put_again_with_more_copies(records: FileRecords) -> None:
    facts = make_facts()
    records.put_now(replace(facts, copies=()), CONTENT)
    records.put_now(facts, CONTENT)
    assert records.read(facts.id).copies == facts.copies
    with pytest.raises(StorageError, match="another mail"):
        records.put_now(replace(facts, sha256="cd" * 32), b"other")
    assert bytes(records.content(facts.id)) == CONTENT


def test_put_syncs_the_file_before_its_name_and_the_directory_after(state: Path) -> None:
    layer = RecordingFiles(state)
    records = with_layer(state, layer)
    facts = make_facts()
    records.put_now(facts, CONTENT)
    kinds = [call for call, _ in layer.calls]
    assert kinds == [
        "create", "write", "fsync", "close",
        "make_directory", "sync_directory", "make_directory", "sync_directory",
        "rename", "sync_directory",
    ]  # fmt: skip
    assert layer.names("sync_directory") == [
        ("sync_directory", "."),
        ("sync_directory", "records"),
        ("sync_directory", "records/2026-11-23"),
    ]
    records.close()


def test_a_power_loss_after_put_loses_nothing(state: Path, tmp_path: Path) -> None:
    layer = RecordingFiles(state)
    records = with_layer(state, layer)
    all_facts = [make_facts(at_ms=NOON_MS + n) for n in range(3)]
    for facts in all_facts:
        records.put_now(facts, CONTENT)
    records.close()
    left = layer.survivors(tmp_path / "after")
    after = FileRecords(left / "records", left / "tmp")
    for facts in all_facts:
        after.verify(facts.id)
        assert after.read(facts.id) == facts
    after.close()


@pytest.mark.parametrize("removed", ["fsync", "sync_directory"])
def test_each_sync_is_needed(state: Path, tmp_path: Path, removed: str) -> None:
    """The control of the test above: without either, the same power loss loses the record."""
    layer = RecordingFiles(state, ignore=(removed,))
    records = with_layer(state, layer)
    facts = make_facts()
    records.put_now(facts, CONTENT)
    records.close()
    left = layer.survivors(tmp_path / "after")
    after = FileRecords(left / "records", left / "tmp")
    with pytest.raises(RecordFormatError):
        after.verify(facts.id)
    after.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EROFS])
@pytest.mark.parametrize("call", ["create", "write", "fsync", "rename", "sync_directory"])
def test_no_room_is_said_and_nothing_stays(state: Path, call: str, number: int) -> None:
    layer = RecordingFiles(state)
    records = with_layer(state, layer)
    records.put_now(make_facts(), CONTENT)
    before = sorted(state.rglob("*"))
    layer.fail[call] = number
    with pytest.raises(StorageFullError) as caught:
        records.put_now(make_facts(), CONTENT)
    assert caught.value.reply.code == 452
    assert sorted(state.rglob("*")) == before
    layer.fail.clear()
    facts = make_facts()
    records.put_now(facts, CONTENT)
    assert records.read(facts.id) == facts
    records.close()


def test_other_trouble_is_451(state: Path) -> None:
    layer = RecordingFiles(state)
    records = with_layer(state, layer)
    layer.fail["write"] = errno.EIO
    layer.short_write = 20
    with pytest.raises(StorageError) as caught:
        records.put_now(make_facts(), CONTENT)
    assert caught.value.reply.code == 451
    assert list((state / "tmp").iterdir()) == []
    records.close()


async def test_a_cancelled_waiter_tears_nothing(state: Path) -> None:
    records = FileRecords(state / "records", state / "tmp")
    facts = [make_facts(at_ms=NOON_MS + n) for n in range(20)]
    tasks = [asyncio.create_task(records.put(one, CONTENT)) for one in facts]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(r) for r in results[::2]] == [asyncio.CancelledError] * 10
    assert results[1::2] == [None] * 10
    assert list((state / "tmp").iterdir()) == []
    for mail_id in records.ids():
        records.verify(mail_id)
    assert {one.id for one in facts[1::2]} <= set(records.ids())
    records.close()


class SlowDirectories(RecordingFiles):
    """A disk that takes its time over directories, as real ones do."""

    def sync_directory(self, path: Path) -> None:
        time.sleep(0.01)
        super().sync_directory(path)


async def test_waiters_share_the_flush_of_the_directory(state: Path) -> None:
    layer = SlowDirectories(state)
    records = with_layer(state, layer)
    facts = [make_facts(at_ms=NOON_MS + n) for n in range(64)]
    await asyncio.gather(*(records.put(one, CONTENT) for one in facts))
    flushes = layer.names("sync_directory").count(("sync_directory", "records/2026-11-23"))
    assert 1 <= flushes <= 32  # each flush serves all who waited when it began
    left = layer.survivors(state.parent / "after")
    assert len(list(left.glob("records/*/*.rec"))) == 64
    records.close()


def test_what_crashes_leave_is_tidied_away(records: FileRecords, state: Path) -> None:
    old, young = make_facts(at_ms=NOON_MS), make_facts(at_ms=NOON_MS)
    records.put_now(old, CONTENT)
    records.delete(old.id)
    # One whose MAIL was long ago and whose end came just now is being written at this moment.
    for facts, written_ms in ((old, NOON_MS), (young, NOON_MS + 5 * DAY_MS)):
        draft = state / "tmp" / f"{facts.id}.rec.tmp"
        draft.write_bytes(b"torn")
        os.utime(draft, (written_ms / 1000, written_ms / 1000))
    (state / "tmp" / "spill-1").write_bytes(b"somebody else's")
    assert records.tidy(NOON_MS + 2 * DAY_MS) == 2
    assert sorted(path.name for path in (state / "tmp").iterdir()) == sorted(
        [f"{young.id}.rec.tmp", "spill-1"]
    )
    assert list((state / "records").iterdir()) == []
    records.put_now(old, CONTENT)  # the day's directory comes back
    assert records.read(old.id) == old


def test_what_a_killed_process_began_is_written_anew(records: FileRecords, state: Path) -> None:
    facts = make_facts()
    (state / "tmp" / f"{facts.id}.rec.tmp").write_bytes(b"torn")
    records.put_now(facts, CONTENT)
    assert records.content(facts.id) == CONTENT
    assert list((state / "tmp").iterdir()) == []


def test_missing_directories_are_made(tmp_path: Path) -> None:
    records = FileRecords(tmp_path / "a" / "records", tmp_path / "a" / "tmp")
    facts = make_facts()
    records.put_now(facts, CONTENT)
    assert records.read(facts.id) == facts
    records.close()


def test_workers_never_import_sql() -> None:
    code = (
        "import gateway.store.records, gateway.store.journal, gateway.store.generations, sys\n"
        "import gateway.store.journal_reading, gateway.store.lock\n"
        "ours = {'gateway', '__main__'}\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(tops - ours - set(sys.stdlib_module_names)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"
