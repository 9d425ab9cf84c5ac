"""Memory that the supervisor and its children share: heartbeats, and what a worker is scanning.

One small mapped file. Each child owns a slot: when it last lived, and the digest of the mail its
CPU is on right now. When a child dies or hangs with a digest in its slot, the supervisor gives that
digest a strike; a mail with two strikes is held unparsed (architecture, section 4), and its
neighbours are not.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Self

_SLOT = struct.Struct("<QQ32s")  # monotonic heartbeat ms, pid, digest being scanned (zeros: none)
_STRIKE = struct.Struct("<32sB")
SLOTS = 160  # 64 workers, keeper and web, and as many again while a reload replaces them
STRIKES = 512
STRIKES_TO_HOLD = 2
_SIZE = SLOTS * _SLOT.size + STRIKES * _STRIKE.size
_IDLE = bytes(32)


class Slots:
    """The mapped file; ``map`` is shared by all who open the same path."""

    def __init__(self, shared: mmap.mmap) -> None:
        self._shared = shared

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the file; strikes survive a restart, heartbeats are stale by themselves."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, _SIZE)
            return cls(mmap.mmap(descriptor, _SIZE))
        finally:
            os.close(descriptor)

    def clear(self, slot: int) -> None:
        """Forget a dead child."""
        _SLOT.pack_into(self._shared, slot * _SLOT.size, 0, 0, _IDLE)

    def heartbeat(self, slot: int, now_ms: int) -> None:
        """Say that the child of ``slot`` lives, at monotonic ``now_ms``."""
        struct.pack_into("<QQ", self._shared, slot * _SLOT.size, now_ms, os.getpid())

    def last_heartbeat_ms(self, slot: int) -> int:
        """Monotonic milliseconds of the last heartbeat, 0 for none yet."""
        return int(_SLOT.unpack_from(self._shared, slot * _SLOT.size)[0])

    def pid(self, slot: int) -> int:
        """The process that beats in ``slot``, 0 for none."""
        return int(_SLOT.unpack_from(self._shared, slot * _SLOT.size)[1])

    def scanning(self, slot: int, digest: bytes = _IDLE) -> None:
        """Name the mail that the CPU works on from here; without a digest: none."""
        at = slot * _SLOT.size + 16
        self._shared[at : at + 32] = digest

    def scanned_by(self, slot: int) -> bytes | None:
        """The digest the child of ``slot`` was scanning, if any."""
        digest: bytes = _SLOT.unpack_from(self._shared, slot * _SLOT.size)[2]
        return None if digest == _IDLE else digest

    def strike(self, digest: bytes) -> int:
        """Count one more death over this mail; returns its strikes. The oldest makes room."""
        base = SLOTS * _SLOT.size
        entries = [
            _STRIKE.unpack_from(self._shared, base + n * _STRIKE.size) for n in range(STRIKES)
        ]
        count = next((strikes for known, strikes in entries if known == digest), 0) + 1
        kept = [entry for entry in entries if entry[0] not in {digest, _IDLE}]
        for n, entry in enumerate([(digest, min(count, 255)), *kept][:STRIKES]):
            _STRIKE.pack_into(self._shared, base + n * _STRIKE.size, *entry)
        return count

    def strikes(self, digest: bytes) -> int:
        """How many children died over this mail."""
        at = self._shared.find(digest, SLOTS * _SLOT.size)
        if at < 0 or (at - SLOTS * _SLOT.size) % _STRIKE.size:
            return 0
        return self._shared[at + 32]
