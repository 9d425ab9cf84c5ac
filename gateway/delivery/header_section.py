"""Where the header section of original bytes ends and where some of its fields lie.

Nothing is decoded. A header section may be fifty megabytes of a stranger's choice, so fields are
found by substring search, never by walking over all of them, and only so many places are looked at.
"""

import mmap
import re
from dataclasses import dataclass
from typing import Final

_FIELD_START: Final = re.compile(rb"[!-9;-~]{1,998}[ \t]*:")
_FIELD_END: Final = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?![ \t])")
_SPACES: Final = re.compile(rb"[ \t\r\n]+")
_LINE_ENDS: Final = frozenset(b"\r\n")
_MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field: its place in the header section, continuation lines and line end included.

    ``name`` is lower-case and without the white space that some put before the colon.
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


def fields_beginning(header: bytes, prefix: bytes, most: int) -> list[Field] | None:
    """Fields whose names begin with ``prefix`` (lower-case), in order.

    A bare CR or LF counts as a line end too, for it becomes one on the wire. None when ``prefix``
    occurs in more than ``most`` places, whatever they are.
    """
    lowered = header.lower()
    found: list[Field] = []
    place = lowered.find(prefix)
    for _ in range(most):
        if place < 0:
            return found
        if place == 0 or header[place - 1] in _LINE_ENDS:
            found.append(_field(header, place))
        place = lowered.find(prefix, place + len(prefix))
    return found if place < 0 else None


def _field(header: bytes, start: int) -> Field:
    end = _FIELD_END.search(header, start)
    stop = end.end() if end else len(header)
    name, colon, value = header[start:stop].partition(b":")
    if not colon or len(name) > _MAX_NAME:
        name, value = header[start : min(start + _MAX_NAME, stop)], b""
    return Field(start=start, stop=stop, name=_SPACES.sub(b"", name).lower(), value=value)


def unfolded(value: bytes) -> bytes:
    """A field's value on one line, white space collapsed (RFC 6376 §3.4.2)."""
    return _SPACES.sub(b" ", value).strip()
