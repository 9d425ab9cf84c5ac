"""The gateway on PostgreSQL (``index.url``): end to end, through kills, and while it is away."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.ledger import Ledger, entries_from
from tests.fakes.postgresql import PostgresqlServer, postgresql
from tests.fakes.settling import copies, settle
from tests.fakes.sink import Sink, sink
from tests.functional.test_bad_input import HAM, SPAM, send
from tests.functional.test_survival import (
    ATTACHING,
    RECIPIENTS,
    account,
    in_thread,
    kill_one,
    real_messages,
    tries_of,
)

pytestmark = pytest.mark.needs("postgresql")


@pytest.fixture
def server() -> Iterator[PostgresqlServer]:
    """One of its own: it is stopped in the middle."""
    with postgresql() as one:
        yield one


@pytest.fixture
def url(server: PostgresqlServer) -> Iterator[str]:
    with server.database() as one:
        yield one


async def started(tmp_path: Path, to: Sink, url: str) -> Gateway:
    gateway = Gateway(tmp_path, f"127.0.0.1:{to.port}", workers=2)
    gateway.environment |= {
        "SCHWAMM_INDEX__URL": url,
        "SCHWAMM_DELIVERY__FIRST_RETRY_S": "1",
        "PYTHONPATH": str(ATTACHING),
        "TRIES": str(tries_of(gateway)),
    }
    tries_of(gateway).mkdir()
    await in_thread(gateway.init)
    await in_thread(gateway.start)
    return gateway


def held(gateway: Gateway) -> int:
    return len(gateway.rows("quarantine", "list"))


async def test_it_serves_end_to_end(tmp_path: Path, url: str) -> None:
    """Take, hold, list, show, release, track, queue, domains, rebuild, restart."""
    async with sink() as to:
        gateway = await started(tmp_path, to, url)
        try:
            assert not list(gateway.state.glob("*.db")), "nothing of it lies in files"
            assert (await in_thread(send, gateway, HAM))[0] == 250
            assert (await in_thread(send, gateway, SPAM))[0] == 250
            await in_thread(wait_until, lambda: held(gateway) == 1, "the held mail")
            (row,) = await in_thread(gateway.rows, "quarantine", "list")
            assert (row["recipient"], row["verdict"]) == ("bert@trial.example", "spam")
            mail_id = str(row["id"])
            shown = await in_thread(gateway.run, "quarantine", "show", mail_id)
            assert "GTUBE" in shown.stdout
            await in_thread(gateway.run, "quarantine", "release", mail_id)
            await to.wait_for(2)
            await in_thread(settle, gateway)
            (tracked,) = await in_thread(gateway.rows, "track", mail_id)
            assert tracked["events"][-1]["detail"]["state"] == "delivered"
            await in_thread(
                gateway.run, "domain", "add", "new.example", "--next-hop", f"127.0.0.1:{to.port}"
            )
            assert len(await in_thread(gateway.rows, "domain", "list")) == 2
            before = sorted(copies(gateway, "delivered", "held"))
            assert await in_thread(gateway.stop, signal.SIGTERM) == 0
            await in_thread(gateway.run, "reindex")
            assert sorted(copies(gateway, "delivered", "held")) == before
            await in_thread(gateway.start)
            assert (await in_thread(send, gateway, SPAM))[0] == 250
            await in_thread(wait_until, lambda: held(gateway) == 1, "what was held since")
        finally:
            gateway.kill_everything()


async def test_nothing_is_lost_while_it_is_away(
    tmp_path: Path, root: Path, server: PostgresqlServer, url: str
) -> None:
    """Receiving, holding and handing over go on; listings and queue wait for the server."""
    async with sink() as to:
        gateway = await started(tmp_path, to, url)
        try:
            entries = entries_from(real_messages(root, 160), RECIPIENTS)
            ledger = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=entries, pause_s=0.05)
            port = to.port
            await to.stop()  # what comes now waits in the queue
            running = asyncio.create_task(ledger.run())
            while ledger.sent < 40:
                await asyncio.sleep(0.02)
            await in_thread(server.stop)
            await to.start(port)
            while ledger.sent < 120:
                await asyncio.sleep(0.02)
            listing = await in_thread(lambda: gateway.run("quarantine", "list", check=False))
            assert listing.returncode == 1
            assert "Traceback" not in listing.stderr
            await in_thread(kill_one, gateway, "smtp")
            await in_thread(kill_one, gateway, "keeper")
            await running
            assert all(250 in entry.answers for entry in entries)
            server.start()  # not in a thread: it ends with whoever started it
            counts = await account(gateway, entries, to)
            assert counts["messages"] == 160
            assert await in_thread(gateway.stop, signal.SIGTERM) == 0
        finally:
            gateway.kill_everything()


async def test_killed_keepers_on_postgresql_deliver_once(
    tmp_path: Path, root: Path, url: str
) -> None:
    async with sink() as to:
        gateway = await started(tmp_path, to, url)
        try:
            entries = entries_from(real_messages(root, 150), RECIPIENTS)
            ledger = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=entries)
            port = to.port
            await to.stop()
            running = asyncio.create_task(ledger.run())
            while ledger.sent < 50:
                await asyncio.sleep(0.02)
            await to.start(port)
            for _ in range(3):
                await in_thread(kill_one, gateway, "keeper")
            await running
            counts = await account(gateway, entries, to)
            assert counts["messages"] == 150
        finally:
            gateway.kill_everything()
