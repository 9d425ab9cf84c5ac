"""The few file operations that durability rests on, in one place that a test can replace.

A test puts a layer here that forgets whatever was not fsynced, and so plays a power loss.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gateway.core.errors import StorageError, StorageFullError

Data = bytes | memoryview

# No space, over quota, out of descriptors, not writable: an operator mends it and the client may
# come back (452). What the disk itself gets wrong is 451.
_FULL = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EMFILE,
        errno.ENFILE,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
    }
)


class FileLayer(Protocol):
    """Writing, as records and journals need it. Every method raises OSError."""

    def make_directory(self, path: Path) -> None:
        """Make one directory, readable by us alone; fine when it is there already."""

    def create(self, path: Path) -> int:
        """Open a file that must not exist for appending; its descriptor."""

    def write(self, descriptor: int, data: Data) -> None:
        """Append all of ``data``."""

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to ``size`` octets."""

    def fsync(self, descriptor: int) -> None:
        """Return when the file's bytes and size would survive a power loss."""

    def has_name(self, descriptor: int) -> bool:
        """Whether anybody will find what is written there, or somebody removed the file."""

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its final name, in one step."""

    def sync_directory(self, path: Path) -> None:
        """Return when the names in this directory would survive a power loss."""

    def unlink(self, path: Path) -> None:
        """Remove a file."""


class OsFileLayer:
    """The operating system's own."""

    def make_directory(self, path: Path) -> None:
        """Make one directory with mode 0700."""
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)

    def create(self, path: Path) -> int:
        """Open with O_EXCL and O_APPEND and mode 0600."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o600)

    def write(self, descriptor: int, data: Data) -> None:
        """Append all of ``data``; the kernel may take it in pieces."""
        written = os.write(descriptor, data)
        if written < len(data):
            rest = memoryview(data)[written:]
            while rest:
                rest = rest[os.write(descriptor, rest) :]

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file."""
        os.ftruncate(descriptor, size)

    def fsync(self, descriptor: int) -> None:
        """Wait for the disk."""
        os.fsync(descriptor)

    def has_name(self, descriptor: int) -> bool:
        """Ask the inode."""
        return os.fstat(descriptor).st_nlink > 0

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its final name, in one step."""
        os.rename(source, target)  # noqa: PTH104  a third of Path's cost, once a message

    def sync_directory(self, path: Path) -> None:
        """Wait for the disk to have the directory's names."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()


def storage_error(error: OSError, path: Path) -> StorageError:
    """The error that a session answers: 452 when it is about room, 451 otherwise."""
    kind = StorageFullError if error.errno in _FULL else StorageError
    return kind(f"{path}: {error.strerror or error}")


def remove_quietly(layer: FileLayer, path: Path) -> None:
    """Take back a file on the way out of a failure; that failure is what is reported."""
    with contextlib.suppress(OSError):
        layer.unlink(path)


def make_durable_directory(layer: FileLayer, path: Path) -> None:
    """Make a directory whose name survives a power loss, and its missing parents likewise."""
    if not path.parent.is_dir():
        make_durable_directory(layer, path.parent)
    layer.make_directory(path)
    layer.sync_directory(path.parent)


class _Batch:
    """All who wait for the same flush."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = False
        self.error: OSError | None = None


class SharedFlush:
    """Group commit: one flush at a time; whoever comes meanwhile shares the next one.

    A flush serves only those who came before it began. When it fails it fails for all of them:
    the kernel reports a lost page once, so a later flush that succeeds proves nothing for them.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._changed = threading.Condition()
        self._running = False
        self._next = _Batch()

    def wait(self) -> None:
        """Return after a flush that began after this call.

        Raises:
            OSError: as the flush did.
        """
        with self._changed:
            batch = self._next
            while self._running and not batch.done:
                self._changed.wait()
            leads = not batch.done
            if leads:
                self._running = True
                self._next = _Batch()
        if leads:
            self._lead(batch)
        if batch.error is not None:
            raise OSError(batch.error.errno, batch.error.strerror) from batch.error

    def _lead(self, batch: _Batch) -> None:
        # Until the flush says otherwise its followers must not believe in it, whatever ends it.
        batch.error = OSError(errno.EIO, "the flush was cut short")
        try:
            self._flush()
            batch.error = None
        except OSError as error:
            batch.error = error
        finally:
            with self._changed:
                self._running = False
                batch.done = True
                self._changed.notify_all()


def replace_file(layer: FileLayer, target: Path, body: bytes) -> None:
    """Give a file a new content in one step, durably; readable by its owner alone.

    Raises:
        OSError: the old content stays.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = layer.create(temporary)
    try:
        try:
            layer.write(descriptor, body)
            layer.fsync(descriptor)
        finally:
            layer.close(descriptor)
        layer.rename(temporary, target)
    except OSError:
        remove_quietly(layer, temporary)
        raise
    layer.sync_directory(target.parent)
