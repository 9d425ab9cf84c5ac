"""A disk whose power goes at any chosen operation.

``power_loss.RecordingFiles`` knows what was synced. Here the power goes at one operation, and of
what was not synced any part may be there afterwards: a name or not, a prefix of the bytes, or the
length with zeros in it, as journalling file systems leave them.
"""

import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

from gateway.store.files import Data
from tests.fakes.power_loss import RecordingFiles, _Directory, _File

Site = tuple[str, str]  # the call, and the function that makes it


class PowerCut(BaseException):
    """The machine is off; nothing the program does any more has an effect."""


@dataclass(slots=True)
class _Bytes:
    """All that was ever written to a file, synced or not."""

    file: _File
    data: bytearray = field(default_factory=bytearray)


class FailingPower(RecordingFiles):
    """Counts operations and goes dark at number ``cut_at``, before it takes effect.

    ``removed`` names one sync by its site; it then does nothing, as if somebody had taken it out of
    the code. ``sites`` has every sync that was called.
    """

    def __init__(self, root: Path, *, cut_at: int = -1, removed: Site | None = None) -> None:
        self._written: dict[int, _Bytes] = {}
        super().__init__(root)
        self.cut_at = cut_at
        self.removed = removed
        self.operations = 0
        self.sites: set[Site] = set()

    def write(self, descriptor: int, data: Data) -> None:
        super().write(descriptor, data)
        file = self._open[descriptor][1]
        self._written.setdefault(id(file), _Bytes(file)).data += bytes(data)

    def truncate(self, descriptor: int, size: int) -> None:
        super().truncate(descriptor, size)
        file = self._open[descriptor][1]
        written = self._written.setdefault(id(file), _Bytes(file))
        written.data = written.data[:size].ljust(size, b"\0")

    def fsync(self, descriptor: int) -> None:
        if not self._taken_out("fsync"):
            super().fsync(descriptor)

    def sync_directory(self, path: Path) -> None:
        if not self._taken_out("sync_directory"):
            super().sync_directory(path)

    def _taken_out(self, call: str) -> bool:
        caller = sys._getframe(2).f_code.co_qualname.replace(".<locals>.<lambda>", "")
        self.sites.add((call, caller))
        return (call, caller) == self.removed

    def _note(self, call: str, path: Path) -> bool:
        if self.operations == self.cut_at:
            raise PowerCut
        self.operations += 1
        return super()._note(call, path)

    def leftovers(self, target: Path, chance: random.Random | None) -> Path:
        """What the disk has when the power is back: by chance, or without ``chance`` the least."""
        self._leave(self._tree, target, chance)
        return target

    def _leave(self, directory: _Directory, target: Path, chance: random.Random | None) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for name in sorted(directory.durable.keys() | directory.names.keys()):
            entry = directory.durable.get(name)
            if chance is not None and chance.random() < 0.5:
                entry = directory.names.get(name)
            if isinstance(entry, _Directory):
                self._leave(entry, target / name, chance)
            elif entry is not None:
                (target / name).write_bytes(self._left_of(entry, chance))

    def _left_of(self, file: _File, chance: random.Random | None) -> bytes:
        safe = file.durable or b""
        known = self._written.get(id(file))
        if chance is None or known is None:
            return safe
        rest = bytes(known.data[len(safe) :])
        match chance.randrange(4):
            case 0:
                return safe
            case 1:
                return safe + rest
            case 2:
                return safe + rest[: chance.randrange(len(rest) + 1)]
            case _:
                return safe + bytes(len(rest))
