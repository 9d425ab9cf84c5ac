"""Splitting a mailbox in the mbox family of formats (RFC 4155 and its relatives).

The formats differ in how a body line that starts with ``From `` is kept apart, and many writers
do not escape it at all. So a separator must pass three tests: it follows a blank line (or opens
the file), it ends in a date as asctime(3) writes one, and a header field comes next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from models.mailboxes.message import DEFAULT_READ_LIMITS, ReadLimits

_SEPARATOR_BYTES = 512
_CHUNK_BYTES = 64 * 1024
_SEPARATOR = re.compile(rb"From [^\r\n]*\d{1,2}:\d\d[^\r\n]*\b(?:19|20)\d\d\b")
_FIELD_OR_QUOTED_FROM = re.compile(rb"(?:>From )|(?:[!-9;-~]{1,80}[ \t]*:)")


def without_from_line(raw: bytes) -> bytes:
    """Drop the ``From `` (or quoted ``>From ``) lines an mbox writer put before the header."""
    start = 0  # the rest is copied once: a hostile file has a million such lines
    while raw.startswith((b"From ", b">From "), start):
        newline = raw.find(b"\n", start)
        if newline < 0:
            break
        start = newline + 1
    return raw[start:]


def split_mbox(stream: BinaryIO, limits: ReadLimits = DEFAULT_READ_LIMITS) -> Iterator[bytes]:
    """Yield the messages of a mailbox, without their ``From `` lines, in order.

    Takes linear time and memory for one message. A message longer than the limit is cut one byte
    above it, so that the caller can see and report it; the rest of it is skipped.
    """
    collected = _Message(limits.max_message_bytes + 1)
    after_blank = True
    lines = _pieces(stream)
    piece = next(lines, None)
    while piece is not None:
        following = next(lines, None)
        line, at_line_start = piece
        if at_line_start and after_blank and _opens_message(line, following):
            if collected.started:
                yield _without_parting_line(collected.take())
            collected.started = True
        else:
            collected.add(line)
        after_blank = at_line_start and line in (b"\n", b"\r\n")
        piece = following
    if collected.started or collected.size_bytes:
        yield collected.take()


def _opens_message(line: bytes, following: tuple[bytes, bool] | None) -> bool:
    if not line.startswith(b"From ") or not _SEPARATOR.match(line[:_SEPARATOR_BYTES]):
        return False
    return following is None or _FIELD_OR_QUOTED_FROM.match(following[0]) is not None


def _pieces(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Yield lines, long ones in pieces, each with whether it begins a line."""
    at_line_start = True
    while piece := stream.readline(_CHUNK_BYTES):
        yield piece, at_line_start
        at_line_start = piece.endswith(b"\n")


class _Message:
    """The lines of one message, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lines: list[bytes] = []
        self.size_bytes = 0
        self.started = False

    def add(self, line: bytes) -> None:
        room = self._max_bytes - self.size_bytes
        if room > 0:
            self._lines.append(line[:room])
            self.size_bytes += min(len(line), room)

    def take(self) -> bytes:
        """Return the message and forget it."""
        raw = b"".join(self._lines)
        self._lines.clear()
        self.size_bytes = 0
        return without_from_line(raw)


def _without_parting_line(raw: bytes) -> bytes:
    """Drop the blank line that stands between a message and the next ``From `` line."""
    if raw.endswith(b"\r\n\r\n"):
        return raw[:-2]
    return raw[:-1] if raw.endswith(b"\n\n") else raw
