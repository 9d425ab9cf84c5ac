"""What happened, a line at a time: one append-only file per process and day.

A line is in the kernel's hands when ``append`` returns, so a killed process loses none; it has
survived a power loss when ``append_durable`` returns. Files are never written by a later process,
and a torn last line was never acknowledged to anyone. A file that somebody removed is not written
to any more: nobody would ever read that.
"""

import errno
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from gateway.core.clock import Clock
from gateway.core.errors import StorageError
from gateway.core.record import Event
from gateway.store.codec import event_to_line
from gateway.store.days import day_name, own_file
from gateway.store.files import (
    FileLayer,
    OsFileLayer,
    SharedFlush,
    make_durable_directory,
    storage_error,
)
from gateway.store.threads import finish_in_thread

_FLUSHERS = 8  # threads that wait for the disk; as many share one flush
_KEPT_NAMES = 8


class _OpenFile:
    """One journal file of this process; closed when it is retired and nobody flushes it."""

    def __init__(self, path: Path, descriptor: int, layer: FileLayer) -> None:
        self.path = path
        self.descriptor = descriptor
        self.day = path.parent.name
        self.name = f"{self.day}/{path.name}"
        self.size = 0
        self._files = layer
        self._entry_is_durable = False
        self._users = 0
        self._retired = False
        self.flush = SharedFlush(self._flush)

    def _flush(self) -> None:
        self._files.fsync(self.descriptor)
        if not self._files.has_name(self.descriptor):
            raise FileNotFoundError(errno.ENOENT, "the journal file was removed", str(self.path))
        if not self._entry_is_durable:
            self._files.sync_directory(self.path.parent)
            self._entry_is_durable = True

    def use(self) -> None:
        self._users += 1

    def unuse(self) -> None:
        self._users -= 1
        self._close_if_done()

    def retire(self) -> None:
        self._retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and self._users == 0 and self.descriptor >= 0:
            self._files.close(self.descriptor)
            self.descriptor = -1


class Journal:
    """This process's journal below ``directory``, in ``<day>/<role>-<pid>-<start_ms>.jsonl``.

    Safe for threads.
    """

    def __init__(
        self, directory: Path, role: str, clock: Clock, *, file_layer: FileLayer | None = None
    ) -> None:
        self._directory = directory
        self._role = role
        self._clock = clock
        self._files = file_layer or OsFileLayer()
        self._lock = threading.Lock()
        self._current: _OpenFile | None = None
        self._names: list[str] = []
        self._pool = ThreadPoolExecutor(_FLUSHERS, thread_name_prefix="journal")

    @property
    def names(self) -> tuple[str, ...]:
        """The latest files of this journal, oldest first, relative to the directory."""
        with self._lock:
            return tuple(self._names)

    def append(self, event: Event) -> None:
        """Write one line; a kill of this process cannot lose it, a power loss can.

        Raises:
            StorageFullError: no room (452).
            StorageError: anything else; the line does not count.
        """
        line = _line(event)
        with self._lock:
            self._write(line)

    async def append_durable(self, events: Sequence[Event]) -> None:
        """Write lines and wait for the disk, together with whoever else is waiting.

        A caller that is cancelled does not tear anything; its lines stand.

        Raises:
            StorageError, StorageFullError: they may or may not survive; act as if not.
        """
        await finish_in_thread(self._pool, partial(self.append_durable_now, events))

    def append_durable_now(self, events: Sequence[Event]) -> None:
        """The same without an event loop.

        Raises:
            StorageError, StorageFullError: see ``append_durable``.
        """
        lines = b"".join(_line(event) for event in events)
        with self._lock:
            file = self._write(lines)
            file.use()
        try:
            file.flush.wait()
        except OSError as error:
            with self._lock:
                # The kernel forgets which pages it lost: nothing more may rest on this file.
                self._retire(file)
            raise storage_error(error, file.path) from error
        finally:
            with self._lock:
                file.unuse()

    def close(self) -> None:
        """Wait for what is being written and close the file."""
        self._pool.shutdown()
        with self._lock:
            if self._current is not None:
                self._retire(self._current)

    def _write(self, lines: bytes) -> _OpenFile:
        file = self._file_of_today()
        try:
            self._files.write(file.descriptor, lines)
        except OSError as error:
            self._take_back(file)
            raise storage_error(error, file.path) from error
        file.size += len(lines)
        return file

    def _take_back(self, file: _OpenFile) -> None:
        """Part of a line may be written: the next one must not be glued to it."""
        try:
            self._files.truncate(file.descriptor, file.size)
        except OSError:
            self._retire(file)

    def _file_of_today(self) -> _OpenFile:
        now_ms = self._clock.now_ms()
        day = day_name(now_ms)
        if self._current is not None:
            if self._current.day == day and self._files.has_name(self._current.descriptor):
                return self._current
            self._retire(self._current)
        directory = self._directory / day
        try:
            make_durable_directory(self._files, directory)
            path, descriptor = own_file(self._files, directory, self._role, now_ms, ".jsonl")
        except OSError as error:
            raise storage_error(error, directory) from error
        self._current = _OpenFile(path, descriptor, self._files)
        self._names = [*self._names[1 - _KEPT_NAMES :], self._current.name]
        return self._current

    def _retire(self, file: _OpenFile) -> None:
        file.retire()
        if self._current is file:
            self._current = None


def _line(event: Event) -> bytes:
    try:
        return event_to_line(event)
    except (ValueError, TypeError) as error:
        raise StorageError(f"the detail of a {event.what} event is no JSON: {error}") from error
