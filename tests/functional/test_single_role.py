"""One role by itself, as a service manager runs it: SIGHUP begins anew in place, loses nobody."""

import asyncio
import contextlib
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.ledger import Ledger, at_sinks, entries_from, judge
from tests.fakes.settling import ours
from tests.fakes.sink import sink
from tests.functional.test_survival import in_thread, real_messages


@contextlib.contextmanager
def alone(gateway: Gateway, role: str) -> Iterator[subprocess.Popen[bytes]]:
    """``serve --role ROLE``, without a supervisor; ends with code 0 at SIGTERM."""
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(gateway.config)]
    with gateway.log.open("ab") as log:
        process = subprocess.Popen(
            [*command, "--role", role], env=gateway.variables(), stdout=log, stderr=log
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(timeout=30)


def announced_size(gateway: Gateway) -> str:
    try:
        with smtplib.SMTP("127.0.0.1", gateway.smtp_port, timeout=30) as client:
            client.ehlo("client.example")
            return client.esmtp_features["size"]
    except (OSError, smtplib.SMTPException):
        return ""


def set_size(gateway: Gateway, octets: object) -> None:
    lines = gateway.config.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("max_message_bytes")]
    kept.insert(kept.index("[smtp]") + 1, f"max_message_bytes = {octets}")
    gateway.config.write_text("\n".join(kept) + "\n")


def logged(gateway: Gateway, event: str) -> int:
    return gateway.log.read_text(errors="replace").count(event)


async def test_a_worker_begins_anew_under_load(tmp_path: Path, root: Path) -> None:
    async with sink() as to:
        gateway = Gateway(tmp_path, f"127.0.0.1:{to.port}")
        await in_thread(gateway.init)
        with alone(gateway, "smtp") as process:
            before = str(50 * 1024 * 1024)
            await in_thread(wait_until, lambda: announced_size(gateway) == before, "the worker")
            entries = entries_from(real_messages(root, 150), ["anna@trial.example"])
            ledger = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=entries, pause_s=0.03)
            running = asyncio.create_task(ledger.run())
            while ledger.sent < 20:
                await asyncio.sleep(0.02)
            set_size(gateway, '"much"')
            process.send_signal(signal.SIGHUP)
            await in_thread(wait_until, lambda: logged(gateway, "reload refused"), "the refusal")
            assert announced_size(gateway) == before
            set_size(gateway, 12345678)
            process.send_signal(signal.SIGHUP)
            await in_thread(wait_until, lambda: logged(gateway, '"reloading"'), "the reload")
            assert ledger.sent < 150, "the reload was not under load"
            assert await in_thread(announced_size, gateway) == "12345678"
            assert process.poll() is None
            await running
        await in_thread(gateway.rows, "queue", "list")  # without a keeper this fills the index
        counts = judge(entries, at_sinks(to), await in_thread(ours, gateway))
        assert counts["messages"] == counts["copies"] == 150


@pytest.mark.parametrize("role", ["web", "keeper"])
def test_each_role_keeps_its_number_and_ends_at_sigterm(tmp_path: Path, role: str) -> None:
    gateway = Gateway(tmp_path, f"maildir:{tmp_path}/mail").init()
    slots = gateway.state / "run"
    with alone(gateway, role) as process:
        started = slots / f"slots-{process.pid}"
        wait_until(lambda: started.exists() and any(started.read_bytes()[:8]), "its heartbeat")
        began = logged(gateway, '"reloading"')
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: logged(gateway, '"reloading"') > began, "the reload")
        started.unlink()
        wait_until(lambda: started.exists() and any(started.read_bytes()[:8]), "a new heartbeat")
        assert process.poll() is None
