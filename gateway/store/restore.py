"""A backup is believed only after every octet agreed with its manifest, and then put in place.

What was in the state directory before is moved aside, not removed. The queue starts on hold: mail
that was delivered after the backup was made would else go out twice.
"""

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from gateway.store.backup import CHUNK, FORMAT, LEFT_OUT, MANIFEST, BackupError, Digesting, Progress
from gateway.store.files import OsFileLayer, storage_error
from gateway.store.queue import QueueHold

_MAX_MANIFEST_BYTES = 256 * 1024 * 1024
_STAYS = ("run", "index.lock", "tmp")  # locks, and what is empty while nothing runs
_STAGING = ".restoring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A backup whose every octet agrees with its manifest."""

    about: dict[str, object]
    names: tuple[str, ...]
    size_bytes: int


def verify(source: Path, *, tell: Progress) -> Checked:
    """Read all of a backup and compare it with its manifest; nothing is written.

    Raises:
        BackupError: it is none, cut off, damaged, of a newer format, or names files that have no
            place in a state directory.
    """
    found: dict[str, dict[str, object]] = {}
    manifest: dict[str, object] | None = None
    total = source.stat().st_size if source.exists() else 0
    for entry, file in _members(source):
        if manifest is not None:
            raise BackupError(f"{source}: there is something behind its manifest")
        if entry.name == MANIFEST:
            manifest = _manifest(source, entry, file)
            continue
        _refuse_odd(source, entry)
        if entry.name in found:
            raise BackupError(f"{source}: has {entry.name!r} twice")
        reader = Digesting(file)
        while reader.read(CHUNK):
            pass
        found[entry.name] = {"size": entry.size, "sha256": reader.digest.hexdigest()}
        tell(min(entry.offset_data + entry.size, total), total)
    if manifest is None:
        raise BackupError(f"{source}: has no manifest at its end: it was cut off, or is no backup")
    if manifest.pop("files", None) != found:
        raise BackupError(f"{source}: what is in it differs from its manifest; it is damaged")
    return Checked(
        about=manifest,
        names=tuple(found),
        size_bytes=sum(int(str(one["size"])) for one in found.values()),
    )


def _members(source: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    try:
        with tarfile.open(source, mode="r:") as tar:
            for entry in tar:
                file = tar.extractfile(entry) if entry.isreg() else None
                if file is None:
                    raise BackupError(f"{source}: {entry.name!r} is no plain file")
                yield entry, file
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{source}: cannot be read as a backup: {error}") from error
    except OSError as error:
        raise BackupError(f"{source}: cannot be read: {error}") from error


def _manifest(source: Path, entry: tarfile.TarInfo, file: IO[bytes]) -> dict[str, object]:
    if entry.size > _MAX_MANIFEST_BYTES:
        raise BackupError(f"{source}: its manifest is too large to be one of ours")
    try:
        manifest = json.loads(file.read())
    except ValueError as error:
        raise BackupError(f"{source}: its manifest is no JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BackupError(
            f"{source}: is of another format than {FORMAT}; use the release that wrote it"
        )
    return manifest


def _refuse_odd(source: Path, entry: tarfile.TarInfo) -> None:
    """A name must lead to a place below the state directory, by plain steps."""
    parts = PurePosixPath(entry.name).parts
    plain = all(part not in {"", ".", ".."} and "\0" not in part for part in parts)
    known = parts[0] == "state" or entry.name == "config/gateway.toml"
    if not plain or not known or len(parts) < 2 or entry.name != "/".join(parts):
        raise BackupError(f"{source}: {entry.name!r} has no place in a state directory")
    if parts[0] == "state" and parts[1].startswith((*LEFT_OUT[:-1], ".")):
        raise BackupError(f"{source}: {entry.name!r} does not belong into a backup")


def unpack(source: Path, checked: Checked, target: Path, *, tell: Progress) -> None:
    """Write the files of a verified backup below ``target``, which is empty; durable at the end.

    Raises:
        BackupError: the backup changed since it was verified.
        StorageError: the disk does not take it.
    """
    done = 0
    folders: set[Path] = {target}
    seen = 0
    for entry, file in _members(source):
        if entry.name == MANIFEST:
            continue
        _refuse_odd(source, entry)
        seen += 1
        path = target / PurePosixPath(entry.name)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folders.update(one for one in path.parents if one.is_relative_to(target))
            _write(path, file)
        except OSError as error:
            raise storage_error(error, path) from error
        done += entry.size
        tell(done, checked.size_bytes)
    if seen != len(checked.names):
        raise BackupError(f"{source}: changed while it was read")
    layer = OsFileLayer()
    for folder in folders:
        layer.sync_directory(folder)


def _write(path: Path, file: IO[bytes]) -> None:
    layer = OsFileLayer()
    descriptor = layer.create(path)
    try:
        while chunk := file.read(CHUNK):
            layer.write(descriptor, chunk)
        layer.fsync(descriptor)
    finally:
        layer.close(descriptor)


def is_empty(state: Path) -> bool:
    """Whether there is nothing in a state directory that a restore would put aside."""
    return not state.is_dir() or not _contents(state)


def restore(source: Path, checked: Checked, state: Path, *, stamp: str, tell: Progress) -> Path:
    """Put a verified backup in the place of ``state``, with the queue on hold.

    Returns where the former contents are now; that directory is missing if there were none. The
    caller holds the locks of this state directory.

    Raises:
        BackupError: the backup changed since it was verified.
        StorageError: the disk does not take it; what was there stays or can be called again.
    """
    aside = state / f"before-restore-{stamp}"
    staging = state / _STAGING
    layer = OsFileLayer()
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_tree(staging)
        staging.mkdir(mode=0o700)
        unpack(source, checked, staging, tell=tell)
        # Before anything is in its place: whatever happens now, nothing goes out by itself.
        QueueHold(state / "queue.hold").hold(f"restored from {source.name}")
        (staging / "state" / "queue.hold").unlink(missing_ok=True)
        former = [name for name in _contents(state) if name != "queue.hold"]
        if former:
            aside.mkdir(mode=0o700)
        for name in former:
            layer.rename(state / name, aside / name)
        config = staging / "config" / "gateway.toml"
        if config.exists():
            layer.rename(config, state / "gateway.toml.restored")
        for name in sorted(os.listdir(staging / "state")):  # noqa: PTH208
            layer.rename(staging / "state" / name, state / name)
        layer.sync_directory(state)
        _remove_tree(staging)
    except OSError as error:
        raise storage_error(error, Path(error.filename or state)) from error
    return aside


def _contents(state: Path) -> list[str]:
    return [
        name
        for name in sorted(os.listdir(state))  # noqa: PTH208
        if name not in _STAYS and name != _STAGING and not name.startswith("before-restore-")
    ]


def _remove_tree(top: Path) -> None:
    if top.exists():
        shutil.rmtree(top)
