"""100,000 messages through one gateway while everything around it and in it breaks in turn.

``make test-long`` runs it; ``SOAK_MESSAGES`` sets how many. The judge is the clients' ledger, copy
by copy. It prints the ledger, what was broken how often, and the memory of every process.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from models.registry import Registry
from tests.crash.soak import CountingSink, Crowd, Memory, entry, every
from tests.fakes.dns_server import FakeDns
from tests.fakes.dns_server import Fault as DnsFault
from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.ledger import judge, tries_without_result
from tests.fakes.settling import OURS, copies, ours, settle
from tests.fakes.sink import Answer, Fault
from tests.functional.test_model_swap import trained
from tests.functional.test_survival import ATTACHING, kill_one, tries_of

MESSAGES = int(os.environ.get("SOAK_MESSAGES", "100000"))
ROUNDS = 3
LEAK_BYTES = 30 * 1024 * 1024  # more growth than that in the second half of a long life is a leak
LEAK_OVER = 20_000  # messages of that second half
Breaks = Callable[["Soak"], Awaitable[None]]


@dataclass(slots=True)
class Soak:
    """One run: the gateway, its surroundings, and what was done to them."""

    gateway: Gateway
    disk: Path
    steady: CountingSink
    flaky: CountingSink
    dns: FakeDns
    models: list[str]
    crowd: Crowd
    broken: Counter[str] = field(default_factory=Counter)
    memory: Memory = field(default_factory=Memory)

    async def misbehave(self, seconds: float, *, taken: bool = False, **answers: Answer) -> None:
        """The flaky next hop answers so for a while; ``taken``: it keeps the mail all the same."""
        self.flaky.script.answers.update(answers)
        self.flaky.script.take_before_fault = taken
        await asyncio.sleep(seconds)
        self.flaky.script.answers.clear()

    async def log_says(self, text: str, since: int) -> None:
        def said() -> bool:
            return text in self.gateway.log.read_text(errors="replace")[since:]

        await asyncio.to_thread(wait_until, said, f"{text!r} in the log", 60.0)


async def next_hop_down(soak: Soak) -> None:
    port = soak.flaky.port
    await soak.flaky.stop()
    await asyncio.sleep(4)
    await soak.flaky.start(port)


async def next_hop_hangs_after_the_dot(soak: Soak) -> None:
    await soak.misbehave(3, final=Fault.HANG)
    soak.flaky.drop_connections()


async def next_hop_takes_and_closes(soak: Soak) -> None:
    await soak.misbehave(2, taken=True, final=Fault.CLOSE)


async def next_hop_defers(soak: Soak) -> None:
    await soak.misbehave(3, rcpt="450 4.2.1 later", final="451 4.3.0 later")


async def next_hop_refuses(soak: Soak) -> None:
    await soak.misbehave(1, final="554 5.7.1 no")


async def next_hop_closes_in_data(soak: Soak) -> None:
    await soak.misbehave(2, in_data=Fault.CLOSE)


async def worker_killed(soak: Soak) -> None:
    await asyncio.to_thread(kill_one, soak.gateway, "smtp")


async def keeper_killed(soak: Soak) -> None:
    await asyncio.to_thread(kill_one, soak.gateway, "keeper")


async def supervisor_killed(soak: Soak) -> None:
    await asyncio.to_thread(kill_one, soak.gateway, "supervisor")


async def dns_silent(soak: Soak) -> None:
    soak.dns.everything = DnsFault.SILENT
    await asyncio.sleep(3)
    soak.dns.everything = None


async def disk_full(soak: Soak) -> None:
    """No octet more for a moment; what is there stays."""
    total = shutil.disk_usage(soak.disk).total
    await asyncio.to_thread(shrink, soak.disk)
    try:
        await asyncio.sleep(3)
    finally:
        await asyncio.to_thread(remount, soak.disk, total)


async def reload(soak: Soak) -> None:
    assert soak.gateway.process is not None
    since = len(soak.gateway.log.read_text(errors="replace"))
    soak.gateway.process.send_signal(signal.SIGHUP)
    await soak.log_says("reloaded", since)


async def model_promoted(soak: Soak) -> None:
    soak.models.reverse()
    await asyncio.to_thread(soak.gateway.run, "model", "promote", soak.models[0])


async def index_locked(soak: Soak) -> None:
    def hold() -> None:
        with contextlib.closing(sqlite3.connect(soak.gateway.state / "index.db", timeout=20)) as db:
            db.isolation_level = None
            db.execute("begin exclusive")
            time.sleep(5)
            db.execute("rollback")

    await asyncio.to_thread(hold)


AROUND: tuple[Breaks, ...] = (
    *(next_hop_down, next_hop_hangs_after_the_dot, next_hop_takes_and_closes, next_hop_defers),
    *(next_hop_refuses, next_hop_closes_in_data, dns_silent, disk_full, index_locked),
    model_promoted,
)
WITHIN: tuple[Breaks, ...] = (worker_killed, keeper_killed, supervisor_killed, reload)


def schedule(chance: random.Random) -> list[tuple[float, Breaks]]:
    """When in the course of the run (0 to 1) what breaks.

    Processes are killed in the first half only, so that the second shows whether they grow.
    """
    plan: list[tuple[float, Breaks]] = []
    for number in range(ROUNDS):
        around, within = list(AROUND), list(WITHIN)
        chance.shuffle(around)
        chance.shuffle(within)
        plan += [
            (0.02 + (number + (at + 0.5) / len(around)) * 0.95 / ROUNDS, one)
            for at, one in enumerate(around)
        ]
        plan += [
            (0.02 + (number + (at + 0.25) / len(within)) * 0.45 / ROUNDS, one)
            for at, one in enumerate(within)
        ]
    return sorted(plan, key=lambda one: one[0])


def shrink(disk: Path) -> None:
    """To what is used just now; it grows meanwhile, so that takes a few goes."""
    for _ in range(100):
        command = ["mount", "-o", f"remount,size={shutil.disk_usage(disk).used}", str(disk)]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return
    raise AssertionError("the disk cannot be made full")


def remount(disk: Path, size_bytes: int) -> None:
    command = ["mount", "-o", f"remount,size={size_bytes}", str(disk)]
    assert subprocess.run(command, check=False).returncode == 0


@contextlib.contextmanager
def disk_of(where: Path) -> Iterator[Path]:
    """A file system of its own, in memory, with room for the whole run."""
    where.mkdir()
    size = 400 * 1024 * 1024 + MESSAGES * 20_000
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)]
    assert subprocess.run(command, check=False).returncode == 0
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)


@contextlib.asynccontextmanager
async def prepared(disk: Path) -> AsyncIterator[Soak]:
    steady, flaky = CountingSink(), CountingSink()
    await steady.start()
    await flaky.start()
    async with FakeDns(zones=("list.example",)) as dns:
        gateway = Gateway(disk, f"127.0.0.1:{steady.port}", workers=2)
        gateway.environment |= {
            "PYTHONPATH": str(ATTACHING),
            "TRIES": str(tries_of(gateway)),
            "SCHWAMM_DELIVERY__FIRST_RETRY_S": "1",
            "SCHWAMM_DELIVERY__LONGEST_RETRY_S": "5",
            "SCHWAMM_DELIVERY__FINAL_TIMEOUT_S": "5",
            "SCHWAMM_DNS__SERVERS": f'["{dns.address}"]',
            "SCHWAMM_DNS__BUDGET_S": "1",
        }
        tries_of(gateway).mkdir()
        models = await asyncio.to_thread(set_up, gateway, steady, flaky)
        crowd = Crowd(gateway.smtp_port, [entry(number) for number in range(MESSAGES)])
        try:
            yield Soak(gateway, disk, steady, flaky, dns, models, crowd)
        finally:
            gateway.kill_everything()
            await steady.stop()
            await flaky.stop()


def set_up(gateway: Gateway, steady: CountingSink, flaky: CountingSink) -> list[str]:
    """Three domains, a block list, two models; returns the models' names."""
    gateway.init()
    add = ("domain", "add")
    gateway.run(*add, "flaky.example", "--next-hop", f"127.0.0.1:{flaky.port}")
    tolerant = ("--unsure-score", "900", "--spam-score", "1000", "--reject-score", "1001")
    gateway.run(*add, "tolerant.example", "--next-hop", f"127.0.0.1:{steady.port}", *tolerant)
    with gateway.config.open("a") as config:
        config.write(
            '\n[[dnsbl]]\nzone = "list.example"\nprivate_clients = true\n'
            '[dnsbl.codes]\n"127.0.0.2" = "DNSBL_TEST"\n'
        )
    gateway.start()
    models = gateway.state / "models"
    return [Registry(models).pointed(), trained(models)]


