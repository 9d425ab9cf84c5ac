"""Header fields that honest mail programs write and spam programs forget or forge (RFC 5322 §3.6).

Each rule sees one symbol. Times are judged at the mail's own arrival.
"""

import re

from gateway.checks.check import Rule
from gateway.checks.dates import date_of
from gateway.checks.hosts import (
    FREE_MAIL,
    domain_of,
    looks_like_host,
    looks_like_private,
    numeric_address,
    site,
)
from gateway.core.details import write_details
from gateway.core.mail import Mail
from gateway.core.verdict import Symbol
from models.addresses import first_mailbox
from models.message import ParsedMail

_HOUR_MS = 3_600_000
_FUTURE_MS = 12 * _HOUR_MS  # further than any wrong time zone
_PAST_MS = 8 * 24 * _HOUR_MS  # mail waits in queues for up to 5 days (RFC 5321 §4.5.4.1)
_LOOKED_AT = 500  # characters of a field that rules look at
_MESSAGE_ID = re.compile(rb"<[^<>@\s]++@([^<>@\s]++)>\Z")
_ADDRESS_IN_NAME = re.compile(r"[\w.+-]{1,64}@([a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8})")
_ENCODED_WORD = re.compile(rb"=\?[^?\s]{1,40}\?[bBqQ]\?[^?\s]{1,500}\?=")


