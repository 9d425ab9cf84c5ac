"""Backup under load, restore elsewhere: what is held is there, and nothing goes out by itself."""

import asyncio
import io
import json
import tarfile
from pathlib import Path

import pytest

from gateway.store.backup import BackupError, back_up, removal_lock
from gateway.store.restore import verify
from tests.crash.matrix import GTUBE, KINDS, MAIL
from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.ledger import MARK, Entry, Ledger, number_of
from tests.fakes.settling import knows_all, ours
from tests.fakes.sink import sink
from tests.functional.test_survival import in_thread, start


def quietly(done: int, total: int) -> None:
    """No bar."""


def entries(first: int, count: int) -> list[Entry]:
    """Clean mail and spam in turn."""
    found = []
    for number in range(first, first + count):
        body, _ = KINDS[0] if number % 2 else (GTUBE, ())
        text = MAIL.format(number=number, body=body).encode()
        content = MARK + str(number).encode() + b"\r\n" + text
        to = ("bert@trial.example",)
        found.append(Entry(number=number, content=content, recipients=to))
    return found


async def test_backup_under_load_and_restore_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    file = tmp_path / "schwamm.tar"
    async with sink() as to:
        gateway = await start(tmp_path / "old", to)
        try:
            before, meanwhile = entries(0, 40), entries(40, 120)
            port = to.port
            await to.stop()  # clean mail waits in the queue
            sending = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=before)
            await sending.run()
            more = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=meanwhile)
            loading = asyncio.create_task(more.run())
            said = await in_thread(gateway.run, "backup", str(file))
            await loading
            assert str(file) in said.stdout
            assert file.stat().st_mode & 0o077 == 0
            again = await in_thread(lambda: gateway.run("backup", str(file), check=False))
            assert again.returncode == 1
            assert "there already" in again.stderr
            await in_thread(gateway.stop)
            await to.start(port)
            await restored_elsewhere(gateway, tmp_path / "new", file, before, to)
        finally:
            gateway.kill_everything()


async def restored_elsewhere(old: Gateway, directory: Path, file: Path, before, to) -> None:
    new = Gateway(directory, old.next_hop)
    await in_thread(new.init)
    refused = await in_thread(lambda: new.run("restore", str(file), check=False))
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    await in_thread(new.run, "restore", str(file), "--force")
    assert list(new.state.glob("before-restore-*/directory.db")), "moved aside, not removed"
    try:
        await in_thread(new.start)
        await in_thread(wait_until, lambda: knows_all(new), "an index of what was restored")
        while_running = await in_thread(
            lambda: new.run("restore", str(file), "--force", check=False)
        )
        assert while_running.returncode == 1
        assert "a gateway runs on" in while_running.stderr
        kept = {number for number, _ in await in_thread(ours, new)}
        assert {one.number for one in before} <= kept
        queued = await in_thread(new.rows, "queue", "list", "--limit", "1000")
        assert len(queued) >= 20
        assert {row["attempts"] for row in queued} <= {0, 1, 2, 3}
        assert to.messages == [], "the queue is on hold after a restore"
        await in_thread(new.run, "queue", "resume")
        await in_thread(
            wait_until, lambda: new.rows("queue", "list") == [], "the queue to run dry", 60.0
        )
        arrived = {number_of(message.content) for message in to.messages}
        assert {one.number for one in before if one.number % 2} <= arrived
        assert len(to.messages) == len(arrived) == len(queued)
    finally:
        new.kill_everything()


def state_with_a_record(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    (state / "records" / "2026-11-23").mkdir(parents=True)
    (state / "records" / "2026-11-23" / "one.rec").write_bytes(b"record")
    (state / "journal" / "2026-11-23").mkdir(parents=True)
    (state / "journal" / "2026-11-23" / "smtp-1-1.jsonl").write_bytes(b'{"a":1}\n{"torn')
    (state / "index.db").write_bytes(b"made anew")
    (state / "mark.key").write_bytes(b"secret")
    return state


def backed_up(tmp_path: Path) -> Path:
    target = tmp_path / "one.tar"
    state = state_with_a_record(tmp_path)
    back_up(state, target, about={"node": "n1"}, config=None, tell=quietly)
    return target


def test_whole_lines_only_and_no_index(tmp_path: Path) -> None:
    target = backed_up(tmp_path)
    assert set(verify(target, tell=quietly).names) == {
        "state/records/2026-11-23/one.rec",
        "state/journal/2026-11-23/smtp-1-1.jsonl",
        "state/mark.key",
    }
    with tarfile.open(target) as tar:
        journal = tar.extractfile("state/journal/2026-11-23/smtp-1-1.jsonl")
        assert journal is not None
        assert journal.read() == b'{"a":1}\n'


@pytest.mark.parametrize("cut", [100, 600, 1500, 3000])
def test_a_backup_that_was_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    target = backed_up(tmp_path)
    target.write_bytes(target.read_bytes()[:cut])
    with pytest.raises(BackupError):
        verify(target, tell=quietly)


def test_a_changed_octet_is_found(tmp_path: Path) -> None:
    target = backed_up(tmp_path)
    data = bytearray(target.read_bytes())
    data[data.index(b"secret")] ^= 1
    target.write_bytes(data)
    with pytest.raises(BackupError, match="damaged"):
        verify(target, tell=quietly)


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "/etc/cron.d/evil", "state/../../evil", "state//x", "state/./x", "state"),
        *("other/x", "state/run/lock", "state/.hidden", "state/index.db", "config/other.toml"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    target = tmp_path / "evil.tar"
    write_tar(target, tarfile.TarInfo(name))
    with pytest.raises(BackupError, match=r"no place|does not belong"):
        verify(target, tell=quietly)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("state/link")
    entry.type, entry.linkname = kind, "/etc/passwd"
    target = tmp_path / "evil.tar"
    write_tar(target, entry)
    with pytest.raises(BackupError, match="no plain file"):
        verify(target, tell=quietly)


def write_tar(target: Path, entry: tarfile.TarInfo) -> None:
    with tarfile.open(target, "w") as tar:
        tar.addfile(entry, io.BytesIO())
        manifest = json.dumps({"format": 1, "files": {}}).encode()
        last = tarfile.TarInfo("manifest.json")
        last.size = len(manifest)
        tar.addfile(last, io.BytesIO(manifest))


def test_no_record_is_removed_while_a_backup_runs(tmp_path: Path) -> None:
    state = state_with_a_record(tmp_path)
    lock = removal_lock(state)
    assert lock is not None
    with lock:
        assert removal_lock(state) is None
    after = removal_lock(state)
    assert after is not None
    after.release()
