"""What the clients of one network do, counted over all workers, without a lock.

One mapped file. Every worker owns the region of its slot and writes nowhere else; whoever wants a
sum reads the regions of all living workers. A region counts only while the process that claimed it
is the one that beats in that slot (``telemetry.slots``): the supervisor clears the slot of a dead
worker, and with that its counts are gone, however it died.

A reader may see a row in the middle of a change: it is then off by one event, for one moment.
"""

import contextlib
import hashlib
import mmap
import os
import struct
import tempfile
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Self

from gateway.telemetry.slots import SLOTS, Slots

WINDOW_S = 60.0
_WAYS = 8  # rows that one network may lie in
_BUCKETS = 512
_ROW = struct.Struct("<QII8I")  # key, open, window, then present and last window of each rate
_HEAD = 64  # of the file: the hash key; of a region: who claimed it
_REGION = _HEAD + _BUCKETS * _WAYS * _ROW.size
_SIZE = _HEAD + SLOTS * _REGION
_KEY_BYTES = 16
_LOOK_S = 1.0  # how long the list of living workers is believed


class Rate(IntEnum):
    """What is counted by the minute; the value is the place in a row."""

    CONNECTIONS = 3
    MESSAGES = 5
    UNKNOWN_RECIPIENTS = 7
    REFUSED_LOGINS = 9


class NetworkCounts:
    """The counts of one worker, and the sums over all. Times are monotonic seconds.

    Rates are those of a sliding minute: the present window, and the part of the last one that the
    minute still covers. A worker remembers about 4,000 networks; those without an open connection
    that were silent longest make room.
    """

    def __init__(
        self,
        shared: mmap.mmap,
        *,
        now_s: Callable[[], float],
        slot: int = 0,
        slots: Slots | None = None,
    ) -> None:
        self._shared = shared
        self._now_s = now_s
        self._slots = slots
        self._own = _HEAD + slot * _REGION
        self._regions: tuple[int, ...] = (self._own,)
        self._looked_s = float("-inf")
        self._key = bytes(shared[:_KEY_BYTES])
        shared[self._own : self._own + _REGION] = bytes(_REGION)
        struct.pack_into("<Q", shared, self._own, os.getpid())

    @classmethod
    def open(cls, path: Path, *, slots: Slots, slot: int, now_s: Callable[[], float]) -> Self:
        """Claim the region of ``slot`` in the file that all workers share, made if need be."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            shared = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        return cls(shared, now_s=now_s, slot=slot, slots=slots)

    @classmethod
    def private(cls, *, now_s: Callable[[], float]) -> Self:
        """Counts of this process alone."""
        return cls(mmap.mmap(-1, _HEAD + _REGION), now_s=now_s)

    def connected(self, network: bytes, change: int) -> None:
        """One connection more (1) or less (-1)."""
        key, bucket = self._place(network)
        at = self._row(self._own, bucket, key)
        if at is None and (change < 0 or (at := self._make_row(bucket, key)) is None):
            return
        now_open = struct.unpack_from("<I", self._shared, at + 8)[0]
        struct.pack_into("<I", self._shared, at + 8, max(0, now_open + change))

    def count(self, network: bytes, rate: Rate) -> None:
        """One more of what ``rate`` counts."""
        key, bucket = self._place(network)
        at = self._row(self._own, bucket, key)
        if at is None and (at := self._make_row(bucket, key)) is None:
            return
        window = self._window()
        row = list(_ROW.unpack_from(self._shared, at))
        if row[2] != window:
            follows = row[2] == (window - 1) % 2**32
            for present in Rate:
                row[present + 1] = row[present] if follows else 0
                row[present] = 0
            row[2] = window
        row[rate] = min(row[rate] + 1, 2**32 - 1)
        _ROW.pack_into(self._shared, at, *row)

    def connections(self, network: bytes) -> int:
        """Open connections of a network, at all workers."""
        key, bucket = self._place(network)
        rows = (self._row(region, bucket, key) for region in self._living())
        return sum(_ROW.unpack_from(self._shared, at)[1] for at in rows if at is not None)

    def per_minute(self, network: bytes, rate: Rate) -> float:
        """What ``rate`` counts, in the last minute, at all workers."""
        key, bucket = self._place(network)
        window = self._window()
        covered = 1 - self._now_s() % WINDOW_S / WINDOW_S
        total = 0.0
        for region in self._living():
            at = self._row(region, bucket, key)
            if at is None:
                continue
            row = _ROW.unpack_from(self._shared, at)
            if row[2] == window:
                total += row[rate] + covered * row[rate + 1]
            elif row[2] == (window - 1) % 2**32:
                total += covered * row[rate]
        return total

    def _window(self) -> int:
        return int(self._now_s() / WINDOW_S) % 2**32

    def _place(self, network: bytes) -> tuple[bytes, int]:
        """Keyed, so that nobody can aim at the rows of somebody else."""
        digest = hashlib.blake2b(network, key=self._key, digest_size=10).digest()
        key = digest[:8] if any(digest[:8]) else b"\x01" + bytes(7)
        return key, int.from_bytes(digest[8:], "little") % _BUCKETS

    def _row(self, region: int, bucket: int, key: bytes) -> int | None:
        start = region + _HEAD + bucket * _WAYS * _ROW.size
        for at in range(start, start + _WAYS * _ROW.size, _ROW.size):
            if self._shared[at : at + 8] == key:
                return at
        return None

    def _make_row(self, bucket: int, key: bytes) -> int | None:
        """An empty row of ours, or the one silent longest; None when all have open connections."""
        start = self._own + _HEAD + bucket * _WAYS * _ROW.size
        window, best, oldest = self._window(), None, -1
        for at in range(start, start + _WAYS * _ROW.size, _ROW.size):
            known, now_open, seen = struct.unpack_from("<QII", self._shared, at)
            age = 2**32 if not known else (window - seen) % 2**32
            if not now_open and age > oldest:
                best, oldest = at, age
        if best is not None:
            fresh = (int.from_bytes(key, "little"), 0, window, *[0] * (2 * len(Rate)))
            _ROW.pack_into(self._shared, best, *fresh)
        return best

    def _living(self) -> tuple[int, ...]:
        if self._slots is not None and self._now_s() - self._looked_s > _LOOK_S:
            self._looked_s = self._now_s()
            claims = ((slot, _HEAD + slot * _REGION) for slot in range(SLOTS))
            self._regions = tuple(
                region
                for slot, region in claims
                if region == self._own or self._is_alive(slot, region)
            )
        return self._regions

    def _is_alive(self, slot: int, region: int) -> bool:
        claimed = struct.unpack_from("<Q", self._shared, region)[0]
        return bool(claimed) and self._slots is not None and claimed == self._slots.pid(slot)


def _make(path: Path) -> None:
    """The file with its key, there at once or not at all: all workers must have the same key."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        os.ftruncate(descriptor, _SIZE)
        os.pwrite(descriptor, os.urandom(_KEY_BYTES), 0)
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.close(descriptor)
        Path(name).unlink()
