"""Where a message lies while it comes in: memory within a budget, else an unlinked file.

Every message in flight reserves one window of the worker's budget before 354 is said, so a client
never sends a body that we have no room for. What grows beyond the window stays in memory while the
budget lasts and the message is small, and goes to a temporary file otherwise.
"""

import asyncio
import errno
import hashlib
import mmap
import os
import tempfile
from io import BufferedRandom
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.core.errors import StorageError, StorageFullError
from gateway.smtp.limits import WINDOW_BYTES, Limits

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ByteBudget:
    """Octets of memory that the messages in flight of one worker share."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def reserve_window(self) -> "Reservation | None":
        """Room for one more message, None when there is none."""
        window = min(WINDOW_BYTES, self.limit_bytes)
        reservation = Reservation(self, window)
        return reservation if reservation.grow_to(window) else None


class Reservation:
    """One message's share of the budget; a context manager that gives it back exactly once."""

    __slots__ = ("_budget", "_released", "bytes", "window_bytes")

    def __init__(self, budget: ByteBudget, window_bytes: int) -> None:
        self._budget = budget
        self._released = False
        self.window_bytes = window_bytes
        self.bytes = 0

    def grow_to(self, size_bytes: int) -> bool:
        """Have at least ``size_bytes``; False, and nothing changed, when the budget is used up."""
        more = size_bytes - self.bytes
        if more <= 0:
            return True
        if self._released or self._budget.used_bytes + more > self._budget.limit_bytes:
            return False
        self._budget.used_bytes += more
        self.bytes = size_bytes
        return True

    def shrink_to_window(self) -> None:
        """Keep only the window: the rest went to a file."""
        surplus = self.bytes - self.window_bytes
        if surplus > 0:
            self._budget.used_bytes -= surplus
            self.bytes -= surplus

    def release(self) -> None:
        """Give everything back; more calls do nothing."""
        if not self._released:
            self._released = True
            self._budget.used_bytes -= self.bytes
            self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Body:
    """One message's content, piece by piece, with its SHA-256; a context manager.

    What ``finish`` gave away lives on for as long as it is referenced.
    """

    __slots__ = ("_buffer", "_directory", "_file", "_hash", "_limits", "_reservation")

    def __init__(self, reservation: Reservation, *, limits: Limits, directory: Path) -> None:
        self._reservation = reservation
        self._limits = limits
        self._directory = directory
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._file: BufferedRandom | None = None

    @property
    def spilled(self) -> bool:
        """Whether the content lies in a file."""
        return self._file is not None

    def add(self, piece: bytes) -> bool:
        """Take one more piece; True when ``spill`` must be awaited before the next."""
        self._hash.update(piece)
        self._buffer += piece
        held = len(self._buffer)
        if held <= self._reservation.window_bytes:
            return False
        if self._file is not None or held > self._limits.spill_bytes:
            return True
        return not self._reservation.grow_to(held)

    async def spill(self) -> None:
        """Write what is held in memory to the temporary file, in a thread.

        Raises:
            StorageFullError: no room on the disk but what is kept for small mail and the journal
                (452).
            StorageError: the disk failed otherwise (451).
        """
        block, self._buffer = self._buffer, bytearray()
        await asyncio.get_running_loop().run_in_executor(None, self._write, block)
        self._reservation.shrink_to_window()

    def _write(self, block: bytearray) -> None:
        try:
            self._directory.mkdir(exist_ok=True)  # somebody may have tidied it away
            disk = os.statvfs(self._directory)
            if disk.f_bavail * disk.f_frsize < self._limits.disk_reserve_bytes:
                raise StorageFullError("temporary file for a message: the rest of the disk is kept")
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115
            self._file.write(block)
            self._file.flush()
        except OSError as error:
            kind = StorageFullError if error.errno in _FULL else StorageError
            raise kind(f"temporary file for a message: {error}") from error

    async def finish(self) -> tuple[bytes | mmap.mmap, str]:
        """The whole content and its SHA-256 in hexadecimal.

        Raises:
            StorageError: as in ``spill``.
        """
        if self._file is None:
            held, self._buffer = bytes(self._buffer), bytearray()  # not twice while it is scanned
            return held, self._hash.hexdigest()
        if self._buffer:
            await self.spill()
        try:
            content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise StorageError(f"temporary file cannot be mapped: {error}") from error
        self._file.close()
        return content, self._hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def discard(self) -> None:
        """Forget the content: the message is refused, only its end is awaited."""
        self._buffer = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._reservation.shrink_to_window()
