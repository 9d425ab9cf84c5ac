"""Where the header section of original bytes ends and where its fields lie; nothing is decoded."""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_FIELD_START: Final = re.compile(rb"[!-9;-~]{1,998}[ \t]*:")
_SPACES: Final = re.compile(rb"[ \t\r\n]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field: its place in the content, continuation lines and line end included.

    ``name`` is lower-case and without the white space that some put before the colon; it is empty
    for a line that is no field.
    """

    start: int
    stop: int
    name: bytes
    value: bytes


def header_end(content: bytes | mmap.mmap) -> int:
    """The offset of the empty line that ends the header section, or the content's length."""
    if content[:2] == b"\r\n":
        return 0
    end = content.find(b"\r\n\r\n")
    return len(content) if end < 0 else end + 2


def begins_with_field(header: bytes) -> bool:
    """Whether the first line is a field, so that fields of ours may stand in front of it."""
    return _FIELD_START.match(header) is not None


def fields(header: bytes) -> Iterator[Field]:
    """The fields of a header section in order; linear in its size."""
    start = 0
    while start < len(header):
        stop = _field_stop(header, start)
        name, colon, value = header[start:stop].partition(b":")
        name = _SPACES.sub(b"", name.rstrip()).lower() if colon and len(name) < 1000 else b""
        yield Field(start=start, stop=stop, name=name, value=value)
        start = stop


def _field_stop(header: bytes, start: int) -> int:
    while True:
        end = header.find(b"\r\n", start)
        if end < 0:
            return len(header)
        start = end + 2
        if header[start : start + 1] not in {b" ", b"\t"}:
            return start


def unfolded(value: bytes) -> bytes:
    """A field's value on one line, white space collapsed (RFC 6376 §3.4.2)."""
    return _SPACES.sub(b" ", value).strip()
