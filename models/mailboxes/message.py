"""What the readers hand out: a message as it lay there, or one problem in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_FIELD_NAME_BYTES = frozenset(range(33, 127)) - {ord(":")}
_TEXT_CONTROLS = frozenset(b"\t\n\v\f\r\b\x1b")
_SNIFF_BYTES = 8192


class ProblemCode(StrEnum):
    """Why a file, or a line of an index, gave no message."""

    MISSING = "missing"
    EMPTY = "empty"
    NOT_MAIL = "not-mail"
    NO_MAIL_INSIDE = "no-mail-inside"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
    BAD_LINE = "bad-line"
    BROKEN_GZIP = "broken-gzip"


_SENTENCES = {
    ProblemCode.MISSING: "there is no such file",
    ProblemCode.EMPTY: "the file is empty",
    ProblemCode.NOT_MAIL: "this is no mail (binary data without a header)",
    ProblemCode.NO_MAIL_INSIDE: "there is no mail in this folder",
    ProblemCode.UNREADABLE: "cannot be read",
    ProblemCode.TOO_LARGE: "the message is too large",
    ProblemCode.BAD_LINE: "expected 'ham PATH' or 'spam PATH'",
    ProblemCode.BROKEN_GZIP: "the gzip data is damaged",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusProblem:
    """Something that gave no message; reading went on after it.

    ``where`` names the file (or ``index:line``), ``detail`` adds what the system said.
    """

    code: ProblemCode
    where: str
    detail: str = ""

    def __str__(self) -> str:
        tail = f" ({_one_line(self.detail)})" if self.detail else ""
        return f"{_one_line(self.where)}: {_SENTENCES[self.code]}{tail}"


OnProblem = Callable[[CorpusProblem], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusMessage:
    """One message: its bytes without an mbox ``From `` line, otherwise unchanged.

    ``source`` is the path it came from, with ``#n`` (from 1) for the n-th message of a mailbox.
    """

    raw: bytes
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """Bounds for reading: a mailbox may be endless, a message may not."""

    max_message_bytes: int = 64 * 1024 * 1024
    max_index_line_bytes: int = 8192


DEFAULT_READ_LIMITS = ReadLimits()


def is_mail(raw: bytes) -> bool:
    """Tell mail, however broken, from data that is none.

    A first line that is a header field makes it mail. Without one, text still counts: corpora of
    bare texts exist, and broken mail may have lost its header. Binary data does not.
    """
    head = raw[:_SNIFF_BYTES]
    if _starts_with_field(head):
        return True
    if b"\0" in head:
        return False
    controls = sum(1 for byte in head if byte < 32 and byte not in _TEXT_CONTROLS)
    return controls * 50 <= len(head) and any(byte > 32 for byte in head)


def _starts_with_field(head: bytes) -> bool:
    name, colon, _ = head.partition(b"\n")[0].partition(b":")
    name = name.rstrip(b" \t")
    return bool(colon and name) and len(name) < 100 and all(b in _FIELD_NAME_BYTES for b in name)


def _one_line(text: str) -> str:
    """File names come from strangers too: no line breaks or controls reach the terminal."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)