def missing_date(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """No Date field, or an empty one; RFC 5322 §3.6 demands it."""
    date = parsed.header("date")
    return Symbol(name="MISSING_DATE") if date is None or not date.raw else None


def invalid_date(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A Date field that names no moment."""
    date = parsed.header("date")
    if date is None or not date.raw or date_of(date.raw) is not None:
        return None
    return Symbol(name="INVALID_DATE", detail=write_details(date=date.text))


def date_in_future(mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """Dated more than 12 hours after it arrived: to stay on top of the list."""
    date = parsed.header("date")
    written = date_of(date.raw) if date else None
    if written is None or written - mail.received_at_ms <= _FUTURE_MS:
        return None
    hours = (written - mail.received_at_ms) // _HOUR_MS
    return Symbol(name="DATE_IN_FUTURE", detail=write_details(hours=hours))


def date_in_past(mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """Dated more than 8 days before it arrived."""
    date = parsed.header("date")
    written = date_of(date.raw) if date else None
    if written is None or mail.received_at_ms - written <= _PAST_MS:
        return None
    days = (mail.received_at_ms - written) // (24 * _HOUR_MS)
    return Symbol(name="DATE_IN_PAST", detail=write_details(days=days))


def missing_from(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """No From field; RFC 5322 §3.6 demands it."""
    return None if parsed.header("from") else Symbol(name="MISSING_FROM")


def multiple_from(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """Several From fields: mail programs differ in which one they show (RFC 5322 §3.6)."""
    fields = parsed.headers_of("from")
    if len(fields) < 2:
        return None
    return Symbol(name="MULTIPLE_FROM", detail=write_details(fields=len(fields)))


def invalid_from(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A From field without a mailbox at a domain."""
    if parsed.header("from") is None or "." in domain_of(parsed.from_address):
        return None
    return Symbol(name="INVALID_FROM", detail=write_details(address=parsed.from_address))


def missing_message_id(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """No Message-ID; RFC 5322 §3.6.4 says every mail should have one."""
    field = parsed.header("message-id")
    return Symbol(name="MISSING_MID") if field is None or not field.raw else None


def invalid_message_id(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A Message-ID that is not ``<left@right>`` (RFC 5322 §3.6.4)."""
    field = parsed.header("message-id")
    if field is None or not field.raw or _MESSAGE_ID.match(field.raw[:_LOOKED_AT]):
        return None
    return Symbol(name="INVALID_MSGID", detail=write_details(id=field.text))


def message_id_host(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A Message-ID whose right side is a bare public address or holds no letter: made by a script.

    ``localhost`` and private addresses stand there in honest mail as often as in spam.
    """
    field = parsed.header("message-id")
    match = _MESSAGE_ID.match(field.raw[:_LOOKED_AT]) if field else None
    host = match[1].decode("latin-1").lower() if match else ""
    if not host or host.startswith("[") or any(char.isalpha() for char in host):
        return None
    if numeric_address(host) or not looks_like_private(host):
        return Symbol(name="MSGID_ODD_HOST", detail=write_details(host=host))
    return None


def missing_to(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """Neither To nor Cc: written to nobody in particular."""
    fields = (*parsed.headers_of("to"), *parsed.headers_of("cc"))
    return None if any(field.raw for field in fields) else Symbol(name="MISSING_TO")


def undisclosed_recipients(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """The To field names no mailbox: ``undisclosed-recipients:;``, ``Recipients``, ``<>``."""
    field = parsed.header("to")
    if field is None or not field.raw or b"@" in field.raw[:2000]:
        return None
    return Symbol(name="UNDISC_RCPT", detail=write_details(to=field.text))


def subject_all_caps(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A subject of several words in capitals only."""
    subject = parsed.subject[:_LOOKED_AT]
    letters = sum(char.isalpha() for char in subject)
    if letters < 10 or not subject.isupper() or " " not in subject.strip():
        return None
    return Symbol(name="SUBJ_ALL_CAPS")


def subject_mixed_scripts(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A word of the subject mixes Latin letters with look-alikes (Unicode TR 39 §5)."""
    word = _mixed_word(parsed.subject[:_LOOKED_AT])
    return Symbol(name="SUBJ_MIXED_SCRIPTS", detail=write_details(word=word)) if word else None


def from_mixed_scripts(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A word of the sender's name mixes Latin letters with look-alikes (Unicode TR 39 §5)."""
    word = _mixed_word(parsed.from_name[:_LOOKED_AT])
    return Symbol(name="FROM_MIXED_SCRIPTS", detail=write_details(word=word)) if word else None


def _mixed_word(text: str) -> str:
    if text.isascii():
        return ""
    for word in text.split():
        latin = any(char.isascii() and char.isalpha() for char in word)
        if latin and len(word) > 3 and any(_foreign(char) for char in word):
            return word
    return ""


def _foreign(char: str) -> bool:
    """Greek, Cyrillic, Armenian, Cherokee or a mathematical letter."""
    code = ord(char)
    return (
        (0x370 <= code <= 0x3FF and char not in "ΩΔμπ")  # units and formulas
        or 0x400 <= code <= 0x58F
        or 0x13A0 <= code <= 0x13FF
        or 0x1D400 <= code <= 0x1D7FF
    )  # fmt: skip


def from_name_has_other_address(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """The sender's name shows an address of another site than the real one."""
    shown = _ADDRESS_IN_NAME.search(parsed.from_name[:_LOOKED_AT].lower())
    real = domain_of(parsed.from_address)
    if shown is None or not real or site(shown[1]) == site(real):
        return None
    if not looks_like_host(shown[1]):
        return None
    return Symbol(
        name="FROM_NAME_HAS_OTHER_ADDRESS", detail=write_details(shown=shown[0], real=real)
    )


def free_mail_reply_to(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """Answers go to a free mailbox that is not the sender's."""
    field = parsed.header("reply-to")
    if field is None:
        return None
    reply_to = first_mailbox(field.raw)
    domain = domain_of(reply_to.address)
    if domain not in FREE_MAIL or reply_to.address.lower() == parsed.from_address.lower():
        return None
    if domain_of(parsed.from_address) == domain:
        return None
    return Symbol(name="FREEMAIL_REPLYTO", detail=write_details(address=reply_to.address))


def needless_encoding(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """Plain ASCII hidden in encoded words (RFC 2047 §1 has them for other letters)."""
    field = parsed.header("subject")
    if field is None or not field.text.isascii():
        return None
    words = len(_ENCODED_WORD.findall(field.raw[:2000]))
    return Symbol(name="SUBJ_EXCESS_ENCODED", detail=write_details(words=words)) if words else None


RULES: tuple[Rule, ...] = (
    missing_date,
    invalid_date,
    date_in_future,
    date_in_past,
    missing_from,
    multiple_from,
    invalid_from,
    missing_message_id,
    invalid_message_id,
    message_id_host,
    missing_to,
    undisclosed_recipients,
    subject_all_caps,
    subject_mixed_scripts,
    from_mixed_scripts,
    from_name_has_other_address,
    free_mail_reply_to,
    needless_encoding,
)
