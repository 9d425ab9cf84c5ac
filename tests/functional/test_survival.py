"""No message with a 250 is lost: restart, reload, next hop down, kill -9 of each process.

The judge is the client's own ledger against the sink and the quarantine. Real messages come from
the corpus beside the checkout where there is one, else from tests/data, sent again and again under
new marks.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.ledger import (
    Entry,
    Ledger,
    at_sinks,
    entries_from,
    judge,
    tries_without_result,
)
from tests.fakes.settling import ours, settle
from tests.fakes.sink import Script, Sink, sink

KILLS = 3
ATTACHING = Path(__file__).parents[1] / "fakes" / "attaching"
RECIPIENTS = [f"user{n}@trial.example" for n in range(20)]


def real_messages(root: Path, count: int) -> list[Path]:
    corpus = Path(os.environ.get("SCHWAMM_CORPUS", root / ".." / "shared" / "corpus"))
    unpacked = [path for path in (root / "var" / "corpus", corpus) if (path / "index").exists()]
    source = unpacked[0] if unpacked else root / "tests" / "data" / "mail"
    lines = (source / "index").read_text().splitlines()
    paths = [source / line.split(maxsplit=1)[1] for line in lines]
    random.Random(7).shuffle(paths)
    return [paths[n % len(paths)] for n in range(count)]


async def in_thread(call, *arguments):
    return await asyncio.to_thread(call, *arguments)


def tries_of(gateway: Gateway) -> Path:
    """Where its keepers note what they have under way; not on its disk, which may be full."""
    return gateway.directory.with_name(f"{gateway.directory.name}-tries")


async def account(gateway: Gateway, entries: list[Entry], to: Sink) -> Counter[str]:
    """Wait until nothing is under way, then judge."""
    await in_thread(settle, gateway)
    kept = await in_thread(ours, gateway)
    return judge(entries, at_sinks(to), kept, tries_without_result(tries_of(gateway)))


async def start(tmp_path: Path, to: Sink, **options: object) -> Gateway:
    gateway = Gateway(tmp_path, f"127.0.0.1:{to.port}", **options)  # type: ignore[arg-type]
    gateway.environment |= {
        "SCHWAMM_DELIVERY__FIRST_RETRY_S": "1",
        "PYTHONPATH": str(ATTACHING),
        "TRIES": str(tries_of(gateway)),
    }
    tries_of(gateway).mkdir()
    await in_thread(gateway.init)
    await in_thread(gateway.start)
    return gateway


async def test_every_message_is_somewhere_through_restart_and_reload(
    tmp_path: Path, root: Path
) -> None:
    async with sink() as to:
        gateway = await start(tmp_path, to, workers=2)
        try:
            entries = entries_from(real_messages(root, 400), RECIPIENTS)
            ledger = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=entries, pause_s=0.08)
            running = asyncio.create_task(ledger.run())
            assert gateway.process is not None
            while ledger.sent < 20:
                await asyncio.sleep(0.02)
            gateway.process.send_signal(signal.SIGHUP)
            while '"reloaded"' not in gateway.log.read_text():
                await asyncio.sleep(0.05)
            assert ledger.sent < 400, "the reload was not under load"
            assert await in_thread(gateway.stop) == 0
            await in_thread(gateway.start)
            await running
            counts = await account(gateway, entries, to)
            assert counts["messages"] == 400
        finally:
            gateway.kill_everything()


@pytest.mark.parametrize("role", ["smtp", "keeper", "web", "supervisor"])
async def test_kill_nine_under_load(tmp_path: Path, root: Path, role: str) -> None:
    """Half of the time the next hop is down, so that the queue is at work too."""
    async with sink() as to:
        gateway = await start(tmp_path, to, workers=2)
        try:
            entries = entries_from(real_messages(root, 150), RECIPIENTS)
            ledger = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=entries)
            port = to.port
            await to.stop()
            running = asyncio.create_task(ledger.run())
            while ledger.sent < 30:
                await asyncio.sleep(0.02)
            await to.start(port)
            for _ in range(KILLS):
                await in_thread(kill_one, gateway, role)
                await asyncio.sleep(0.7)
            await running
            counts = await account(gateway, entries, to)
            assert counts["messages"] == 150
        finally:
            gateway.kill_everything()


def kill_one(gateway: Gateway, role: str) -> None:
    assert gateway.process is not None
    if role == "supervisor":
        gateway.stop(signal.SIGKILL)
        gateway.start()
        return
    wait_until(lambda: gateway.children().get(role), f"a process of role {role}")
    victim = gateway.children()[role][0]
    victim.kill()
    wait_until(
        lambda: any(child.pid != victim.pid for child in gateway.children().get(role, [])),
        f"another {role}",
    )


async def test_next_hop_down_means_spool_and_delivery_later(tmp_path: Path, root: Path) -> None:
    async with sink() as to:
        port = to.port
        gateway = await start(tmp_path, to)
        try:
            await to.stop()
            entries = entries_from(real_messages(root, 10), RECIPIENTS)
            ledger = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=entries)
            await ledger.run()
            assert all(entry.answers == [250] for entry in entries)

            def all_known() -> bool:
                held = gateway.rows("quarantine", "list")
                return len(held) + len(gateway.rows("queue", "list")) == 10

            await in_thread(wait_until, all_known, "the index to know all of it")
            rows = await in_thread(gateway.rows, "queue", "list")
            assert rows
            assert set(rows[0]) == {
                *("id", "recipient", "next_hop", "state", "attempts", "next_attempt_at"),
                "last_reply",
            }
            await in_thread(gateway.stop)
            await in_thread(gateway.start)  # what waits survives a restart
            await to.start(port)
            await account(gateway, entries, to)
            assert len(to.messages) == len(rows)
        finally:
            gateway.kill_everything()


async def test_a_domain_may_want_defer_instead(tmp_path: Path, root: Path) -> None:
    async with sink() as to:
        gateway = await start(tmp_path, to)
        try:
            await in_thread(gateway.run, "domain", "set", "trial.example", "--on-outage", "defer")
            await asyncio.sleep(1.5)
            await to.stop()
            entries = entries_from([root / "tests/data/mail/german/wrapped-00.eml"], RECIPIENTS)
            ledger = Ledger(
                host="127.0.0.1", port=gateway.smtp_port, entries=entries, patience_s=1.0
            )
            with pytest.raises(BaseExceptionGroup):
                await ledger.run()
            assert set(entries[0].answers) == {451}
            assert await in_thread(gateway.rows, "queue", "list") == []
        finally:
            gateway.kill_everything()


@pytest.mark.parametrize("role", ["smtp", "keeper", "web"])
def test_a_child_whose_supervisor_died_meanwhile_does_not_start(tmp_path: Path, role: str) -> None:
    """The next supervisor waits until the sockets are free."""
    gateway = Gateway(tmp_path, f"maildir:{tmp_path}/mail").init()
    lifeline, supervisors = os.pipe()
    os.close(supervisors)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "serve", "--role", role, "--config", gateway.config],
            env={**gateway.variables(), "SCHWAMM_SUPERVISED": f"0,{lifeline},-1"},
            pass_fds=[lifeline],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(lifeline)
    assert done.returncode == 0
    assert "the supervisor is gone; not starting" in done.stderr
    assert not list((gateway.state / "journal").glob("*")), "it began nothing"


async def test_a_second_instance_on_the_same_state_is_refused(tmp_path: Path) -> None:
    async with sink() as to:
        gateway = await start(tmp_path, to)
        try:
            twin = Gateway(tmp_path, gateway.next_hop)
            done = await in_thread(lambda: twin.run("serve", check=False))
            assert done.returncode == 1
            assert "another Schwamm runs on" in done.stderr
        finally:
            gateway.kill_everything()


async def test_next_hop_refusals_are_told_in_the_dialogue(tmp_path: Path, root: Path) -> None:
    script = Script(by_rcpt={"user0@trial.example": "550 5.1.1 no such mailbox at host 10.1.2.3"})
    async with sink(script) as to:
        gateway = await start(tmp_path, to)
        try:
            path = root / "tests/data/mail/german/wrapped-00.eml"
            entries = entries_from([path], RECIPIENTS)
            both = Entry(
                number=1,
                content=entries[0].content.replace(b": 0", b": 1", 1),
                recipients=("user0@trial.example", "user1@trial.example"),
            )
            ledger = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=[*entries, both])
            await ledger.run()
            assert entries[0].answers == [550]
            assert both.answers == [250]
            assert [m.rcpt_to for m in to.messages] == [["user1@trial.example"]]
            await in_thread(
                wait_until, lambda: gateway.rows("quarantine", "list"), "the refused copy"
            )
            (row,) = await in_thread(gateway.rows, "quarantine", "list")
            assert row["recipient"] == "user0@trial.example"
        finally:
            gateway.kill_everything()


@pytest.mark.parametrize("how", ["die", "hang"])
async def test_a_mail_that_stops_workers_is_held_unparsed_and_its_neighbours_are_not(
    tmp_path: Path, root: Path, how: str
) -> None:
    async with sink() as to:
        gateway = Gateway(tmp_path, f"127.0.0.1:{to.port}")
        await in_thread(gateway.init)
        gateway.environment |= {
            "PYTHONPATH": str(root / "tests" / "fakes" / "poison"),
            "SCHWAMM_SMTP__HANG_TIMEOUT_S": "3",
        }
        await in_thread(gateway.start)
        try:
            paths = [root / "tests/data/mail/german/wrapped-00.eml"] * 6
            entries = entries_from(paths, RECIPIENTS)
            entries[2].content = f"X-Poison: {how}\r\n".encode() + entries[2].content
            ledger = Ledger(
                host="127.0.0.1", port=gateway.smtp_port, entries=entries, connections=1
            )
            await ledger.run()
            await in_thread(
                wait_until, lambda: gateway.rows("quarantine", "list"), "the dangerous mail"
            )
            (row,) = await in_thread(gateway.rows, "quarantine", "list")
            assert entries[2].answers == [0, 0, 250]
            shown = await in_thread(gateway.run, "quarantine", "show", str(row["id"]))
            assert "stopped the scanner twice" in shown.stdout
            await account(gateway, entries, to)
            assert len(to.messages) == 5
        finally:
            gateway.kill_everything()
