"""A file layer that remembers what a disk would still have after the power went.

Bytes count once their file was fsynced, names once their directory was. What the layer writes is
really there meanwhile; ``survivors`` copies what a power loss would have left.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from gateway.store.files import Data, OsFileLayer


@dataclass(slots=True)
class _File:
    durable: bytes | None = None  # None: not even its length is known to the disk


@dataclass(slots=True)
class _Directory:
    names: dict[str, "_File | _Directory"] = field(default_factory=dict)
    durable: dict[str, "_File | _Directory"] = field(default_factory=dict)


class RecordingFiles(OsFileLayer):
    """Writes below ``root``, notes every call, and can forget or fail on demand.

    ``ignore`` names calls that do nothing, as if somebody had removed them from the code; ``fail``
    maps a call to the errno it fails with.
    """

    def __init__(self, root: Path, *, ignore: tuple[str, ...] = ()) -> None:
        self.root = root
        self.calls: list[tuple[str, str]] = []
        self.ignore = ignore
        self.fail: dict[str, int] = {}
        self.short_write = 0  # so many octets are written before a write fails
        self._tree = _Directory()
        self._open: dict[int, tuple[Path, _File]] = {}
        self._adopt(root, self._tree)

    def make_directory(self, path: Path) -> None:
        self._note("make_directory", path)
        super().make_directory(path)
        self._directory(path.parent).names.setdefault(path.name, _Directory())

    def create(self, path: Path) -> int:
        self._note("create", path)
        descriptor = super().create(path)
        file = _File()
        self._directory(path.parent).names[path.name] = file
        self._open[descriptor] = (path, file)
        return descriptor

    def write(self, descriptor: int, data: Data) -> None:
        if "write" in self.fail and self.short_write:
            super().write(descriptor, bytes(data)[: self.short_write])
        self._note("write", self._open[descriptor][0])
        super().write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        self._note("truncate", self._open[descriptor][0])
        super().truncate(descriptor, size)

    def fsync(self, descriptor: int) -> None:
        path, file = self._open[descriptor]
        if self._note("fsync", path):
            # The file may have another name by now; its descriptor still leads to its bytes.
            file.durable = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def close(self, descriptor: int) -> None:
        self.calls.append(("close", self._shown(self._open.pop(descriptor)[0])))
        super().close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._note("rename", target)
        super().rename(source, target)
        moved = self._directory(source.parent).names.pop(source.name)
        self._directory(target.parent).names[target.name] = moved

    def sync_directory(self, path: Path) -> None:
        if self._note("sync_directory", path):
            directory = self._directory(path)
            directory.durable = dict(directory.names)

    def unlink(self, path: Path) -> None:
        self._note("unlink", path)
        super().unlink(path)
        self._directory(path.parent).names.pop(path.name, None)

    def names(self, *wanted: str) -> list[tuple[str, str]]:
        """The calls of these kinds, in order."""
        return [call for call in self.calls if call[0] in wanted]

    def survivors(self, target: Path) -> Path:
        """Write down what the disk would have after a power loss."""
        _write_durable(self._tree, target)
        return target

    def _note(self, call: str, path: Path) -> bool:
        if call in self.fail:
            raise OSError(self.fail[call], os.strerror(self.fail[call]))
        self.calls.append((call, self._shown(path)))
        return call not in self.ignore

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _directory(self, path: Path) -> _Directory:
        here = self._tree
        for part in path.relative_to(self.root).parts:
            child = here.names[part]
            assert isinstance(child, _Directory)
            here = child
        return here

    def _adopt(self, path: Path, directory: _Directory) -> None:
        """What was there before counts as durable."""
        for entry in path.iterdir():
            if entry.is_dir():
                child = _Directory()
                self._adopt(entry, child)
                directory.names[entry.name] = directory.durable[entry.name] = child
            else:
                data = entry.read_bytes()
                file = _File(durable=data)
                directory.names[entry.name] = directory.durable[entry.name] = file


def _write_durable(directory: _Directory, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, entry in directory.durable.items():
        if isinstance(entry, _Directory):
            _write_durable(entry, target / name)
        else:
            (target / name).write_bytes(entry.durable or b"")
