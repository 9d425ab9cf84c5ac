"""Features of mail that went on: no bytes of it, but enough to learn a missed spam from later.

One append-only file per process and day, in ``<day>/<role>-<pid>-<start_ms>.features``. Nothing is
promised of these files and nothing waits for the disk: a killed process loses none, a power loss
may. What is damaged is skipped; a whole day goes when its time is over (data model, section 2).
"""

import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import structlog

from gateway.core.clock import Clock
from gateway.core.errors import StorageError
from gateway.core.ids import received_at_ms
from gateway.core.lesson import Lesson
from gateway.store.days import day_name, is_day, own_file
from gateway.store.files import FileLayer, OsFileLayer, storage_error

_log = structlog.get_logger()
_HEAD: Final = struct.Struct(">4sIHHI")
"""Mark, checksum of the rest, lengths of description, fingerprint and features."""
_MARK: Final = b"SFT1"
_MOST_FEATURE_BYTES: Final = 1 << 20
_DAY_MS: Final = 86_400_000
_ENDING: Final = ".features"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFeatures:
    """What a label needs of a mail whose bytes are gone."""

    mail_id: str
    customer: str
    lesson: Lesson


class FeatureLog:
    """This process's files below ``directory``."""

    def __init__(
        self, directory: Path, role: str, clock: Clock, *, file_layer: FileLayer | None = None
    ) -> None:
        self._directory = directory
        self._role = role
        self._clock = clock
        self._files = file_layer or OsFileLayer()
        self._day = ""
        self._descriptor = -1
        self._size = 0

    def keep(self, kept: KeptFeatures) -> None:
        """Write one entry.

        Raises:
            StorageError: it is not kept; earlier ones stay readable.
        """
        entry = _entry(kept)
        try:
            self._open_today()
            self._files.write(self._descriptor, entry)
        except OSError as error:
            self._take_back()
            raise storage_error(error, self._directory / self._day) from error
        self._size += len(entry)

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1

    def _open_today(self) -> None:
        now_ms = self._clock.now_ms()
        day = day_name(now_ms)
        if self._descriptor >= 0 and day == self._day and self._files.has_name(self._descriptor):
            return
        self.close()
        directory = self._directory / day
        for folder in (self._directory, directory):
            self._files.make_directory(folder)
        self._day, self._size = day, 0
        _, self._descriptor = own_file(self._files, directory, self._role, now_ms, _ENDING)

    def _take_back(self) -> None:
        """Part of an entry may be written: the next one must not be glued to it."""
        if self._descriptor < 0:
            return
        try:
            self._files.truncate(self._descriptor, self._size)
        except OSError:
            self.close()


def find_features(directory: Path, mail_id: str) -> KeptFeatures | None:
    """Return what was kept of a mail, None if nothing was or it is damaged.

    Reads the files of the day the id was given, and of the next: a mail may come in for long.
    """
    given_at_ms = received_at_ms(mail_id)
    for day in (day_name(given_at_ms), day_name(given_at_ms + _DAY_MS)):
        for path in sorted((directory / day).glob(f"*{_ENDING}")):
            try:
                with path.open("rb") as file:
                    for kept in _entries(file, mail_id):
                        return kept
            except OSError as error:
                _log.warning("features not readable", path=str(path), reason=str(error))
    return None


def forget_features(directory: Path, before_ms: int) -> int:
    """Remove the days that ended before this time (UTC); return how many.

    Raises:
        StorageError: a day could not be removed.
    """
    last, removed = day_name(before_ms), 0
    for day in sorted(directory.iterdir()) if directory.is_dir() else ():
        if is_day(day.name) and day.name < last:
            try:
                shutil.rmtree(day)
            except OSError as error:
                raise storage_error(error, day) from error
            removed += 1
    return removed


def _entry(kept: KeptFeatures) -> bytes:
    about = {
        "id": kept.mail_id,
        "at": kept.lesson.arrived_at_ms,
        "customer": kept.customer,
        "spec": kept.lesson.feature_spec,
    }
    parts = (
        json.dumps(about, separators=(",", ":")).encode(),
        kept.lesson.fingerprint,
        kept.lesson.hashes,
    )
    rest = b"".join(parts)
    try:
        return _HEAD.pack(_MARK, zlib.crc32(rest), *map(len, parts)) + rest
    except struct.error as error:
        raise StorageError(f"the features of {kept.mail_id} have no room in an entry") from error


def _entries(file: IO[bytes], mail_id: str) -> Iterator[KeptFeatures]:
    """Yield the whole entries of one mail; stop at the first damage, for lengths end there."""
    wanted = mail_id.encode()
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        mark, checksum, about, fingerprint, hashes = _HEAD.unpack(head)
        if mark != _MARK or hashes > _MOST_FEATURE_BYTES:
            return
        described = file.read(about)
        if wanted not in described:
            file.seek(fingerprint + hashes, os.SEEK_CUR)
            continue
        rest = described + file.read(fingerprint + hashes)
        if len(rest) < about + fingerprint + hashes or zlib.crc32(rest) != checksum:
            return
        said = json.loads(described)
        if said["id"] == mail_id:
            yield KeptFeatures(
                mail_id=mail_id,
                customer=said["customer"],
                lesson=Lesson(
                    feature_spec=said["spec"],
                    fingerprint=rest[about : about + fingerprint],
                    hashes=rest[about + fingerprint :],
                    arrived_at_ms=said["at"],
                ),
            )