async def break_things(soak: Soak) -> None:
    """Each thing breaks at its moment, and the clients go no further than to the next moment."""
    plan = schedule(random.Random(MESSAGES))
    ends = [moment for moment, _ in plan[1:]] + [1.0]
    for (moment, breaks), end in zip(plan, ends, strict=True):
        soak.crowd.limit = round(end * MESSAGES)
        while soak.crowd.sent < moment * MESSAGES - soak.crowd.clients:
            await asyncio.sleep(0.02)
        await breaks(soak)
        soak.broken[breaks.__name__] += 1


async def run(disk: Path) -> None:
    async with prepared(disk) as soak:
        began_s = time.monotonic()
        sampling = asyncio.create_task(
            every(2.0, lambda: soak.memory.sample(soak.gateway, soak.crowd.sent))
        )
        breaking = asyncio.create_task(break_things(soak))
        sending = asyncio.create_task(soak.crowd.run())
        await asyncio.wait({sending, breaking}, return_when=asyncio.FIRST_EXCEPTION)
        if breaking.done():
            breaking.result()
        await sending
        await breaking
        sent_s = time.monotonic() - began_s
        sampling.cancel()
        await asyncio.to_thread(settle, soak.gateway, 600.0)
        kept = await asyncio.to_thread(ours, soak.gateway)
        lost = tries_without_result(tries_of(soak.gateway)) + soak.flaky.unanswered
        counts = judge(soak.crowd.entries, soak.steady.copies + soak.flaky.copies, kept, lost)
        report(soak, counts, sent_s)
        await asyncio.to_thread(assert_a_new_index_says_the_same, soak.gateway)
    assert counts["messages"] == MESSAGES
    assert set(soak.broken) == {one.__name__ for one in (*AROUND, *WITHIN)}
    grown = soak.memory.growth_bytes(LEAK_OVER)
    assert all(size < LEAK_BYTES for size in grown.values()), grown


