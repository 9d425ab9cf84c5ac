"""Which clients waited for a greeting before: they need not wait again, at any worker.

One mapped file of fixed size, shared by all workers and kept over restarts. Nobody locks it: two
workers that write one row at once may spoil it, and that client waits once more. Addresses are kept
as keyed digests, so the file is no list of who sent mail, and nobody can aim at another's row.
"""

import contextlib
import hashlib
import mmap
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

from gateway.core.clock import Clock

WAYS = 8  # rows that one client may lie in
BUCKETS = 8192
KEPT_MIN = 7 * 24 * 60  # minutes without a visit after which a client is forgotten
_FRESH_MIN = 24 * 60  # a visit within that time is not written down again
_ROW = struct.Struct("<QI")  # digest, minute of the last visit
_HEAD = 64
_KEY_BYTES = 16
_SIZE = _HEAD + BUCKETS * WAYS * _ROW.size


class Greeted:
    """About 65,000 clients; in a full bucket the one that was away longest makes room."""

    def __init__(self, shared: mmap.mmap, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._key = bytes(shared[:_KEY_BYTES])

    @classmethod
    def open(cls, path: Path, clock: Clock) -> Self:
        """The file that all workers share; made if need be, and anew when it is of another size."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # Looked at once: a file that another worker makes meanwhile is not replaced.
        try:
            size: int | None = path.stat().st_size
        except FileNotFoundError:
            size = None
        if size != _SIZE:
            _make(path, replacing=size is not None)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            return cls(mmap.mmap(descriptor, _SIZE), clock)
        finally:
            os.close(descriptor)

    def knows(self, client: bytes) -> bool:
        """Whether this client waited before; a visit keeps it known."""
        now = self._minute()
        digest, rows = self._place(client)
        for at in rows:
            known, seen = _ROW.unpack_from(self._shared, at)
            if known == digest:
                if not 0 <= now - seen < KEPT_MIN:  # a clock that was wrong is no promise
                    return False
                if now - seen >= _FRESH_MIN:
                    _ROW.pack_into(self._shared, at, digest, now)
                return True
        return False

    def remember(self, client: bytes) -> None:
        """It waited."""
        now = self._minute()
        digest, rows = self._place(client)

        def last(at: int) -> tuple[bool, int]:
            known, seen = _ROW.unpack_from(self._shared, at)
            return (known != digest, seen if known and seen <= now else -1)

        _ROW.pack_into(self._shared, min(rows, key=last), digest, now)

    def _minute(self) -> int:
        return self._clock.now_ms() // 60_000 % 2**32

    def _place(self, client: bytes) -> tuple[int, range]:
        digest = hashlib.blake2b(client, key=self._key, digest_size=12).digest()
        start = _HEAD + int.from_bytes(digest[8:], "little") % BUCKETS * WAYS * _ROW.size
        number = int.from_bytes(digest[:8], "little") or 1
        return number, range(start, start + WAYS * _ROW.size, _ROW.size)


def _make(path: Path, *, replacing: bool) -> None:
    """The file with its key, there at once or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    finish: Callable[[Path], object] = Path(name).replace if replacing else path.hardlink_to
    try:
        os.ftruncate(descriptor, _SIZE)
        os.pwrite(descriptor, os.urandom(_KEY_BYTES), 0)
        with contextlib.suppress(FileExistsError):  # another worker was first
            finish(path if replacing else Path(name))
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)
