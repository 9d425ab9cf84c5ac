"""The message that tells a sender what became of copies (RFC 3461, RFC 3464, RFC 6522); pure.

Three parts: German and English for people, fields for programs, and the header section that came,
without its body. Whatever a stranger wrote (a next hop's reply, the sender's own ENVID and ORCPT,
the header) is reduced to characters that cannot leave their place.
"""

import quopri
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from gateway.core.handoff import Phase
from gateway.core.record import MessageFacts
from gateway.core.routing import NextHopKind
from gateway.delivery.report_words import SUBJECTS, for_people
from gateway.delivery.reported_copy import ReportAction, ReportedCopy

_MAX_HEADER_BYTES: Final = 64 * 1024
_MAX_LINE_BYTES: Final = 990
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,250}>\Z")


def report(
    facts: MessageFacts,
    copies: Sequence[ReportedCopy],
    header: bytes,
    *,
    report_id: str,
    hostname: str,
    now_ms: int,
) -> bytes:
    """The report on some copies of one message; ``header`` is the header section that came."""
    boundary = f"=_{report_id}"
    text = for_people({_spelling(facts, one): one for one in copies})
    words = quopri.encodestring(text.encode()).replace(b"\n", b"\r\n")
    parts = (
        _part("text/plain; charset=utf-8", words, "quoted-printable"),
        _part("message/delivery-status", _for_programs(facts, copies, hostname, now_ms)),
        _part("text/rfc822-headers", _original(header)),
    )
    body = b"".join(f"--{boundary}\r\n".encode() + part for part in parts)
    head = _header(facts, report_id, hostname, boundary, now_ms, SUBJECTS[copies[0].action])
    return head + body + f"--{boundary}--\r\n".encode()


def _header(
    facts: MessageFacts, report_id: str, hostname: str, boundary: str, now_ms: int, subject: str
) -> bytes:
    lines = [
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: <{facts.envelope.mail_from}>",
        f"Subject: {subject}",
        f"Date: {_date(now_ms)}",
        f"Message-ID: <{report_id}@{hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
    ]
    if _MESSAGE_ID.match(facts.message_id):
        lines += [f"{name}: {facts.message_id}" for name in ("In-Reply-To", "References")]
    return "\r\n".join((*lines, "", "")).encode()


def _part(kind: str, content: bytes, encoding: str = "7bit") -> bytes:
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    return head + content + b"\r\n"


def _spelling(facts: MessageFacts, one: ReportedCopy) -> str:
    for address in facts.envelope.rcpt_to:
        if address.key == one.recipient:
            return address.spelling
    return one.recipient


def _for_programs(
    facts: MessageFacts, copies: Sequence[ReportedCopy], hostname: str, now_ms: int
) -> bytes:
    lines = [f"Reporting-MTA: dns; {hostname}"]
    if facts.envelope.envid:
        lines.append(f"Original-Envelope-Id: {_from_xtext(facts.envelope.envid)}")
    lines.append(f"Arrival-Date: {_date(facts.received_at_ms)}")
    for one in copies:
        lines += ["", *_of_recipient(facts, one, now_ms)]
    return "\r\n".join((*lines, "")).encode("ascii", "replace")


def _of_recipient(facts: MessageFacts, one: ReportedCopy, now_ms: int) -> list[str]:
    reply = one.reply
    lines = [
        f"Original-Recipient: {kind}; {_original_address(kind, address)}"
        for request in facts.envelope.dsn
        if request.recipient == one.recipient
        for kind, _, address in [request.orcpt.partition(";")]
        if address
    ]
    lines.append(f"Final-Recipient: {_generic(_spelling(facts, one))}")
    lines += [f"Action: {one.action}", f"Status: {one.status}"]
    hop = reply.next_hop
    if hop is not None and hop.kind is not NextHopKind.MAILDIR and not reply.local:
        lines.append(f"Remote-MTA: dns; {_plain(hop.host)}")
    kind = "smtp" if reply.phase is Phase.ANSWERED and not reply.local else "x-schwamm"
    lines.append(f"Diagnostic-Code: {kind}; {_plain(str(reply))}")
    lines.append(f"Last-Attempt-Date: {_date(now_ms)}")
    if one.action is ReportAction.DELAYED:
        lines.append(f"Will-Retry-Until: {_date(one.retry_until_ms)}")
    return lines


def _original_address(kind: str, address: str) -> str:
    if kind.lower() != "utf-8":
        return _from_xtext(address)
    return _plain("".join(one if one.isascii() else _escaped(one) for one in address))


def _generic(address: str) -> str:
    """An address with its type; beyond ASCII as RFC 6533 §3 writes it in a 7-bit field."""
    if address.isascii():
        return f"rfc822; {_plain(address)}"
    letters = (
        letter if "!" <= letter <= "~" and letter not in "\\+=" else _escaped(letter)
        for letter in address
    )
    return f"utf-8; {''.join(letters)}"


def _escaped(letter: str) -> str:
    return f"\\x{{{ord(letter):02X}}}"


def _from_xtext(text: str) -> str:
    """RFC 3461 §4; what it hides (a line end, say) comes out as a question mark."""
    return _plain(_XTEXT.sub(lambda found: chr(int(found[1], 16)), text))


def _plain(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:_MAX_LINE_BYTES])


def _original(header: bytes) -> bytes:
    lines = header[:_MAX_HEADER_BYTES].split(b"\r\n")
    if len(header) > _MAX_HEADER_BYTES:
        lines.pop()  # cut in the middle
    text = b"\r\n".join(line[:_MAX_LINE_BYTES] for line in lines)
    return bytes(octet if octet < 128 else 0x3F for octet in text)


def _date(at_ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_ms // 1000, UTC))
