"""Header blocks: bytes to fields, fields to text (RFC 5322)."""

import re
from functools import lru_cache
from mmap import mmap

from models.encoded_words import decode_header_value
from models.limits import Defect, ScanLimits

# RFC 5322 section 2.2, with the white space before the colon that section 4.5 once allowed.
# Possessive throughout: a field is matched in one pass or not at all.
# Only at the beginning of a line, or a search would visit a long word again and again.
_FIELD = re.compile(rb"^([!-9;-~]++)([ \t]*+):([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?", re.MULTILINE)
_PLAIN_FIELD = re.compile(rb"^([!-9;-~]++):(.*+(?:\n[ \t].*+)*+)\n", re.MULTILINE)
_MAX_HEADER_REST = 1024 * 1024
"""How far behind a cap the end of the header is looked for."""
_LINE = re.compile(rb"[^\n]*+\n?")


class Header:
    """One header field as it came: name, unfolded value, and on demand the text it stands for.

    Read only. A plain slotted class, because thirty frozen dataclasses a message would cost a
    tenth of the scanner's time.
    """

    __slots__ = ("_max_bytes", "_text", "key", "name", "raw")

    name: str
    """The field name as written."""
    key: str
    """The field name in lower case."""
    raw: bytes
    """The unfolded value: no line ends, no surrounding white space."""

    def __init__(self, name: str, key: str, raw: bytes, max_bytes: int) -> None:
        self.name = name
        self.key = key
        self.raw = raw
        self._max_bytes = max_bytes
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The value with encoded words decoded (RFC 2047), bounded; 8-bit text is guessed."""
        if self._text is None:
            self._text = decode_header_value(self.raw[: self._max_bytes])
        return self._text

    def __repr__(self) -> str:
        return f"Header({self.name}: {self.text!r})"


class HeaderBlock:
    """The fields of one header block and the offset where its body begins.

    A plain one holds fields and the empty line behind them, and nothing else.
    """

    __slots__ = ("body_start", "defects", "fields", "is_plain")

    def __init__(
        self, fields: list[Header], body_start: int, defects: list[Defect], *, is_plain: bool
    ) -> None:
        self.fields = fields
        self.body_start = body_start
        self.defects = defects
        self.is_plain = is_plain


def read_header_block(raw: bytes | mmap, start: int, end: int, limits: ScanLimits) -> HeaderBlock:
    """Split the header block at ``start`` into fields and find its end.

    The body begins after the first empty line, or at the first line that can't belong to a header.
    """
    block = raw[start : min(end, start + limits.max_header_bytes)]
    found = _plain_fields(block, limits)
    if found is not None:
        fields, body_start = found
        return HeaderBlock(fields, start + body_start, [], is_plain=True)
    return _read_odd_block(raw, start, end, block, limits)


def _plain_fields(block: bytes, limits: ScanLimits) -> tuple[list[Header], int] | None:
    """Read a header without any oddity and where its body begins; None for every other.

    All fields are found by one call. They are all there is if their lengths add up.
    """
    crlf = block.find(b"\n\r\n")
    bare = block.find(b"\n\n", 0, len(block) if crlf < 0 else crlf)
    head = 1 + (crlf if bare < 0 else bare)
    found = [] if block.startswith(b"From ") else _PLAIN_FIELD.findall(block, 0, head)
    if not found or len(found) > limits.max_headers or b"\0" in block[:head]:
        return None
    fields, length = [], len(b":\n") * len(found)
    max_bytes = limits.max_header_text_bytes
    for raw_name, folded in found:
        length += len(raw_name) + len(folded)
        value = folded
        if b"\n" in folded:
            value = folded.replace(b"\r\n", b"").replace(b"\n", b"")
        name, key = _names(raw_name)
        fields.append(Header(name, key, value.strip(), max_bytes))
    return (fields, head + (2 if bare < 0 else 1)) if length == head else None


def _read_odd_block(
    raw: bytes | mmap, start: int, end: int, block: bytes, limits: ScanLimits
) -> HeaderBlock:
    """Read a header field by field, whatever stands between the fields."""
    fields: list[Header] = []
    defects: list[Defect] = []
    position = 0
    match_field = _FIELD.match
    max_bytes = limits.max_header_text_bytes
    while len(fields) + len(defects) < limits.max_headers:
        match = match_field(block, position)
        # In front of the first field, "Hello :" is a mail without a header, not a field.
        if match is None or (not fields and match.end(2) > match.start(2)):
            following = _skip_junk(block, position, defects)
            if following is None:
                break
            position = following
            continue
        position = match.end()
        name, space, value = match.groups()
        if space:
            defects.append(Defect.HEADER_NAME_SPACE)
        if b"\n" in value:
            value = value.replace(b"\r\n", b"").replace(b"\n", b"")
        fields.append(Header(*_names(name), value.strip(), max_bytes))
    if b"\0" in block[:position]:
        defects.append(Defect.NUL_BYTE)
    body_start = _body_start(raw, start, block, position, end, defects)
    return HeaderBlock(fields, body_start, list(dict.fromkeys(defects)), is_plain=False)


@lru_cache(maxsize=4096)
def _names(name: bytes) -> tuple[str, str]:
    """Return a field's name as written and in lower case; a few hundred names are most mail."""
    text = name.decode("ascii")
    return text, text.lower()


def _skip_junk(block: bytes, position: int, defects: list[Defect]) -> int | None:
    """Return the offset behind a line that is no field but does not end the header either."""
    envelope = block.startswith((b"From ", b">From "), position)
    if not envelope and not (
        block.startswith(b":", position) or (block.startswith((b" ", b"\t"), position))
    ):
        return None
    if not envelope or position > 0:
        defects.append(Defect.HEADER_JUNK)
    match = _LINE.match(block, position)
    return match.end() if match else None


def _body_start(
    raw: bytes | mmap, start: int, block: bytes, position: int, end: int, defects: list[Defect]
) -> int:
    """Find where the body begins when the fields ended at ``position`` of the block."""
    for empty_line in (b"\n", b"\r\n"):
        if block.startswith(empty_line, position):
            return start + position + len(empty_line)
    at = start + position
    if at >= end:
        return end
    if position < len(block) and _FIELD.match(block, position) is None:
        defects.append(Defect.HEADER_END_MISSING)
        return at
    # A cap was hit. What follows is header up to the next empty line; without one it is body,
    # or a message could hide all its text this way.
    defects.append(Defect.HEADERS_TRUNCATED)
    last = min(end, at + _MAX_HEADER_REST)
    bare = raw.find(b"\n\n", at - 1, last)
    full = raw.find(b"\n\r\n", at - 1, last if bare < 0 else bare)
    if full >= 0:
        return full + 3
    return bare + 2 if bare >= 0 else at
