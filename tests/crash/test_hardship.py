"""What the machine takes away: disk, index, descriptors, DNS, model. Mail is deferred, held or
delivered, and service resumes by itself when it is back.
"""

import contextlib
import json
import os
import shutil
import smtplib
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fakes.gateway import Gateway, running, wait_until
from tests.fakes.sink import sink
from tests.functional.test_bad_input import HAM, SPAM, arrived, send
from tests.functional.test_survival import in_thread, start


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, f"maildir:{tmp_path}/mail") as one:
        yield one


def held(gateway: Gateway) -> int:
    done = gateway.run("quarantine", "list", "--json", check=False)
    return done.stdout.count("\n") if done.returncode == 0 else -1


@contextlib.contextmanager
def small_disk(where: Path) -> Iterator[Path]:
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=90m", "tmpfs", str(where)]
    assert subprocess.run(command, check=False).returncode == 0
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (65536, 512, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.timeout(150)
async def test_a_full_disk_stops_spooling_and_delivers_what_waits_once(tmp_path: Path) -> None:
    """What the next hop takes at once needs no disk; the queue waits until it can keep book."""
    with small_disk(tmp_path / "small") as disk:
        async with sink() as to:
            gateway = await start(disk, to)
            try:
                port = to.port
                await to.stop()
                for _ in range(4):
                    assert (await in_thread(send, gateway, HAM))[0] == 250  # spooled
                await in_thread(
                    wait_until, lambda: len(gateway.rows("queue", "list")) == 4, "four that wait"
                )
                await in_thread(fill, disk / "filler")
                assert (await in_thread(send, gateway, HAM))[0] == 452
                await to.start(port)
                await in_thread(wait_until, lambda: send(gateway, HAM)[0] == 250, "a hand-over")
                (disk / "filler").unlink()
                await in_thread(
                    wait_until, lambda: gateway.rows("queue", "list") == [], "the results", 60.0
                )
                assert len(to.messages) == 5, "four that waited and one handed over, each once"
                assert (await in_thread(send, gateway, SPAM))[0] == 250
                await in_thread(wait_until, lambda: held(gateway) == 1, "the held mail")
            finally:
                gateway.kill_everything()


def test_an_index_that_disappears_is_made_anew(gateway: Gateway) -> None:
    assert send(gateway, SPAM)[0] == 250
    wait_until(lambda: held(gateway) == 1, "the held mail")
    for path in gateway.state.glob("index.db*"):
        path.unlink()
    assert send(gateway, SPAM)[0] == 250
    assert send(gateway, HAM)[0] == 250
    wait_until(lambda: held(gateway) == 2, "both held mails in a new index", 60.0)
    assert arrived(gateway) == 1


def test_an_index_locked_for_a_while_delays_listings_only(gateway: Gateway) -> None:
    connection = sqlite3.connect(gateway.state / "index.db", isolation_level=None)
    try:
        connection.execute("begin exclusive")
        assert send(gateway, SPAM)[0] == 250
        assert send(gateway, HAM)[0] == 250
        wait_until(lambda: arrived(gateway) == 1, "clean mail to arrive all the same")
        wait_until(
            lambda: "locked by another process" in gateway.log.read_text(), "the complaint", 40.0
        )
    finally:
        connection.close()
    wait_until(lambda: held(gateway) == 1, "the listing to catch up", 60.0)


def test_descriptors_exhausted_and_back(gateway: Gateway) -> None:
    (worker,) = gateway.children()["smtp"]
    before = worker.rlimit(psutil.RLIMIT_NOFILE)
    room = worker.num_fds() + 4
    early = smtplib.SMTP("127.0.0.1", gateway.smtp_port, timeout=30)
    early.ehlo("client.example")
    worker.rlimit(psutil.RLIMIT_NOFILE, (room, before[1]))
    crowd = [socket.create_connection(("127.0.0.1", gateway.smtp_port)) for _ in range(20)]
    try:
        wait_until(lambda: worker.num_fds() >= room - 1, "the last descriptor to be used")
        early.mail("anna@customer.example")
        early.rcpt("bert@trial.example")
        code, _ = early.data(SPAM)
        assert code in {250, 451, 452}, "told something that keeps the mail somewhere"
    finally:
        for one in crowd:
            one.close()
        early.close()
    wait_until(lambda: _sends(gateway, SPAM), "service to resume by itself, limit unchanged", 60.0)
    expected = 1 + (code == 250)
    wait_until(lambda: held(gateway) == expected, "what was answered 250")
    assert worker.is_running()


def _sends(gateway: Gateway, content: bytes) -> bool:
    try:
        return send(gateway, content)[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def test_silent_dns_costs_its_budget_and_no_mail(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        gateway = Gateway(tmp_path, f"maildir:{tmp_path}/mail").init()
        with gateway.config.open("a") as config:
            config.write(
                '\n[[dnsbl]]\nzone = "list.example"\nprivate_clients = true\n'
                '[dnsbl.codes]\n"127.0.0.2" = "DNSBL_TEST"\n'
            )
        port = silent.getsockname()[1]
        gateway.environment |= {
            "SCHWAMM_DNS__SERVERS": json.dumps([f"127.0.0.1:{port}"]),
            "SCHWAMM_DNS__BUDGET_S": "1",
        }
        try:
            gateway.start()
            assert send(gateway, HAM)[0] == 250
            assert send(gateway, SPAM)[0] == 250
            wait_until(lambda: held(gateway) == 1, "the held mail")
            assert arrived(gateway) == 1
            assert silent.recv(512), "the list was asked"
            row = gateway.rows("quarantine", "list")[0]
            shown = gateway.run("quarantine", "show", str(row["id"]), "--json").stdout
            assert "DNSBL_TEST" not in shown
        finally:
            gateway.kill_everything()


def test_models_that_disappear_while_running(gateway: Gateway) -> None:
    """The model in memory serves on; a worker that starts without any judges by the rest."""
    models, aside = gateway.state / "models", gateway.state.parent / "models-aside"
    shutil.move(models, aside)
    assert send(gateway, SPAM)[0] == 250
    wait_until(lambda: held(gateway) == 1, "spam to be held")
    assert model_of_latest(gateway)
    (worker,) = gateway.children()["smtp"]
    worker.kill()
    wait_until(lambda: _sends(gateway, SPAM), "the next worker")
    wait_until(lambda: held(gateway) >= 2, "GTUBE to be held without a model")
    shutil.rmtree(models, ignore_errors=True)
    shutil.move(aside, models)
    wait_until(lambda: _sends(gateway, SPAM) and model_of_latest(gateway), "the model to be back")


def model_of_latest(gateway: Gateway) -> str:
    row = max(gateway.rows("quarantine", "list"), key=lambda row: str(row["id"]))
    return str(gateway.rows("quarantine", "show", str(row["id"]))[0]["model"] or "")
