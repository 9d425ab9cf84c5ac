"""One file per message that is ours: its facts, readable, and its bytes as they came.

The first line names the format, the length of both parts and a digest over both; then the facts
as JSON, then the original bytes. A record is never changed once its message was answered; what
happens later is in the journal (data model, section 1).
"""

import hashlib
import mmap
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import BinaryIO

from gateway.core.errors import RecordFormatError, StorageError
from gateway.core.ids import is_mail_id, received_at_ms
from gateway.core.record import MessageFacts
from gateway.store import codec
from gateway.store.days import day_name, is_day
from gateway.store.errors import RecordMissingError
from gateway.store.files import (
    FileLayer,
    OsFileLayer,
    SharedFlush,
    make_durable_directory,
    remove_quietly,
    storage_error,
)
from gateway.store.threads import finish_in_thread

FORMAT = 1
SUFFIX = ".rec"
_MAGIC = b"schwamm-record"
_HEADER = re.compile(rb"schwamm-record (\d{1,6}) (\d{1,9}) (\d{1,15}) ([0-9a-f]{64})\n")
_HEADER_BYTES = 128  # more than any first line
_MAX_FACTS_BYTES = 16 * 1024 * 1024
_SMALL_BYTES = 64 * 1024  # up to here one write for all is cheaper than a second call
_MAPPED_BYTES = 1024 * 1024  # from here content is mapped, so it has to start on a page
_PAGE = 4096
_WRITERS = 16  # threads that wait for the disk; as many records share one flush of a directory
_STALE = ".rec.tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where the parts of one record file lie."""

    facts_at: int
    facts_bytes: int
    content_bytes: int
    digest: str

    @property
    def content_at(self) -> int:
        return self.facts_at + self.facts_bytes


