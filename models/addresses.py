"""Addresses in header fields: a display name and a mailbox (RFC 5322 section 3.4), leniently."""

import re
from dataclasses import dataclass

from models.encoded_words import decode_header_value

MAX_BYTES = 2048
"""Bytes of a field that are looked at: more than any client shows."""

# Possessive, so that each character is visited once: a quoted string, a mark, anything else.
_TOKEN = re.compile(r'"((?:[^"\\]++|\\.)*+)"?|([()<,;])|((?:[^"()<,;\\]++|\\.?))', re.DOTALL)
_ANGLE = re.compile(r'(?:[^">]++|"[^"]*+"?)*+')
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """One mailbox of an address field; both parts may be empty.

    The name is decoded text; the address is as written, without angle brackets and white space.
    """

    name: str
    address: str


def first_mailbox(raw: bytes) -> Mailbox:
    """Read the first mailbox of a From, To or Sender value; never raises, one pass.

    Quoted strings and comments are recognised, so ``"a <b@c>" <d@e>`` is the mailbox ``d@e``.
    Encoded words are decoded after the split: they can't smuggle in a second address.
    """
    text = raw[:MAX_BYTES].decode("latin-1")
    name, comment, address = _read_first(text)
    if address is None:
        # No angle brackets: "user@host (Name)" of old, or only a name.
        name, address = (comment, name) if "@" in name else (name, "")
    address = decode_header_value(address.encode("latin-1")).strip()
    return Mailbox(
        name=" ".join(decode_header_value(name.encode("latin-1")).split()),
        address=address if '"' in address else "".join(address.split()),
    )


def _read_first(text: str) -> tuple[str, str, str | None]:
    """Split the first mailbox into display name, comments and what stands in angle brackets."""
    name: list[str] = []
    comments: list[str] = []
    depth = 0
    has_at = False
    for match in _TOKEN.finditer(text):
        quoted, mark, other = match.groups()
        piece = _unescaped(quoted) if quoted is not None else other or mark
        if mark in ("(", ")"):
            depth = max(0, depth + (1 if mark == "(" else -1))
        elif depth:
            comments.append(piece)
        elif mark == "<":
            address = _ANGLE.match(text, match.end())
            return "".join(name), "", address[0].strip("<> ") if address else ""
        elif mark is not None and has_at:
            break
        else:
            has_at = has_at or "@" in piece
            name.append(piece)
    return "".join(name), "".join(comments), None


def _unescaped(quoted: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", quoted) if "\\" in quoted else quoted
