"""The memory of clients that waited: shared, bounded, forgetful, and no list of addresses."""

import subprocess
import sys
from pathlib import Path

from gateway.core.clock import SystemClock
from gateway.smtp.limits import client_of
from gateway.telemetry.greeted import BUCKETS, KEPT_MIN, WAYS, Greeted


class HandClock:
    def __init__(self, minutes: int = 30_000_000) -> None:
        self.minutes = minutes

    def now_ms(self) -> int:
        return self.minutes * 60_000

    def monotonic_s(self) -> float:
        raise AssertionError("a memory that outlives a restart asks the wall clock")


def test_it_is_shared_and_survives(tmp_path: Path) -> None:
    one, two = (Greeted.open(tmp_path / "greeted", HandClock()) for _ in range(2))
    assert not one.knows(b"192.0.2.1")
    one.remember(b"192.0.2.1")
    assert two.knows(b"192.0.2.1")
    assert not two.knows(b"192.0.2.2")
    assert Greeted.open(tmp_path / "greeted", HandClock()).knows(b"192.0.2.1")


def test_a_visit_keeps_it_and_a_week_away_forgets_it(tmp_path: Path) -> None:
    clock = HandClock()
    memory = Greeted.open(tmp_path / "greeted", clock)
    memory.remember(b"a")
    for _ in range(5):
        clock.minutes += KEPT_MIN - 1
        assert memory.knows(b"a")
    clock.minutes += KEPT_MIN
    assert not memory.knows(b"a")
    memory.remember(b"a")
    assert memory.knows(b"a")


def test_a_clock_that_was_ahead_promises_nothing(tmp_path: Path) -> None:
    clock = HandClock()
    memory = Greeted.open(tmp_path / "greeted", clock)
    memory.remember(b"a")
    clock.minutes -= 1_000_000
    assert not memory.knows(b"a")
    memory.remember(b"a")
    assert memory.knows(b"a")


def test_it_stays_bounded_and_drops_who_was_away_longest(tmp_path: Path) -> None:
    clock = HandClock()
    memory = Greeted.open(tmp_path / "greeted", clock)
    size = (tmp_path / "greeted").stat().st_size
    for number in range(20_000):
        memory.remember(b"old-%d" % number)
    clock.minutes += 60
    for number in range(20_000):
        memory.remember(b"new-%d" % number)
    fresh = sum(memory.knows(b"new-%d" % number) for number in range(20_000))
    old = sum(memory.knows(b"old-%d" % number) for number in range(20_000))
    assert fresh > 19_950  # only a bucket with more than eight new ones loses any of them
    assert 15_000 < old <= 20_000
    assert (tmp_path / "greeted").stat().st_size == size < 1_000_000
    assert fresh + old <= BUCKETS * WAYS


def test_the_file_is_private_names_nobody_and_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "run" / "greeted"
    Greeted.open(path, HandClock()).remember(b"192.0.2.1")
    assert path.stat().st_mode & 0o077 == 0
    assert b"192.0.2.1" not in path.read_bytes()
    path.write_bytes(b"of another release")
    memory = Greeted.open(path, HandClock())
    memory.remember(b"192.0.2.1")
    assert memory.knows(b"192.0.2.1")
    assert [one.name for one in path.parent.iterdir()] == ["greeted"]


def test_workers_that_start_at_once_share_one_file(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path;"
        "from gateway.core.clock import SystemClock; from gateway.telemetry.greeted import Greeted;"
        "m = Greeted.open(Path(sys.argv[1]), SystemClock()); m.remember(sys.argv[2].encode())"
    )
    path = tmp_path / "greeted"
    command = [sys.executable, "-c", code, str(path)]
    names = [f"192.0.2.{number}" for number in range(4)]
    started = [subprocess.Popen([*command, name]) for name in names]
    assert [one.wait(timeout=60) for one in started] == [0] * 4
    memory = Greeted.open(path, SystemClock())
    assert all(memory.knows(name.encode()) for name in names)


def test_who_is_one_client() -> None:
    assert client_of("192.0.2.1") != client_of("192.0.2.2")
    assert client_of("2001:db8::1") == client_of("2001:db8::2:3:4:5")
    assert client_of("2001:db8::1") != client_of("2001:db8:0:1::1")
    assert client_of("nonsense") == b"nonsense"