class FileRecords:
    """The record files of one node, in a directory per day.

    ``tmp`` lies in the same file system. Safe for threads; ``put`` runs in threads of its own.
    """

    def __init__(self, directory: Path, tmp: Path, *, file_layer: FileLayer | None = None) -> None:
        self._directory = directory
        self._tmp = tmp
        self._files = file_layer or OsFileLayer()
        self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="records")
        self._lock = threading.Lock()
        self._days: dict[Path, SharedFlush] = {}

    def close(self) -> None:
        """Wait for what is being written."""
        self._pool.shutdown()

    async def put(self, facts: MessageFacts, content: bytes | mmap.mmap) -> None:
        """Make a message durable; after this, ``250`` may be said.

        Until the message is answered it may be put again with more copies; the file is replaced in
        one step.

        A caller that is cancelled waits for the disk all the same, so that the content it passed
        stays open; the record then stands.

        Raises:
            StorageFullError: no room (452).
            StorageError: anything else; nothing is left behind.
        """
        await finish_in_thread(self._pool, partial(self.put_now, facts, content))

    def put_now(self, facts: MessageFacts, content: bytes | mmap.mmap) -> None:
        """The same without an event loop.

        Raises:
            StorageError, StorageFullError: see ``put``.
        """
        target = self._path(facts.id)
        head = _encode(facts, content)
        temporary = self._tmp / f"{facts.id}{_STALE}"
        self._refuse_another_mail(facts, target)
        try:
            self._write(temporary, head, content)
        except OSError as error:
            raise storage_error(error, temporary) from error
        try:
            self._publish(temporary, target)
        except OSError as error:
            remove_quietly(self._files, temporary)
            raise storage_error(error, target) from error

    def _refuse_another_mail(self, facts: MessageFacts, target: Path) -> None:
        if not target.exists():
            return
        try:
            there = self.read(facts.id).sha256
        except RecordFormatError as error:
            raise StorageError(f"{target}: there is a damaged record of this id") from error
        if there != facts.sha256:
            raise StorageError(f"{target}: there is a record of another mail with this id")

    def _write(self, temporary: Path, head: bytes, content: bytes | mmap.mmap) -> None:
        try:
            descriptor = self._files.create(temporary)
        except FileNotFoundError:  # somebody tidied the temporary directory away
            make_durable_directory(self._files, self._tmp)
            descriptor = self._files.create(temporary)
        except FileExistsError:  # a process that was killed left it: an id has one writer at a time
            self._files.unlink(temporary)
            descriptor = self._files.create(temporary)
        try:
            try:
                if len(content) <= _SMALL_BYTES:
                    self._files.write(descriptor, head + content[:])
                else:
                    self._files.write(descriptor, head)
                    with memoryview(content) as view:
                        self._files.write(descriptor, view)
                self._files.fsync(descriptor)
            finally:
                self._files.close(descriptor)
        except BaseException:
            remove_quietly(self._files, temporary)
            raise

    def _publish(self, temporary: Path, target: Path) -> None:
        day = self._day(target.parent)
        try:
            self._files.rename(temporary, target)
        except FileNotFoundError:  # the day's directory was empty and got tidied away
            make_durable_directory(self._files, target.parent)
            self._files.rename(temporary, target)
        try:
            day.wait()
        except BaseException:
            # The client hears 451 and comes back: a record that stayed would be a second copy.
            remove_quietly(self._files, target)
            raise

    def _day(self, directory: Path) -> SharedFlush:
        with self._lock:
            flush = self._days.get(directory)
            if flush is None:
                make_durable_directory(self._files, directory)
                flush = SharedFlush(lambda: self._files.sync_directory(directory))
                self._days[directory] = flush
                while len(self._days) > 4:  # today, perhaps tomorrow; a restore goes through all
                    del self._days[next(iter(self._days))]
            return flush

    def read(self, mail_id: str) -> MessageFacts:
        """What is known of a message, without touching its bytes.

        Raises:
            RecordMissingError: there is none.
            RecordFormatError: torn, damaged, or of a newer format.
            StorageError: the disk does not give it.
        """
        path = self._path(mail_id)
        with _opened(path) as file:
            layout = _layout(file, path)
            file.seek(layout.facts_at)
            text = file.read(layout.facts_bytes)
        facts = codec.facts_from_json(codec.parse(text))
        if facts.id != mail_id:
            raise RecordFormatError(f"{path}: the record inside is of {facts.id!r}")
        return facts

    def content(self, mail_id: str) -> bytes | mmap.mmap:
        """The original bytes; mapped above 1 MB.

        Raises:
            RecordMissingError, RecordFormatError, StorageError: as ``read``.
        """
        path = self._path(mail_id)
        with _opened(path) as file:
            layout = _layout(file, path)
            start, size = layout.content_at, layout.content_bytes
            if size >= _MAPPED_BYTES and start % mmap.ALLOCATIONGRANULARITY == 0:
                return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ, offset=start)
            file.seek(start)
            return file.read(size)

    def verify(self, mail_id: str) -> None:
        """Compare facts and bytes with the digest of the first line; reads all of it.

        Raises:
            RecordFormatError: they differ, so a disk or a hand changed the record.
            RecordMissingError, StorageError: as ``read``.
        """
        path = self._path(mail_id)
        with _opened(path) as file:
            layout = _layout(file, path)
            file.seek(layout.facts_at)
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if digest.hexdigest() != layout.digest:
            raise RecordFormatError(f"{path}: facts or bytes differ from the record's digest")

    def exists(self, mail_id: str) -> bool:
        """Whether there is a record file of this id, readable or not."""
        return self._path(mail_id).exists()

    def delete(self, mail_id: str) -> bool:
        """Remove a record; False when there was none.

        That it is gone need not survive a power loss: the journal says what became of its copies.

        Raises:
            StorageError: it cannot be removed.
        """
        path = self._path(mail_id)
        try:
            self._files.unlink(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise storage_error(error, path) from error
        return True

    def ids(self, since_ms: int = 0) -> Iterator[str]:
        """All ids from that day on, oldest first; files that are none of ours are passed over."""
        first_day = day_name(since_ms)
        for directory in _sorted_names(self._directory, is_day):
            if directory < first_day:
                continue
            names = _sorted_names(self._directory / directory, _is_record)
            yield from (name.removesuffix(SUFFIX) for name in names)

    def tidy(self, before_ms: int) -> int:
        """Remove temporary files and empty days from before ``before_ms``; how many they were.

        A crash leaves the former, retention the latter. An id is as old as its MAIL command: a
        message that took ten minutes to come is being written now, so the file's own time counts.
        """
        removed = 0
        for name in _sorted_names(self._tmp, lambda name: name.endswith(_STALE)):
            mail_id = name.removesuffix(_STALE)
            if is_mail_id(mail_id) and _changed_at_ms(self._tmp / name) < before_ms:
                remove_quietly(self._files, self._tmp / name)
                removed += 1
        last_day = day_name(before_ms)
        for name in _sorted_names(self._directory, is_day):
            if name < last_day and not any((self._directory / name).iterdir()):
                (self._directory / name).rmdir()
                removed += 1
        return removed

    def _path(self, mail_id: str) -> Path:
        if not is_mail_id(mail_id):
            raise RecordMissingError(f"{mail_id!r} is no id of a message")
        return self._directory / day_name(received_at_ms(mail_id)) / f"{mail_id}{SUFFIX}"


def _encode(facts: MessageFacts, content: bytes | mmap.mmap) -> bytes:
    """First line and facts; the facts are padded so that large content starts on a page."""
    try:
        text = codec.dump_pretty(codec.facts_to_json(facts)).encode()
    except ValueError as error:
        raise StorageError(f"the facts of {facts.id} are no JSON: {error}") from error
    if len(content) >= _MAPPED_BYTES:
        head = len(_first_line(_PAGE * 2, len(content), "0" * 64))
        text += b"\n" * (-(len(text) + head) % _PAGE)
        while (len(_first_line(len(text), len(content), "0" * 64)) + len(text)) % _PAGE:
            text += b"\n"
    digest = hashlib.sha256(text)
    digest.update(content)
    return _first_line(len(text), len(content), digest.hexdigest()) + text


def _first_line(facts_bytes: int, content_bytes: int, digest: str) -> bytes:
    return b"%s %d %d %d %s\n" % (_MAGIC, FORMAT, facts_bytes, content_bytes, digest.encode())


def _layout(file: BinaryIO, path: Path) -> _Layout:
    head = _HEADER.match(file.read(_HEADER_BYTES))
    if head is None:
        raise RecordFormatError(f"{path}: no record: its first line is not one of ours")
    version, facts_bytes, content_bytes = (int(number) for number in head.groups()[:3])
    if version != FORMAT:
        raise RecordFormatError(
            f"{path}: record of format {version}; this release reads format {FORMAT}: "
            "use the release that wrote it, or a newer one"
        )
    size = os.fstat(file.fileno()).st_size
    expected = head.end() + facts_bytes + content_bytes
    if size != expected or facts_bytes > _MAX_FACTS_BYTES:
        raise RecordFormatError(f"{path}: {size} octets long, its first line says {expected}")
    return _Layout(
        facts_at=head.end(),
        facts_bytes=facts_bytes,
        content_bytes=content_bytes,
        digest=head[4].decode(),
    )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise RecordMissingError(f"{path}: there is no such record") from error
    except OSError as error:
        raise storage_error(error, path) from error


def _changed_at_ms(path: Path) -> float:
    try:
        return path.stat().st_mtime * 1000
    except OSError:  # it was published, or is gone
        return inf


def _is_record(name: str) -> bool:
    return name.endswith(SUFFIX) and is_mail_id(name.removesuffix(SUFFIX))


def _sorted_names(directory: Path, wanted: Callable[[str], bool]) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if wanted(name))  # noqa: PTH208
    except FileNotFoundError:
        return []
