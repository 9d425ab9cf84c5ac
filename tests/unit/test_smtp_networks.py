"""Counts that workers share through a mapped file."""

import subprocess
import sys
from pathlib import Path

from gateway.telemetry.networks import NetworkCounts, Rate
from gateway.telemetry.slots import Slots

_NETWORK = b"\xc0\x00\x02"


class _Time:
    s = 1000.0

    def __call__(self) -> float:
        return self.s


def _worker(folder: Path, slot: int, time: _Time) -> tuple[NetworkCounts, Slots]:
    slots = Slots.open(folder / "slots")
    counts = NetworkCounts.open(folder / "networks", slots=slots, slot=slot, now_s=time)
    slots.heartbeat(slot, 1)
    return counts, slots


def test_every_worker_sees_the_sum(tmp_path: Path) -> None:
    time = _Time()
    one, _ = _worker(tmp_path, 3, time)
    two, _ = _worker(tmp_path, 79, time)
    for counts in (one, one, two):
        counts.connected(_NETWORK, 1)
        counts.count(_NETWORK, Rate.MESSAGES)
    assert [each.connections(_NETWORK) for each in (one, two)] == [3, 3]
    assert [each.per_minute(_NETWORK, Rate.MESSAGES) for each in (one, two)] == [3, 3]
    assert one.per_minute(_NETWORK, Rate.CONNECTIONS) == 0
    assert one.connections(b"\xc0\x00\x03") == 0
    two.connected(_NETWORK, -1)
    assert one.connections(_NETWORK) == 2


def test_what_a_dead_worker_counted_is_gone_when_its_slot_is_cleared(tmp_path: Path) -> None:
    time = _Time()
    one, slots = _worker(tmp_path, 0, time)
    code = f"""
import os, signal
from pathlib import Path
from gateway.telemetry.networks import NetworkCounts
from gateway.telemetry.slots import Slots
slots = Slots.open(Path({str(tmp_path)!r}) / "slots")
path = Path({str(tmp_path)!r}) / "networks"
counts = NetworkCounts.open(path, slots=slots, slot=1, now_s=lambda: 1000.0)
slots.heartbeat(1, 1)
for _ in range(5):
    counts.connected({_NETWORK!r}, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60, check=False)
    assert done.returncode == -9
    assert one.connections(_NETWORK) == 5
    slots.clear(1)  # what the supervisor does with the slot of a dead child
    time.s += 2
    assert one.connections(_NETWORK) == 0


def test_a_new_worker_starts_from_nothing(tmp_path: Path) -> None:
    time = _Time()
    old, _ = _worker(tmp_path, 0, time)
    old.connected(_NETWORK, 1)
    new, _ = _worker(tmp_path, 0, time)
    assert new.connections(_NETWORK) == 0


def test_more_networks_than_rows_forget_the_silent_ones_only(tmp_path: Path) -> None:
    time = _Time()
    counts, _ = _worker(tmp_path, 0, time)
    kept = [b"kept%d" % n for n in range(20)]
    for network in kept:
        counts.connected(network, 1)
    for n in range(20_000):
        counts.count(n.to_bytes(3, "big"), Rate.CONNECTIONS)
    assert [counts.connections(network) for network in kept] == [1] * 20
    assert counts.per_minute((19_999).to_bytes(3, "big"), Rate.CONNECTIONS) == 1


def test_closing_more_than_was_opened_counts_nothing(tmp_path: Path) -> None:
    counts, _ = _worker(tmp_path, 0, _Time())
    counts.connected(_NETWORK, -1)
    counts.connected(_NETWORK, 1)
    counts.connected(_NETWORK, -1)
    counts.connected(_NETWORK, -1)
    assert counts.connections(_NETWORK) == 0


def test_the_file_is_ours_alone_and_leaves_no_other(tmp_path: Path) -> None:
    _worker(tmp_path, 0, _Time())
    _worker(tmp_path, 1, _Time())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["networks", "slots"]
    assert (tmp_path / "networks").stat().st_mode & 0o077 == 0
