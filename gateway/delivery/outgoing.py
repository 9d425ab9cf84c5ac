"""The one function that makes outgoing bytes: for hand-off, queue and release alike.

In front stand our ``Received`` and our own fields. Incoming fields of our own names, and
``Authentication-Results`` under our name (RFC 8601 §5), are taken out; everything else stays as it
came, octet for octet, so that DKIM signatures still verify at the receiver.

Three exceptions: a leading mbox ``From `` line is dropped; where the first line is no field, an
empty line keeps it from becoming part of ours; and TAG puts a prefix into the first ``Subject`` for
domains that ask for one.
"""

import mmap
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.record import MessageFacts
from gateway.core.verdict import Verdict
from gateway.delivery.header_section import (
    Field,
    begins_with_field,
    fields_beginning,
    header_end,
    unfolded,
)
from gateway.delivery.marks import LOOP_FIELD, RELEASED_FIELD, Marks
from gateway.delivery.subject import tagged_subject

OWN_PREFIX: Final = b"x-schwamm-"
_AUTHENTICATION_RESULTS: Final = b"authentication-results"
_LOOP_NAME: Final = LOOP_FIELD.lower().encode()
_MAX_PLACES: Final = 1000  # where one of these names occurs in a header section
_UNREAD: Final = re.compile(
    rb"(?<=[\r\n])(?i:x-schwamm-|authentication-results[ \t\r\n]*:)"
    rb"[^\r\n]*(?:(?:\r\n|\r|\n)[ \t][^\r\n]*)*(?:\r\n|\r|\n|\Z)"
)
_LINE_BYTES: Final = 78
_MAX_SYMBOLS: Final = 60
_CHUNK_BYTES: Final = 256 * 1024
_ID_BYTES: Final = 1000  # in which an Authentication-Results field names its author
_FIRST_BYTES: Final = 1200  # more than the longest field name
_WORD_BYTES: Final = 900
_VISIBLE: Final = re.compile(rf"[!-~]{{0,{_WORD_BYTES}}}\Z")
# A quoted string or a token (RFC 2045 §5.1): a lenient reader stops where the token does.
_AUTHSERV_ID: Final = re.compile(rb'(?:"((?:[^"\\]|\\.)*)"|([^\s;()<>@,:\\"/\[\]?=]+))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Dressing:
    """What differs between copies of one mail; copies dressed alike may share a transaction.

    ``released_until_ms`` is set for a copy that a person released; its bytes are its own, because
    the mark names its recipient.
    """

    tagged: bool = False
    subject_tag: str = ""
    released_until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Outgoing bytes as pieces: octets of ours, and ranges of the content that came."""

    content: bytes | mmap.mmap
    pieces: tuple[bytes | range, ...]
    header_stop: int  # of the content that came

    @property
    def size_bytes(self) -> int:
        """Octets without dots stuffed."""
        return sum(len(piece) for piece in self.pieces)

    def chunks(self) -> Iterator[bytes]:
        """All octets in order; a small message comes in one piece."""
        waiting: list[bytes] = []
        size = 0
        for octets in self._slices():
            if waiting and size + len(octets) > _CHUNK_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
            waiting.append(octets)
            size += len(octets)
        if waiting:
            yield b"".join(waiting)

    def _slices(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            for start in range(piece.start, piece.stop, _CHUNK_BYTES):
                yield self.content[start : min(start + _CHUNK_BYTES, piece.stop)]

    def header_is_ascii(self) -> bool:
        """Whether the header section is free of 8-bit octets."""
        ours = all(piece.isascii() for piece in self.pieces if isinstance(piece, bytes))
        return ours and self.content[: self.header_stop].isascii()


def outgoing(
    facts: MessageFacts,
    content: bytes | mmap.mmap,
    *,
    recipients: Sequence[str],
    dressing: Dressing,
    marks: Marks,
    hostname: str,
) -> Outgoing:
    """The bytes for copies that are dressed alike; ``recipients`` are their address keys."""
    stop = header_end(content)
    ours = _own_fields(facts, content, recipients, dressing, marks)
    start = _mbox_line(content)
    tag = dressing.subject_tag if dressing.tagged and dressing.released_until_ms is None else ""
    pieces = _edited(content, start, stop, tag, marks, hostname)
    if tag and not any(isinstance(piece, bytes) for piece in pieces):
        ours += tagged_subject(b"Subject:\r\n", tag)  # there was none to put it into
    if not _may_follow_ours(content, pieces):
        ours += b"\r\n"
    return Outgoing(content=content, pieces=(ours, *pieces), header_stop=stop)


def _mbox_line(content: bytes | mmap.mmap) -> int:
    if content[:5] != b"From ":
        return 0
    end = content.find(b"\r\n")
    return len(content) if end < 0 else end + 2


def _may_follow_ours(content: bytes | mmap.mmap, pieces: list[bytes | range]) -> bool:
    """Whether what comes first is a field, or the empty line before the body, or nothing."""
    if not pieces:
        return True
    piece = pieces[0]
    if isinstance(piece, range):
        piece = content[piece.start : min(piece.start + _FIRST_BYTES, piece.stop)]
    first = piece[:_FIRST_BYTES]
    return not first or first.startswith(b"\r\n") or begins_with_field(first)


def _own_fields(
    facts: MessageFacts,
    content: bytes | mmap.mmap,
    recipients: Sequence[str],
    dressing: Dressing,
    marks: Marks,
) -> bytes:
    lines = [("X-Schwamm-Id", [facts.id])]
    if facts.verdict is not None:
        lines += _verdict_fields(facts.verdict)
    if dressing.tagged:
        lines.append(("X-Schwamm-Tag", ["yes"]))
    lines.append((LOOP_FIELD, marks.loop_mark(facts.id, recipients).split(" ")))
    if dressing.released_until_ms is not None:
        lines += [
            (RELEASED_FIELD, marks.released_mark(content, one, dressing.released_until_ms).split())
            for one in recipients
        ]
    own = b"".join(_folded(name, words) for name, words in lines)
    return _trace(facts.trace) + own


def _verdict_fields(verdict: Verdict) -> list[tuple[str, list[str]]]:
    symbols = [f"{one.name}({one.points:.2f})" for one in verdict.symbols[:_MAX_SYMBOLS]]
    return [
        ("X-Schwamm-Verdict", [verdict.kind.value]),
        ("X-Schwamm-Score", [f"{verdict.score:.2f}"]),
        ("X-Schwamm-Symbols", symbols or ["none"]),
    ]


def _folded(name: str, words: Sequence[str]) -> bytes:
    """One field, folded between words; nothing but printable ASCII gets into it."""
    lines: list[str] = []
    line = f"{name}:"
    for word in words:
        clean = word if _VISIBLE.match(word) else _visible(word)
        if len(line) + 1 + len(clean) > _LINE_BYTES and (lines or len(line) > len(name) + 1):
            lines.append(line)
            line = ""
        line = f"{line} {clean}"
    return "\r\n".join((*lines, line, "")).encode("ascii")


def _visible(word: str) -> str:
    return "".join(c if "!" <= c <= "~" else "?" for c in word[:_WORD_BYTES])


def _trace(trace: str) -> bytes:
    """The given field with proper line ends; no line of it can become a field of its own."""
    lines = [line for line in re.split(r"[\r\n]+", trace) if line.strip()]
    rest = [line if line[0] in " \t" else f"\t{line}" for line in lines[1:]]
    return "".join(f"{line}\r\n" for line in (*lines[:1], *rest)).encode("utf-8", "replace")


def _edited(
    content: bytes | mmap.mmap, start: int, stop: int, tag: str, marks: Marks, hostname: str
) -> list[bytes | range]:
    """Ranges of the content without what must go, and the tagged subject in its place."""
    header = content[start:stop]
    own = fields_beginning(header, OWN_PREFIX, _MAX_PLACES)
    results = fields_beginning(header, _AUTHENTICATION_RESULTS, _MAX_PLACES)
    if own is None or results is None:  # nobody's good mail: all of them go, unread
        cleaned = _UNREAD.sub(b"", b"\n" + header)[1:]
        return [cleaned, range(stop, len(content))]
    changes = [(field, b"") for field in own if not _is_our_mark(field, marks)]
    changes += [(field, b"") for field in results if _speaks_as_us(field, hostname)]
    subject = _subject(header) if tag else None
    if subject is not None:
        changes.append((subject, tagged_subject(header[subject.start : subject.stop], tag)))
    pieces: list[bytes | range] = []
    kept_from = start
    for field, instead in sorted(changes, key=lambda change: change[0].start):
        pieces += [range(kept_from, start + field.start), instead]
        kept_from = start + field.stop
    pieces.append(range(kept_from, len(content)))
    return [piece for piece in pieces if piece]


def _is_our_mark(field: Field, marks: Marks) -> bool:
    """Genuine loop marks of former passes stay: they are what loops are counted by."""
    return field.name == _LOOP_NAME and marks.is_loop_mark(unfolded(field.value))


def _subject(header: bytes) -> Field | None:
    found = fields_beginning(header, b"subject", _MAX_PLACES) or []
    return next((field for field in found if field.name == b"subject"), None)


def _speaks_as_us(field: Field, hostname: str) -> bool:
    return field.name == _AUTHENTICATION_RESULTS and _speaks_as(field.value, hostname)


def _speaks_as(value: bytes, hostname: str) -> bool:
    """Whether an Authentication-Results field claims to be ours (RFC 8601 §2.2, §5)."""
    ours = hostname.lower().rstrip(".").encode()
    flat = unfolded(value[:_ID_BYTES]).lower()
    matched = _AUTHSERV_ID.match(flat, _after_comments(flat))
    if matched is None or (matched.end() == len(flat) and len(value) > _ID_BYTES):
        # no identifier to be read: what a lenient reader might take for ours goes
        return ours in value.lower()
    name = matched[1] if matched[1] is not None else matched[2]
    return name.replace(b"\\", b"").rstrip(b".") == ours


def _after_comments(flat: bytes) -> int:
    depth = position = 0
    while position < len(flat):
        octet = flat[position : position + 1]
        if octet == b"(":
            depth += 1
        elif octet == b")" and depth:
            depth -= 1
        elif octet == b"\\" and depth:
            position += 1
        elif not depth and octet != b" ":
            return position
        position += 1
    return position
