"""What is kept of mail that went on, and what damage, full disks and time do to it."""

import errno
import itertools
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.core.errors import StorageError, StorageFullError
from gateway.core.ids import IdSource
from gateway.core.lesson import Lesson
from gateway.store.features import FeatureLog, KeptFeatures, find_features, forget_features
from gateway.store.files import Data, OsFileLayer

DAY_MS = 86_400_000
NOON_MS = round(datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp() * 1000)
IDS = IdSource("n1")


class SetClock:
    def __init__(self) -> None:
        self.at_ms = NOON_MS

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_s(self) -> float:
        return self.at_ms / 1000


def kept(at_ms: int = NOON_MS, hashes: bytes = b"features", customer: str = "") -> KeptFeatures:
    return KeptFeatures(
        mail_id=IDS.next(at_ms),
        customer=customer,
        lesson=Lesson(feature_spec="f1", hashes=hashes, fingerprint=b"print", arrived_at_ms=at_ms),
    )


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def log(tmp_path: Path, clock: SetClock) -> FeatureLog:
    return FeatureLog(tmp_path, "smtp", clock)


def test_each_mail_is_found_again(tmp_path: Path, log: FeatureLog) -> None:
    many = [kept(hashes=bytes([n]) * n * 100, customer=f"kundé {n}") for n in range(50)]
    for one in many:
        log.keep(one)
    other = FeatureLog(tmp_path, "smtp", SetClock())
    later = kept()
    other.keep(later)
    assert [find_features(tmp_path, one.mail_id) for one in (*many, later)] == [*many, later]
    assert find_features(tmp_path, IDS.next(NOON_MS)) is None
    assert find_features(tmp_path / "never", later.mail_id) is None
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*/*")} == {0o600}


def test_a_mail_that_came_in_over_midnight_is_found(
    tmp_path: Path, log: FeatureLog, clock: SetClock
) -> None:
    before = kept(NOON_MS + DAY_MS // 2 - 1)
    log.keep(kept())
    clock.at_ms += DAY_MS // 2
    log.keep(before)
    assert find_features(tmp_path, before.mail_id) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026-11-27", "2026-11-28"]


def test_whatever_damage_no_other_mail_is_told_and_nothing_breaks(
    tmp_path: Path, log: FeatureLog
) -> None:
    first, second = kept(hashes=b"one" * 20), kept(hashes=b"two" * 20)
    log.keep(first)
    log.keep(second)
    (path,) = tmp_path.glob("*/*")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place])
        assert find_features(tmp_path, second.mail_id) is None
        assert find_features(tmp_path, first.mail_id) in (first, None)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        found = [find_features(tmp_path, one.mail_id) for one in (first, second)]
        assert found[0] in (first, None)
        assert found[1] in (second, None)
        assert found != [first, second]
    path.write_bytes(whole)
    assert find_features(tmp_path, second.mail_id) == second


class Filling(OsFileLayer):
    """A disk that takes part of the second entry and is full then."""

    def __init__(self) -> None:
        self.writes = itertools.count()

    def write(self, descriptor: int, data: Data) -> None:
        if next(self.writes) == 1:
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(descriptor, data)


def test_a_full_disk_costs_one_entry_only(tmp_path: Path, clock: SetClock) -> None:
    log = FeatureLog(tmp_path, "smtp", clock, file_layer=Filling())
    first, lost, last = kept(), kept(), kept()
    log.keep(first)
    with pytest.raises(StorageFullError, match="2026-11-27"):
        log.keep(lost)
    log.keep(last)
    assert find_features(tmp_path, first.mail_id) == first
    assert find_features(tmp_path, lost.mail_id) is None
    assert find_features(tmp_path, last.mail_id) == last


def test_what_has_no_room_in_an_entry_is_refused(tmp_path: Path, log: FeatureLog) -> None:
    with pytest.raises(StorageError, match="no room"):
        log.keep(kept(customer="x" * 70_000))
    good = kept()
    log.keep(good)
    assert find_features(tmp_path, good.mail_id) == good


def test_days_that_are_over_go_and_nothing_else(
    tmp_path: Path, log: FeatureLog, clock: SetClock
) -> None:
    (tmp_path / "notes").mkdir()
    of_days = []
    for _ in range(4):
        of_days.append(kept(clock.at_ms))
        log.keep(of_days[-1])
        clock.at_ms += DAY_MS
    assert forget_features(tmp_path, NOON_MS + 2 * DAY_MS) == 2
    left = [find_features(tmp_path, one.mail_id) for one in of_days]
    assert left == [None, None, of_days[2], of_days[3]]
    assert forget_features(tmp_path, NOON_MS + 2 * DAY_MS) == 0
    assert (tmp_path / "notes").is_dir()
    assert forget_features(tmp_path / "never", NOON_MS) == 0


def test_a_folder_that_was_removed_is_made_anew(tmp_path: Path, log: FeatureLog) -> None:
    log.keep(kept())
    (path,) = tmp_path.glob("*/*")
    path.unlink()
    path.parent.rmdir()
    again = kept()
    log.keep(again)
    assert find_features(tmp_path, again.mail_id) == again
