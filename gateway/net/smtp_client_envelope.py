"""What a next hop offers, the commands that follow from it, and what its offer rules out."""

import re
from dataclasses import dataclass, replace
from typing import Self

from gateway.core.addresses import parse_address
from gateway.core.errors import AddressError
from gateway.core.handoff import CopyReply, Phase
from gateway.core.reply import Reply
from gateway.core.routing import NextHop
from gateway.net.nexthop import HandOff, Recipient, Transaction

_NEEDS_SMTPUTF8 = Reply(
    code=550, enhanced="5.6.7", text="next hop does not take internationalised mail (SMTPUTF8)"
)
_NEEDS_8BITMIME = Reply(
    code=554, enhanced="5.6.3", text="next hop does not take 8-bit content (8BITMIME)"
)
_TOO_BIG = Reply(code=552, enhanced="5.3.4", text="message is larger than the next hop's SIZE")
_BAD_ADDRESS = Reply(code=553, enhanced="5.1.3", text="address cannot be sent in a command")
_PATH = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s<>"]+)(?:@[^\s<>"]+)?\Z')
_UNSENDABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

_PARAMETER = re.compile(r"[!-<>-~\u0080-\ud7ff\ue000-\U0010ffff]{1,500}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The extensions of a next hop's EHLO reply; ``size_bytes`` 0 means no limit (RFC 1870)."""

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    starttls: bool = False
    size: bool = False
    size_bytes: int = 0
    dsn: bool = False

    @classmethod
    def parse(cls, lines: tuple[str, ...]) -> Self:
        """Read an EHLO reply; the first line is the greeting, unknown keywords mean nothing."""
        words = [line.upper().split() for line in lines[1:]]
        keywords = {word[0]: word[1:] for word in words if word}
        size = keywords.get("SIZE", [])
        limit = int(size[0]) if size and size[0].isdecimal() and len(size[0]) < 20 else 0
        return cls(
            pipelining="PIPELINING" in keywords,
            eight_bit="8BITMIME" in keywords,
            smtputf8="SMTPUTF8" in keywords,
            starttls="STARTTLS" in keywords,
            size="SIZE" in keywords,
            size_bytes=limit,
            dsn="DSN" in keywords,
        )


def mail_command(transaction: Transaction, offer: Offer) -> bytes:
    """``MAIL FROM`` with the parameters that the offer allows and the message needs."""
    sender = _spelling(transaction.mail_from, offer)
    parts = [f"MAIL FROM:<{sender}>"]
    if offer.size:
        parts.append(f"SIZE={transaction.content.size_bytes}")
    if offer.eight_bit and (transaction.body_8bit or not _is_ascii(transaction)):
        parts.append("BODY=8BITMIME")
    if offer.smtputf8 and needs_smtputf8(transaction):
        parts.append("SMTPUTF8")
    if offer.dsn:
        parts += _parameters(offer, RET=transaction.ret, ENVID=transaction.envid)
    return " ".join(parts).encode() + b"\r\n"


def rcpt_command(recipient: Recipient, offer: Offer) -> bytes:
    """``RCPT TO`` with the spelling that came; a domain beyond ASCII goes as A-label.

    Standards differ on which domain a U-label is (IDNA 2003, 2008, UTS 46). The A-label is the one
    that was found to be ours: a next hop that reads the U-label otherwise must not relay for us.
    Where the next hop does not offer DSN its parameters go no further (RFC 3461 §5.2.2); we notify
    nobody ourselves, and do not announce DSN then.
    """
    parts = [f"RCPT TO:<{_routed(recipient.rcpt_to)}>"]
    if offer.dsn:
        orcpt = recipient.orcpt if offer.smtputf8 else _in_7_bits(recipient.orcpt)
        parts += _parameters(offer, NOTIFY=recipient.notify, ORCPT=orcpt)
    return " ".join(parts).encode() + b"\r\n"


def _parameters(offer: Offer, **given: str) -> list[str]:
    """Those that were given and fit in a command of this next hop."""
    return [
        f"{key}={value}"
        for key, value in given.items()
        if _PARAMETER.match(value) and (offer.smtputf8 or value.isascii())
    ]


def _in_7_bits(orcpt: str) -> str:
    """An ORCPT of type ``utf-8`` as a next hop without SMTPUTF8 reads it (RFC 6533 §3)."""
    return "".join(one if one.isascii() else f"\\x{{{ord(one):02X}}}" for one in orcpt)


def needs_smtputf8(transaction: Transaction) -> bool:
    """Whether the envelope or the header section needs RFC 6531 at the next hop."""
    routed = (_routed(one.rcpt_to) for one in transaction.recipients)
    if not all(address.isascii() for address in (transaction.mail_from, *routed)):
        return True
    return transaction.smtputf8 and not transaction.content.header_is_ascii()


def unsendable(transaction: Transaction, offer: Offer) -> dict[str, Reply]:
    """Recipients that this next hop's offer excludes, by key: the others still get the mail."""
    found = {}
    for one in transaction.recipients:
        if not _fits_in_command(one.rcpt_to):
            found[one.key] = _BAD_ADDRESS
        elif not offer.smtputf8 and not _routed(one.rcpt_to).isascii():
            found[one.key] = _NEEDS_SMTPUTF8
    return found


def ruled_out(transaction: Transaction, offer: Offer, hop: NextHop) -> HandOff | None:
    """The local refusal of a message that this next hop's own offer excludes, else None.

    An internationalised domain alone is no hindrance: it is sent as A-label (RFC 5890).
    """
    if not _fits_in_command(transaction.mail_from):
        return _refuse(transaction, hop, _BAD_ADDRESS)
    if offer.size_bytes and transaction.content.size_bytes > offer.size_bytes:
        return _refuse(transaction, hop, _TOO_BIG)
    if not offer.smtputf8 and not _sendable_in_ascii(transaction, offer):
        return _refuse(transaction, hop, _NEEDS_SMTPUTF8)
    if not offer.eight_bit and not offer.smtputf8 and not _is_ascii(transaction):
        return _refuse(transaction, hop, _NEEDS_8BITMIME)
    return None


def _sendable_in_ascii(transaction: Transaction, offer: Offer) -> bool:
    if not _spelling(transaction.mail_from, offer).isascii():
        return False
    return not transaction.smtputf8 or transaction.content.header_is_ascii()


def _refuse(transaction: Transaction, hop: NextHop, reply: Reply) -> HandOff:
    odd = {one.key: reply for one in transaction.recipients}
    return with_refusals(HandOff(replies=()), odd, transaction, hop)


def with_refusals(
    rest: HandOff, odd: dict[str, Reply], transaction: Transaction, hop: NextHop
) -> HandOff:
    """What came of the transaction, with our own answers for those who were left out of it."""
    known = {reply.recipient: reply for reply in rest.replies}
    replies = tuple(
        known.get(one.key) or _refusal(one.key, hop, odd[one.key]) for one in transaction.recipients
    )
    return replace(rest, replies=replies)


def _refusal(recipient: str, hop: NextHop, reply: Reply) -> CopyReply:
    return CopyReply(
        recipient=recipient,
        phase=Phase.ANSWERED,
        code=reply.code,
        enhanced=reply.enhanced,
        text=reply.text,
        next_hop=hop,
        local=True,
    )


def _spelling(address: str, offer: Offer) -> str:
    """A sender as it came; without SMTPUTF8 a non-ASCII domain goes out as A-label."""
    return address if offer.smtputf8 else _routed(address)


def _routed(address: str) -> str:
    """With an ASCII domain."""
    if address.isascii():
        return address
    local, _, _ = address.rpartition("@")
    try:
        return f"{local}@{parse_address(address).domain}"
    except AddressError:
        return address


def _fits_in_command(address: str) -> bool:
    """No control character (CR and LF would be a second command), nothing that ends the path."""
    if len(address) > 320 or not (address == "" or _PATH.match(address)):
        return False
    return _UNSENDABLE.search(address) is None


def _is_ascii(transaction: Transaction) -> bool:
    return all(chunk.isascii() for chunk in transaction.content.chunks())
