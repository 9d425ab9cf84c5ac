"""2,000 real messages through the running gateway while each of its processes is killed in turn.

``make test-long`` runs it and prints the ledger. The messages are those of the corpus archives
beside the checkout.
"""

import asyncio
import random
import signal
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.ledger import Ledger, entries_from
from tests.fakes.settling import settle
from tests.fakes.sink import sink
from tests.functional.test_survival import (
    RECIPIENTS,
    account,
    in_thread,
    kill_one,
    start,
)

COUNT = 2000
ARCHIVES = ("spamassassin", "spam-2023-2025", "codealltag-sample", "csdmc2010")


@pytest.fixture(scope="module")
def corpus(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("corpus")
    shared = root / ".." / "shared" / "corpus"
    for name in ARCHIVES:
        archive = shared / f"{name}.tar.xz"
        if not archive.exists():
            pytest.fail(f"this long test needs {archive.name} in ../shared/corpus")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    paths = [
        index.parent / line.split(maxsplit=1)[1]
        for index in sorted(folder.glob("*/index"))
        for line in index.read_text().splitlines()
    ]
    random.Random(11).shuffle(paths)
    return paths


async def through(tmp_path: Path, paths: list[Path], *, kills: tuple[str, ...]) -> Counter[str]:
    async with sink() as to:
        gateway = await start(tmp_path, to, workers=2)
        try:
            entries = entries_from(paths, RECIPIENTS)
            ledger = Ledger(
                host="127.0.0.1",
                port=gateway.smtp_port,
                entries=entries,
                connections=8,
                patience_s=280,
            )
            running = asyncio.create_task(ledger.run())
            for number, role in enumerate(kills):
                while ledger.sent < len(entries) * (number + 1) // (len(kills) + 2):
                    await asyncio.sleep(0.02)
                await in_thread(kill_one, gateway, role)
            await running
            counts = await account(gateway, entries, to)
            answers = Counter(code for entry in entries for code in entry.answers)
            print(f"\nkills {Counter(kills)}; ledger {counts}; answers heard {dict(answers)}")
            return counts
        finally:
            gateway.kill_everything()


@pytest.mark.long
async def test_the_ledger_balances_without_harm(tmp_path: Path, corpus: list[Path]) -> None:
    counts = await through(tmp_path, corpus[:COUNT], kills=())
    assert counts["twice"] == 0
    assert counts["messages"] == COUNT


@pytest.mark.long
async def test_the_ledger_balances_through_kills(tmp_path: Path, corpus: list[Path]) -> None:
    kills = ("smtp", "keeper", "web", "supervisor", "smtp", "supervisor", "keeper", "smtp")
    counts = await through(tmp_path, corpus[COUNT : 2 * COUNT], kills=kills)
    assert counts["messages"] == COUNT


@pytest.mark.long
async def test_reindex_gives_the_same_quarantine(tmp_path: Path, corpus: list[Path]) -> None:
    async with sink() as to:
        gateway: Gateway = await start(tmp_path, to)
        try:
            ledger = Ledger(
                host="127.0.0.1",
                port=gateway.smtp_port,
                entries=entries_from(corpus[:300], RECIPIENTS),
                patience_s=200,
            )
            await ledger.run()
            await in_thread(settle, gateway)
            before = await in_thread(gateway.rows, "quarantine", "list", "--limit", "1000")
            await in_thread(gateway.stop, signal.SIGTERM)
            (gateway.state / "index.db").unlink()
            await in_thread(gateway.run, "reindex")
            after = await in_thread(gateway.rows, "quarantine", "list", "--limit", "1000")
            assert after == before
        finally:
            gateway.kill_everything()
