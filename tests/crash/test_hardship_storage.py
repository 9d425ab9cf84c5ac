"""Directories of the state are removed or cannot be written while the gateway runs.

Mail is deferred, held or delivered, each copy once, and service resumes by itself.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.test_hardship import held
from tests.fakes.gateway import Gateway, running, wait_until
from tests.fakes.settling import settle
from tests.fakes.sink import sink
from tests.functional.test_bad_input import HAM, SPAM, arrived, send
from tests.functional.test_survival import in_thread, kill_one, start

LARGE = HAM + b"and much more\r\n" * 200_000


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, f"maildir:{tmp_path}/mail") as one:
        yield one


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """What lies there cannot be written; root is not stopped by modes, so it gets a mount."""
    if os.geteuid() != 0:
        path.chmod(0o500)
        try:
            yield
        finally:
            path.chmod(0o700)
        return
    subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_journal_nobody_can_write(gateway: Gateway) -> None:
    """Processes that start then have none: what is answered 250 has its record all the same."""
    told: list[int] = []
    with read_only(gateway.state / "journal"):
        kill_one(gateway, "smtp")
        kill_one(gateway, "keeper")
        told += [send(gateway, SPAM)[0] for _ in range(2)]
        handed_over = send(gateway, HAM)[0]
    assert set(told) <= {250, 452}
    assert handed_over in {250, 451, 452}
    wait_until(lambda: send(gateway, SPAM)[0] == 250, "held mail to be taken again")
    told.append(250)
    assert send(gateway, HAM)[0] == 250
    settle(gateway)
    # What has a record and no journal line comes into the index with the next housekeeping.
    wait_until(lambda: held(gateway) >= told.count(250), "all that was held", 60.0)
    assert held(gateway) == told.count(250)
    assert arrived(gateway) == 1 + (handed_over == 250)


def test_records_removed_while_running(gateway: Gateway) -> None:
    """What was in them is gone, and is said to be gone; new mail is held in new ones."""
    assert send(gateway, SPAM)[0] == 250
    wait_until(lambda: held(gateway) == 1, "the held mail")
    (lost,) = gateway.rows("quarantine", "list")
    shutil.rmtree(gateway.state / "records")
    assert send(gateway, SPAM)[0] == 250
    assert send(gateway, HAM)[0] == 250
    wait_until(lambda: held(gateway) == 2, "the mail that was held since")
    shown = gateway.run("quarantine", "show", str(lost["id"]), "--raw", check=False)
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    (kept,) = [row for row in gateway.rows("quarantine", "list") if row["id"] != lost["id"]]
    gateway.run("quarantine", "release", str(kept["id"]))
    wait_until(lambda: arrived(gateway) == 2, "the released mail")


async def test_journals_removed_while_mail_waits(tmp_path: Path) -> None:
    """Results go to a new file: into the removed one they would be written for nobody, and what
    was delivered would be delivered again and again."""
    async with sink() as to:
        gateway = await start(tmp_path, to)
        try:
            port = to.port
            await to.stop()
            for _ in range(3):
                assert (await in_thread(send, gateway, HAM))[0] == 250
            await in_thread(
                wait_until, lambda: len(gateway.rows("queue", "list")) == 3, "three that wait"
            )
            await in_thread(shutil.rmtree, gateway.state / "journal")
            await to.start(port)
            await in_thread(settle, gateway)
            assert (await in_thread(send, gateway, SPAM))[0] == 250
            await in_thread(wait_until, lambda: held(gateway) == 1, "held mail in the index")
            await in_thread(settle, gateway)
            assert len(to.messages) == 3
            assert await in_thread(gateway.stop, signal.SIGTERM) == 0
        finally:
            gateway.kill_everything()


def test_temporary_files_have_no_place(gateway: Gateway) -> None:
    shutil.rmtree(gateway.state / "tmp")
    assert send(gateway, LARGE)[0] == 250
    shutil.rmtree(gateway.state / "tmp")
    assert send(gateway, SPAM)[0] == 250
    settle(gateway)
    assert (held(gateway), arrived(gateway)) == (1, 1)
