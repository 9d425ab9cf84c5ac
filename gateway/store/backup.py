"""All of a state directory in one tar file, consistent while the gateway runs.

What makes it consistent: journals only grow and records are written once. Records are read, then
the journals as they are at that moment, then the records that came meanwhile; a record is always
written before the journal names it, so the backup has every record that its journals name. While a
backup runs no record is removed (``RemovalLock``). The index is left out, it is made anew.

The last member is a manifest with a digest of every file, so a backup that was cut off has none.
"""

import contextlib
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gateway.core.errors import GatewayError
from gateway.store.files import OsFileLayer, storage_error
from gateway.store.lock import WriterLock

FORMAT = 1
MANIFEST = "manifest.json"
_DIRECTORY = "directory.db"
LEFT_OUT = ("index.db", "index.lock", "run", "tmp", _DIRECTORY)
CHUNK = 1 << 20

Progress = Callable[[int, int], None]  # octets done, octets in all as far as known


class BackupError(GatewayError):
    """A backup that cannot be made, or one that must not be believed; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What went into a backup."""

    files: int
    size_bytes: int


def removal_lock(state: Path) -> WriterLock | None:
    """The right to remove records, or None while a backup has it."""
    (state / "run").mkdir(exist_ok=True)
    return WriterLock.try_acquire(state / "run" / "removal.lock")


class Digesting(io.RawIOBase):
    """Reads a file and knows the digest of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next octets, at most ``size``."""
        chunk = self._file.read(size)
        self.digest.update(chunk)
        return chunk


@dataclass(slots=True, kw_only=True)
class _Writer:
    """A backup being written."""

    state: Path
    tar: tarfile.TarFile
    tell: Progress
    total_bytes: int = 0
    done_bytes: int = 0
    files: dict[str, dict[str, object]] = field(default_factory=dict)

    def add_tree(self, name: str) -> None:
        """One entry of the state directory, with everything below it that is not there yet."""
        top = self.state / name
        if top.is_file() and not top.is_symlink():
            self.add(top)
            return
        for folder, below, names in os.walk(top):
            below[:] = sorted(one for one in below if not one.startswith("."))
            for one in sorted(names):
                if not one.startswith("."):
                    self.add(Path(folder) / one)

    def add(self, path: Path) -> None:
        """One file as it is now; a journal up to its last whole line."""
        name = "state/" + path.relative_to(self.state).as_posix()
        if name in self.files or not path.is_file() or path.is_symlink():
            return
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if path.suffix == ".jsonl":
                size = _whole_lines(file, size)
            self.add_open(name, file, size)

    def add_open(self, name: str, file: IO[bytes], size: int) -> None:
        """The next ``size`` octets of an open file."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        reader = Digesting(file)
        self.tar.addfile(entry, reader)
        self.files[name] = {"size": size, "sha256": reader.digest.hexdigest()}
        self.done_bytes += size
        self.tell(self.done_bytes, max(self.total_bytes, self.done_bytes))

    def finish(self, about: dict[str, object]) -> None:
        """The manifest, as the last member."""
        text = json.dumps({"format": FORMAT, **about, "files": self.files}).encode()
        entry = tarfile.TarInfo(MANIFEST)
        entry.size, entry.mode = len(text), 0o600
        self.tar.addfile(entry, io.BytesIO(text))


def _whole_lines(file: IO[bytes], size: int) -> int:
    """Up to the last line end before ``size``; a torn last line was never acknowledged."""
    end = size
    while end > 0:
        start = max(0, end - CHUNK)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            file.seek(0)
            return start + at + 1
        end = start
    file.seek(0)
    return 0


def back_up(
    state: Path, target: Path, *, about: dict[str, object], config: Path | None, tell: Progress
) -> Written:
    """Write everything below ``state`` to a new tar file ``target``, durable when this returns.

    ``about`` goes into the manifest. The caller holds the removal lock.

    Raises:
        BackupError: ``target`` is there already, or lies where it would be backed up itself.
        StorageError: a disk does not give or take it; no half backup is left behind.
    """
    if target.exists():
        raise BackupError(f"{target} is there already; name a new file")
    if target.resolve().is_relative_to(state.resolve()):
        raise BackupError(f"{target} lies in what is to be backed up; choose another place")
    draft = target.with_name(f"{target.name}.unfinished")
    layer = OsFileLayer()
    try:
        with _new_file(draft) as file, tarfile.open(fileobj=file, mode="w") as tar:
            writer = _Writer(state=state, tar=tar, tell=tell, total_bytes=_size_of(state))
            _add_all(writer, config)
            writer.finish(about)
            tar.close()
            file.flush()
            layer.fsync(file.fileno())
        layer.rename(draft, target)
        layer.sync_directory(target.absolute().parent)
    except OSError as error:
        raise storage_error(error, Path(error.filename or draft)) from error
    finally:
        draft.unlink(missing_ok=True)
    return Written(files=len(writer.files), size_bytes=target.stat().st_size)


def _new_file(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _add_all(writer: _Writer, config: Path | None) -> None:
    """Pointers before what they point to, records before and after the journals."""
    state = writer.state
    for pointer in ("generations/current", "models/current", "models/shadow"):
        writer.add(state / pointer)
    writer.add_tree("records")
    writer.add_tree("journal")
    writer.add_tree("records")
    for name in sorted(os.listdir(state)):  # noqa: PTH208
        if not name.startswith((*LEFT_OUT, ".")) and name not in {"records", "journal"}:
            writer.add_tree(name)
    if (state / _DIRECTORY).exists():
        with _copy_of_database(state / _DIRECTORY) as copy:
            writer.add_open(f"state/{_DIRECTORY}", copy, os.fstat(copy.fileno()).st_size)
    if config is not None:
        with config.open("rb") as file:
            writer.add_open("config/gateway.toml", file, os.fstat(file.fileno()).st_size)


@contextlib.contextmanager
def _copy_of_database(path: Path) -> Iterator[IO[bytes]]:
    """An SQLite database as of one moment, whoever writes to it meanwhile."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".backup-", suffix=".db") as copy:
        try:
            with (
                contextlib.closing(sqlite3.connect(path, timeout=30)) as source,
                contextlib.closing(sqlite3.connect(copy.name)) as target,
            ):
                source.backup(target)
                target.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.Error as error:
            raise BackupError(f"{path} cannot be copied: {error}") from error
        with Path(copy.name).open("rb") as file:
            yield file


def _size_of(state: Path) -> int:
    total = 0
    for folder, _, names in os.walk(state):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(folder) / name).stat().st_size
    return total
