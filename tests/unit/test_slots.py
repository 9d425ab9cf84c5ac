import hashlib
from pathlib import Path

from gateway.telemetry.slots import STRIKES, STRIKES_TO_HOLD, Slots


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def test_one_process_sees_what_the_other_scans(tmp_path: Path) -> None:
    worker, supervisor = (Slots.open(tmp_path / "slots") for _ in range(2))
    worker.heartbeat(3, 1234)
    worker.scanning(3, digest("a"))
    assert supervisor.last_heartbeat_ms(3) == 1234
    assert supervisor.scanned_by(3) == digest("a")
    assert supervisor.scanned_by(2) is None
    worker.scanning(3)
    assert supervisor.scanned_by(3) is None


def test_strikes_count_survive_and_forget_the_oldest(tmp_path: Path) -> None:
    slots = Slots.open(tmp_path / "slots")
    assert slots.strikes(digest("bad")) == 0
    assert [slots.strike(digest("bad")) for _ in range(3)] == [1, 2, 3]
    slots.strike(digest("other"))
    again = Slots.open(tmp_path / "slots")
    assert again.strikes(digest("bad")) == 3 >= STRIKES_TO_HOLD
    assert again.strikes(digest("other")) == 1
    for n in range(STRIKES):
        again.strike(digest(str(n)))
    assert again.strikes(digest("bad")) == 0
    assert again.strikes(digest(str(STRIKES - 1))) == 1
