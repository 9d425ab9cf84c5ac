"""What is asked of a next hop in one transaction, and what comes of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gateway.core.handoff import CopyReply, Phase, printable
from gateway.core.routing import NextHop


class Content(Protocol):
    """Outgoing bytes: CRLF line ends, dots not yet stuffed; read more than once."""

    @property
    def size_bytes(self) -> int:
        """Octets as RFC 1870 counts them."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start, in pieces of bounded size."""

    def header_is_ascii(self) -> bool:
        """Whether the header section is free of 8-bit octets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """The key that results are filed under, and the spelling that goes on the wire."""

    key: str
    rcpt_to: str
    notify: str = ""  # as in core.mail.DsnRequest
    orcpt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One message for one or more recipients at one next hop.

    ``mail_from`` is empty for the null reverse-path. ``smtputf8`` and ``body_8bit`` are what the
    client declared; whether they are needed is decided from the bytes.
    """

    mail_from: str
    recipients: tuple[Recipient, ...]
    content: Content
    smtputf8: bool = False
    body_8bit: bool = False
    ret: str = ""
    envid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOff:
    """What became of a transaction: one reply per recipient, in their order.

    ``fault`` is empty when the conversation went its regular way to the end. ``content_sent`` tells
    whether any octet of the message left us; without it, trying a fresh connection is safe.
    ``answered`` tells whether the next hop answered at least one command of this transaction.
    """

    replies: tuple[CopyReply, ...]
    content_sent: bool = False
    answered: bool = False
    fault: str = ""
    timed_out: bool = False


def unanswered(
    transaction: Transaction, hop: NextHop, fault: str, phase: Phase = Phase.BEFORE_DOT
) -> HandOff:
    """The hand-off that never came to an answer: every copy shares the fault."""
    replies = tuple(
        CopyReply(recipient=one.key, phase=phase, text=printable(fault), next_hop=hop)
        for one in transaction.recipients
    )
    return HandOff(replies=replies, fault=fault)
