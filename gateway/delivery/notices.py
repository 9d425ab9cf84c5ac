"""Telling a sender what became of copies: only senders who logged in, and as mail of our own queue.

A reverse-path may be forged, so a stranger is never written to. The report is a record like any
spooled mail and goes to the sender's domain's next hop. It has the null reverse-path: when it fails
itself, it is held (RFC 3461 §6.1, ADR 0012).
"""

import asyncio
import hashlib
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from gateway.core.addresses import Address, parse_address
from gateway.core.clock import Clock
from gateway.core.errors import AddressError, StorageError
from gateway.core.ids import IdSource
from gateway.core.mail import Envelope, Session
from gateway.core.record import Copy, CopyState, MessageFacts
from gateway.core.routing import Domain, Generation
from gateway.core.verdict import Action
from gateway.delivery.header_section import header_end
from gateway.delivery.report import report
from gateway.delivery.report_words import SUBJECTS
from gateway.delivery.reported_copy import ReportAction, ReportedCopy, is_asked_for

_log = structlog.get_logger()
_HEADER_BYTES = 1024 * 1024


class KeepsRecords(Protocol):
    """Durable bytes (gateway.store.records)."""

    async def put(self, facts: MessageFacts, content: bytes | mmap.mmap) -> None:
        """Write and fsync.

        Raises:
            StorageError: nothing was kept.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A report that is durable; its ``facts`` belong into the journal. ``recipients``: on whom."""

    facts: MessageFacts
    recipients: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Writes reports. A process that is killed between report and journal may report twice.

    Where that must not happen the caller chooses the report's id beforehand.
    """

    records: KeepsRecords
    generation: Callable[[], Generation]
    ids: IdSource
    node: str
    hostname: str
    clock: Clock

    def new_id(self) -> str:
        """The id of a report that is to be written."""
        return self.ids.next(self.clock.now_ms())

    def is_wanted(self, facts: MessageFacts, recipient: str, action: ReportAction) -> bool:
        """Whether there is a sender who may be told, and wants to be."""
        return is_asked_for(facts.envelope, recipient, action) and self._sender(facts) is not None

    async def tell(
        self,
        facts: MessageFacts,
        content: bytes | mmap.mmap,
        copies: Sequence[ReportedCopy],
        *,
        report_id: str = "",
    ) -> Told | None:
        """Make a report on these copies durable; None when nobody may or wants to be told.

        Also None when the disk refuses it, and that is logged.
        """
        wanted = [one for one in copies if is_asked_for(facts.envelope, one.recipient, one.action)]
        sender = self._sender(facts)
        if not wanted or sender is None:
            return None
        now_ms = self.clock.now_ms()
        report_id = report_id or self.ids.next(now_ms)
        header = bytes(content[: min(header_end(content), _HEADER_BYTES)])
        # In a thread: the first one loads the catalogue, and sessions must not wait for that.
        text = await asyncio.to_thread(
            report,
            facts,
            wanted,
            header,
            report_id=report_id,
            hostname=self.hostname,
            now_ms=now_ms,
        )
        about = self._facts(report_id, text, SUBJECTS[wanted[0].action], sender, now_ms)
        try:
            await self.records.put(about, text)
        except StorageError as error:
            _log.error("sender not told", mail_id=facts.id, reason=str(error))
            return None
        _log.info(
            "sender told",
            mail_id=facts.id,
            report=report_id,
            action=wanted[0].action.value,
            copies=len(wanted),
        )
        return Told(facts=about, recipients=frozenset(one.recipient for one in wanted))

    def _sender(self, facts: MessageFacts) -> tuple[Address, Domain] | None:
        if not facts.session.authenticated_as or not facts.envelope.mail_from:
            return None
        try:
            address = parse_address(facts.envelope.mail_from)
        except AddressError:
            return None
        domain = self.generation().domain(address.domain)
        return (address, domain) if domain is not None else None

    def _facts(
        self,
        report_id: str,
        text: bytes,
        subject: str,
        sender: tuple[Address, Domain],
        now_ms: int,
    ) -> MessageFacts:
        address, domain = sender
        copy = Copy(
            recipient=address.key,
            rcpt_to=address.spelling,
            domain=domain.name,
            customer=domain.customer,
            action=Action.ACCEPT,
            state=CopyState.QUEUED,
            next_hop=domain.next_hops[0] if domain.next_hops else None,
        )
        return MessageFacts(
            id=report_id,
            node=self.node,
            direction="in",
            received_at_ms=now_ms,
            answered_at_ms=now_ms,
            handed_off_at_ms=None,
            session=Session(ip="127.0.0.1", port=0, helo=self.hostname, esmtp=True),
            envelope=Envelope(
                mail_from="", rcpt_to=(address,), smtputf8=not address.spelling.isascii()
            ),
            size_bytes=len(text),
            sha256=hashlib.sha256(text).hexdigest(),
            subject=subject,
            from_header=f"Mail Delivery System <MAILER-DAEMON@{self.hostname}>",
            message_id=f"<{report_id}@{self.hostname}>",
            verdict=None,
            copies=(copy,),
            generation=self.generation().number,
            reply="",
        )