def assert_a_new_index_says_the_same(gateway: Gateway) -> None:
    before = sorted(copies(gateway, *OURS))
    assert gateway.stop() == 0
    gateway.run("reindex")
    assert sorted(copies(gateway, *OURS)) == before


def report(soak: Soak, counts: Counter[str], sent_s: float) -> None:
    answers = Counter(code for one in soak.crowd.entries for code in one.answers)
    print(f"\n{MESSAGES} messages in {sent_s:.0f} s, {MESSAGES / sent_s:.0f} a second")
    print("\n| ledger | |\n| --- | --- |")
    for what, number in counts.items():
        print(f"| {what} | {number} |")
    print(f"| taken by a next hop without an answer | {soak.flaky.unanswered.total()} |")
    for code, number in sorted(answers.items()):
        print(f"| clients heard {code or 'nothing'} | {number} |")
    print("\n| broken | times |\n| --- | --- |")
    for name, number in sorted(soak.broken.items()):
        print(f"| {name.replace('_', ' ')} | {number} |")
    print("\n| process | lived from message | to | RSS MB at start | middle | end |")
    print("| --- | --- | --- | --- | --- | --- |")
    for role, pid, first, last, *sizes in soak.memory.rows():
        if last - first > MESSAGES // 20:
            print(f"| {role} {pid} | {first} | {last} | {' | '.join(map(str, sizes))} |")


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.timeout(7200)
def test_every_copy_of_a_long_day_is_accounted_for(tmp_path: Path) -> None:
    with disk_of(tmp_path / "disk") as disk:
        uvloop.run(run(disk))
