"""Our trace field (RFC 5321 §4.4), and how many of them a message carries already."""

import mmap
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from gateway.core.addresses import Address
from gateway.core.mail import Mail, Session

_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\-\[\]]")
_DOMAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?\Z")
_LITERAL = re.compile(r"\[[A-Za-z0-9.:]+\]\Z")
_HEADER_BYTES = 1024 * 1024  # a loop adds its fields at the top: more is never looked at
_PIECE_BYTES = 64 * 1024


def received_field(mail: Mail, *, hostname: str) -> str:
    """The ``Received`` field of one message, folded with CR LF, ending in CR LF.

    Everything a stranger chose (HELO, reverse name, recipient) is reduced to characters that cannot
    leave its place in the field. The recipient is named only when it is the only one: a field
    must not tell one reader about the others.
    """
    session, envelope = mail.session, mail.envelope
    with_clause = _protocol(session, smtputf8=envelope.smtputf8)
    if session.tls_version:
        with_clause += f" ({_plain(session.tls_version)} {_plain(session.tls_cipher)})"
    lines = [
        f"Received: from {_client(session)}",
        f"by {_plain(hostname)} with {with_clause}",
        f"id {mail.id}",
    ]
    if len(envelope.rcpt_to) == 1:
        lines.append(f"for <{_one_line(_routed(envelope.rcpt_to[0]))}>")
    return "\r\n\t".join(lines) + f";\r\n\t{_date(mail.received_at_ms // 1000)}\r\n"


def _routed(recipient: Address) -> str:
    """As it goes out: a domain beyond ASCII as A-label.

    Else this field alone would make a header section that needs SMTPUTF8 (RFC 6531 §3.2), and a
    next hop without it could not have the mail.
    """
    if recipient.spelling.isascii():
        return recipient.spelling
    return f"{recipient.spelling.rpartition('@')[0]}@{recipient.domain}"


@lru_cache(maxsize=16)
def _date(moment_s: int) -> str:
    """RFC 5322 §3.3; costs as much as the rest of the field, and hundreds arrive in a second."""
    return format_datetime(datetime.fromtimestamp(moment_s, UTC))


def _client(session: Session) -> str:
    """``HELO (RDNS [IP])``; a HELO that is no name is told in the comment, cleaned."""
    literal = f"[IPv6:{session.ip}]" if ":" in session.ip else f"[{session.ip}]"
    known = f"{_plain(session.rdns)} {literal}" if session.rdns else literal
    helo = session.helo
    if _DOMAIN.match(helo) or _LITERAL.match(helo):
        return f"{helo} ({known})"
    return f"unknown ({known} helo={_plain(helo) or 'none'})"


def _protocol(session: Session, *, smtputf8: bool) -> str:
    """The registered name of how it came (RFC 3848, RFC 6531 §4.3)."""
    if not session.esmtp:
        return "SMTP"
    name = "UTF8SMTP" if smtputf8 else "ESMTP"
    secured = "S" if session.tls_version else ""
    authenticated = "A" if session.authenticated_as else ""
    return name + secured + authenticated


def _plain(text: str) -> str:
    return _UNSAFE.sub("?", text[:255])


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:320])


def count_received(content: bytes | mmap.mmap, enough: int) -> int:
    """How many ``Received`` fields the header section has, counted up to a little above ``enough``.

    Looks at the first MiB at most, piece by piece: linear, with bounded memory.
    """
    if content[:2] == b"\r\n":
        return 0  # no header section at all
    end = content.find(b"\r\n\r\n", 0, _HEADER_BYTES)
    size = end + 2 if end >= 0 else min(len(content), _HEADER_BYTES)
    count = 0
    at = 0
    before = b"\r\n"
    while at < size and count <= enough:
        piece = before + content[at : min(at + _PIECE_BYTES, size)].lower()
        count += piece.count(b"\r\nreceived:")
        before = piece[-10:]  # one byte less than what is looked for: nothing counts twice
        at += _PIECE_BYTES
    return count
