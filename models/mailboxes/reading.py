"""Reading messages from a path, whatever lies there.

Taken are a message file, an mbox, a Maildir, a folder tree of messages, and the gzip form of any
single file, also within folders. Whatever gives no message is reported, and reading goes on.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast

from models.mailboxes.mbox import split_mbox, without_from_line
from models.mailboxes.message import (
    DEFAULT_READ_LIMITS,
    CorpusMessage,
    CorpusProblem,
    OnProblem,
    ProblemCode,
    ReadLimits,
    is_mail,
)

_SMALL_BYTES = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
# Without O_NONBLOCK, opening a named pipe would wait for a writer that may never come.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_AT_ONCE_BYTES = 1 << 20
# What lies beside the mail in public corpora and in Maildirs, and is none.
_NOT_MESSAGES = frozenset({"index", "cmds", "maildirfolder", "dovecot-uidlist"})


def read_messages(
    path: Path, *, on_problem: OnProblem, limits: ReadLimits = DEFAULT_READ_LIMITS
) -> Iterator[CorpusMessage]:
    """Yield every message at ``path``, in the order of names (of Maildirs: of arrival).

    Memory is bounded by one message. Nothing is raised for bad input: each problem goes to
    ``on_problem`` once.
    """
    if not path.is_dir():
        yield from _read_file(path, on_problem=on_problem, limits=limits)
        return
    found = False
    for file in _files_below(path):
        found = True
        yield from _read_file(file, on_problem=on_problem, limits=limits)
    if not found:
        on_problem(CorpusProblem(code=ProblemCode.NO_MAIL_INSIDE, where=str(path)))


def read_one(
    path: Path, *, on_problem: OnProblem, limits: ReadLimits = DEFAULT_READ_LIMITS
) -> CorpusMessage | None:
    """Read a file that holds exactly one message (mailbox separators in it are text)."""
    read = read_bytes(path, limits)
    if isinstance(read, CorpusProblem):
        on_problem(read)
        return None
    if (problem := _problem_of(read, str(path), limits)) is not None:
        on_problem(problem)
        return None
    return CorpusMessage(raw=read, source=str(path))


def read_bytes(path: Path, limits: ReadLimits = DEFAULT_READ_LIMITS) -> bytes | CorpusProblem:
    """Return what a file holds, mail or not, unpacked and without a ``From `` line.

    A file above the limit is cut one byte after it.
    """
    try:
        with _opened(path) as stream:
            return without_from_line(_all_of(stream, limits))
    except (OSError, EOFError, zlib.error) as error:
        return _problem_from(error, path)


def _read_file(path: Path, *, on_problem: OnProblem, limits: ReadLimits) -> Iterator[CorpusMessage]:
    try:
        raw = _read_at_once(path)
        if raw is None:
            with _opened(path) as stream:
                if stream.peek(5)[:5] == b"From ":
                    yield from _read_mailbox(stream, path, on_problem=on_problem, limits=limits)
                    return
                raw = _all_of(stream, limits)
    except (OSError, EOFError, zlib.error) as error:
        on_problem(_problem_from(error, path))
        return
    if (problem := _problem_of(raw, str(path), limits)) is not None:
        on_problem(problem)
        return
    yield CorpusMessage(raw=raw, source=str(path))


def _read_mailbox(
    stream: BinaryIO, path: Path, *, on_problem: OnProblem, limits: ReadLimits
) -> Iterator[CorpusMessage]:
    messages = split_mbox(stream, limits)
    opening = list(islice(messages, 2))
    several = len(opening) > 1  # one message under a From line is a message file: no number
    for number, raw in enumerate(chain(opening, messages), start=1):
        source = f"{path}#{number}" if several else str(path)
        if (problem := _problem_of(raw, source, limits)) is not None:
            on_problem(problem)
        else:
            yield CorpusMessage(raw=raw, source=source)


def _read_at_once(path: Path) -> bytes | None:
    """Return what a small file holds, None for one that has to be read as a stream.

    Most corpora are folders of small files, and layers of streams cost more than reading them.
    Raises OSError as `_opened` does.
    """
    handle = os.open(path, _FLAGS)
    try:
        status = os.fstat(handle)
        _check_regular(status)
        if status.st_size > _AT_ONCE_BYTES:
            return None
        raw = os.read(handle, status.st_size + 1)
    finally:
        os.close(handle)
    whole = len(raw) == status.st_size
    return raw if whole and not raw.startswith((_GZIP_MAGIC, b"From ")) else None


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no regular file")


def _all_of(stream: BinaryIO, limits: ReadLimits) -> bytes:
    """Read up to the limit and one byte more. Raises OSError where that would wait."""
    most = limits.max_message_bytes + 1
    # Room for the largest message is not made for each small one: that took 30 µs.
    raw: bytes | None = stream.read(min(most, _SMALL_BYTES))
    if raw is None:  # a file of the kernel's that has nothing to say yet
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return raw if len(raw) < _SMALL_BYTES else raw + stream.read(most - len(raw))


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a regular file, through gzip where its first bytes say so.

    Raises OSError also for pipes and devices, which could block for ever.
    """
    with os.fdopen(os.open(path, _FLAGS), "rb") as file:
        _check_regular(os.fstat(file.fileno()))
        if file.peek(2)[:2] != _GZIP_MAGIC:
            yield file
            return
        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            yield io.BufferedReader(cast("io.RawIOBase", unpacked))


def _problem_of(raw: bytes, where: str, limits: ReadLimits) -> CorpusProblem | None:
    if not raw.strip():
        return CorpusProblem(code=ProblemCode.EMPTY, where=where)
    if len(raw) > limits.max_message_bytes:
        detail = f"more than {limits.max_message_bytes} bytes"
        return CorpusProblem(code=ProblemCode.TOO_LARGE, where=where, detail=detail)
    if not is_mail(raw):
        return CorpusProblem(code=ProblemCode.NOT_MAIL, where=where)
    return None


def _problem_from(error: Exception, path: Path) -> CorpusProblem:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return CorpusProblem(code=ProblemCode.MISSING, where=str(path))
        case gzip.BadGzipFile() | EOFError() | zlib.error():
            return CorpusProblem(code=ProblemCode.BROKEN_GZIP, where=str(path), detail=str(error))
        case OSError():
            detail = error.strerror or str(error)
            return CorpusProblem(code=ProblemCode.UNREADABLE, where=str(path), detail=detail)
        case _:
            return CorpusProblem(
                code=ProblemCode.UNREADABLE, where=str(path), detail=type(error).__name__
            )


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the message files of a Maildir or a tree; names order both.

    A Maildir's ``tmp`` holds half-written mail. Hidden folders are skipped: the subfolders of a
    Maildir++ (``.Junk``) hold mail of another kind than their parent.
    """
    for root, folders, files in os.walk(folder):
        if {"cur", "new"} & set(folders):
            yield from _files_of_maildir(Path(root))
            folders[:] = [name for name in folders if name not in {"cur", "new", "tmp"}]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name not in _NOT_MESSAGES:
                yield Path(root, name)


def _files_of_maildir(maildir: Path) -> Iterator[Path]:
    """Yield what ``cur`` and ``new`` hold; the names begin with the time of arrival."""
    files = [
        file
        for part in ("cur", "new")
        if (maildir / part).is_dir()
        for file in (maildir / part).iterdir()
        if not file.name.startswith(".") and not file.is_dir()
    ]
    yield from sorted(files, key=_arrival)


def _arrival(file: Path) -> tuple[int, str]:
    seconds = file.name.partition(".")[0]
    return (int(seconds) if seconds.isascii() and seconds.isdigit() else 0, file.name)
