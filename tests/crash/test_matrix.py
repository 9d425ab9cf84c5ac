"""Kill -9 of worker, keeper, supervisor and commands at every named point, under load."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash.matrix import POINTS, RELOADING, WORKER_DIES, Load, Matrix
from tests.fakes.ledger import Copies, Entry, Ledger, at_sinks, judge, tries_without_result
from tests.fakes.settling import ours
from tests.fakes.sink import sink

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "20"))
FIRST = int(os.environ.get("CRASH_FIRST_ROUND", "0"))
SHORT = [point for point in POINTS if point not in {*WORKER_DIES[1:], *RELOADING[1:]}]


async def one_round(
    directory: Path, points: Sequence[str], seed: int
) -> tuple[Counter[str], Counter[str]]:
    """Kill once at each point, settle, judge; hits per point and the ledger."""
    async with sink() as to, sink() as later:
        matrix = Matrix.prepared(directory, to, later, seed)
        try:
            await asyncio.to_thread(matrix.start, to, later)
            ledger = Ledger(host="127.0.0.1", port=matrix.gateway.smtp_port, entries=[])
            load = Load(ledger)
            sending = asyncio.create_task(load.run())
            order = list(points)
            random.Random(seed).shuffle(order)
            for point in order:
                killing = asyncio.create_task(asyncio.to_thread(matrix.kill_at, point))
                await asyncio.wait({killing, sending}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
                await killing
            load.stopping = True
            await sending
            await asyncio.to_thread(matrix.settle)
            kept = ours(matrix.gateway)
            lost = tries_without_result(matrix.here)
            counts = judge(ledger.entries, at_sinks(to, later), kept, lost)
            still_held = set(matrix.copies("held"))
            assert not still_held & set(matrix.released), "a durable release was forgotten"
            return matrix.hits, counts
        finally:
            matrix.gateway.kill_everything()


@pytest.mark.timeout(280)
async def test_a_kill_at_each_point_loses_nothing(tmp_path: Path) -> None:
    hits, counts = await one_round(tmp_path, SHORT, random.randrange(1 << 30))
    assert set(hits) == set(SHORT)
    assert counts["messages"] > len(SHORT)
    print_table(hits, counts)


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_a_thousand_kills_lose_nothing(tmp_path: Path) -> None:
    """``CRASH_ROUNDS`` rounds over all points; 20 of them are more than a thousand kills.

    A round's number is its seed; ``CRASH_FIRST_ROUND`` lets the rounds be run in several goes.
    """
    hits: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for number in range(FIRST, FIRST + ROUNDS):
        directory = tmp_path / str(number)
        directory.mkdir()
        round_hits, round_counts = await one_round(directory, POINTS, number)
        hits += round_hits
        counts.update(round_counts)
        print_table(hits, counts)
    assert all(hits[point] >= ROUNDS for point in POINTS)


def print_table(hits: Counter[str], counts: Counter[str]) -> None:
    print("\n| process | killed at | hits |\n| --- | --- | --- |")
    for point in POINTS:
        role, _, place = point.partition(":")
        if hits[point]:
            print(f"| {role} | {place} | {hits[point]} |")
    print(f"\n{sum(hits.values())} kills at {len(hits)} points")
    for what, number in counts.items():
        print(f"- {what}: {number}", flush=True)


def test_the_judge_sees_what_is_lost_and_what_is_twice() -> None:
    """A positive control: a judge that cannot condemn proves nothing."""
    key = (0, "a@trial.example")

    def entry(*answers: int, unanswered: int = 0) -> list[Entry]:
        return [
            Entry(
                number=0,
                content=b"",
                recipients=(key[1],),
                answers=list(answers),
                unanswered=unanswered,
            )
        ]

    nothing: Copies = Counter()
    once, twice = Counter({key: 1}), Counter({key: 2})
    with pytest.raises(AssertionError, match="LOST"):
        judge(entry(250), nothing, nothing)
    with pytest.raises(AssertionError, match="DOUBLE"):
        judge(entry(250), twice, nothing)
    with pytest.raises(AssertionError, match="DOUBLE"):
        judge(entry(451, 250), once, once)
    with pytest.raises(AssertionError, match="DOUBLE"):
        judge(entry(0, 250), twice, nothing)  # it broke before the message was said
    with pytest.raises(AssertionError, match="refused and kept"):
        judge(entry(550), once, nothing)
    with pytest.raises(AssertionError, match="no final answer"):
        judge(entry(451), nothing, nothing)
    assert judge(entry(0, 250, unanswered=1), twice, nothing)["twice"] == 1
    assert judge(entry(250), once, once, once)["twice"] == 1
    assert judge(entry(250), nothing, once)["held"] == 1
    assert judge(entry(550), nothing, nothing)["refused"] == 1


def test_what_a_killed_keeper_had_under_way_is_what_it_noted_last(tmp_path: Path) -> None:
    (tmp_path / "tries-1").write_text("dot 1 a@x\ndurable 1 a@x\ndot 2 a@x\n")
    (tmp_path / "tries-2").write_text("dot 2 a@x\ndot 3 a@x\ndurable 3 a@x\n")
    assert tries_without_result(tmp_path) == Counter({(2, "a@x"): 2})
