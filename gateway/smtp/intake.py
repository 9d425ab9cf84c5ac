"""One message from its final dot to its reply: scan, decide, hand over or hold, settle.

The promise is kept here: ``250`` is said only after the next hop took the message or a record of it
is durable (architecture, section 1). Whatever goes wrong before that is a 4xx, and the client still
has the mail.
"""

import mmap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from gateway.checks.check import ConnectionFacts
from gateway.core.clock import Clock
from gateway.core.errors import SmtpError, StorageError
from gateway.core.handoff import CopyReply
from gateway.core.lesson import Lesson
from gateway.core.mail import Mail
from gateway.core.record import Copy, CopyState, Event, HoldReason, MessageFacts
from gateway.core.reply import HEADER_TOO_LARGE, MAIL_LOOP, REFUSED_BY_POLICY, Reply
from gateway.core.routing import Domain, Generation
from gateway.core.verdict import Action, Verdict, VerdictClass
from gateway.delivery.notices import Told
from gateway.delivery.reported_copy import (
    ReportAction,
    ReportedCopy,
    passed_on,
    report_event,
)
from gateway.pipeline.policy import actions
from gateway.pipeline.scanner import Scan
from gateway.smtp.received import received_field
from gateway.smtp.reply_table import Attempt, Settlement, settle
from gateway.store.codec import message_event
from gateway.store.features import KeptFeatures

_log = structlog.get_logger()
_DAY_MS = 86_400_000
_MAX_HEADER_BYTES = 1024 * 1024  # honest mail stays below 100 kB


class Scanner(Protocol):
    """Judges a mail (gateway.pipeline.scanner)."""

    async def scan(
        self, mail: Mail, connection: Awaitable[ConnectionFacts] | None, *, generation: int
    ) -> Scan:
        """Score the mail.

        Raises:
            ScanFailedError: as a whole; the mail is deferred.
        """


class Relay(Protocol):
    """Hands copies over inside the client's session (gateway.delivery.relay)."""

    async def hand_off(
        self, facts: MessageFacts, content: bytes | mmap.mmap, copies: Sequence[Copy]
    ) -> Mapping[str, CopyReply]:
        """Try each copy at its next hop; what fails is a value, keyed by recipient."""


class Records(Protocol):
    """Durable bytes (gateway.store.records)."""

    async def put(self, facts: MessageFacts, content: bytes | mmap.mmap) -> None:
        """Write and fsync.

        Raises:
            StorageError: nothing was kept.
        """


class Journal(Protocol):
    """This process's log of what happened (gateway.store.journal)."""

    def append(self, event: Event) -> None:
        """Write one line; a killed process does not lose it."""


class Strikes(Protocol):
    """Which mails killed workers (gateway.telemetry.slots)."""

    def is_dangerous(self, sha256: str) -> bool:
        """Whether this mail is held unparsed."""


class Marks(Protocol):
    """What our own header fields in a mail prove (gateway.delivery.marks)."""

    def is_loop(self, content: bytes | mmap.mmap, recipient: str) -> bool:
        """Whether this mail was handed on to this recipient by us too often."""

    def is_released(self, content: bytes | mmap.mmap, recipient: str, now_ms: int) -> bool:
        """Whether a person released exactly this mail to this recipient."""


class KeepsFeatures(Protocol):
    """What can be learned of mail that went on (gateway.store.features)."""

    def keep(self, kept: KeptFeatures) -> None:
        """Write one entry.

        Raises:
            StorageError: it is not kept.
        """


class TellsSenders(Protocol):
    """Reports to senders (gateway.delivery.notices)."""

    async def tell(
        self, facts: MessageFacts, content: bytes | mmap.mmap, copies: Sequence[ReportedCopy]
    ) -> Told | None:
        """Make a report durable; None when nobody may or wants to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Takes every mail that came in whole and answers for all its copies."""

    node: str
    hostname: str
    scanner: Scanner
    relay: Relay
    records: Records
    journal: Journal
    strikes: Strikes
    marks: Marks
    clock: Clock
    notices: TellsSenders | None = None
    features: KeepsFeatures | None = None

    async def take(
        self,
        mail: Mail,
        generation: Generation,
        connection: Awaitable[ConnectionFacts] | None = None,
    ) -> Reply:
        """Settle one mail; the reply is for the client, the journal knows the rest.

        Raises:
            SmtpError: with the 4xx that the client hears; nothing is ours then.
        """
        if _endless_header(mail):
            return HEADER_TOO_LARGE.with_id(mail.id)
        if self.strikes.is_dangerous(mail.sha256):
            scan = Scan(verdict=None, subject="", from_header="", message_id="")
        else:
            scan = await self.scanner.scan(mail, connection, generation=generation.number)
        copies = self._copies(mail, scan.verdict, generation)
        facts = self._facts(mail, scan, copies, generation)
        settlement = await self._settle(facts, mail, generation)
        now = self.clock.now_ms()
        delivered = any(copy.state is CopyState.DELIVERED for copy in settlement.copies)
        facts = replace(
            facts,
            copies=settlement.copies,
            answered_at_ms=now,
            handed_off_at_ms=now if delivered else None,
            reply=str(settlement.reply),
        )
        self._tell(facts)
        self._keep_features(facts, scan.lesson)
        return settlement.reply.with_id(mail.id)

    def _copies(
        self, mail: Mail, verdict: Verdict | None, generation: Generation
    ) -> tuple[Copy, ...]:
        served = [
            (address, _served(address.domain, generation)) for address in mail.envelope.rcpt_to
        ]
        chosen = dict(actions(verdict, served)) if verdict else {}
        copies = []
        for address, domain in served:
            action = chosen.get(address, Action.QUARANTINE)
            if action is Action.QUARANTINE and self.marks.is_released(
                mail.content, address.key, mail.received_at_ms
            ):
                action = Action.ACCEPT  # a person decided already; it came back to us
            copy = _copy(address.key, address.spelling, domain, action)
            copies.append(self._placed(copy, domain, verdict, mail))
        return tuple(copies)

    def _placed(self, copy: Copy, domain: Domain, verdict: Verdict | None, mail: Mail) -> Copy:
        if self.marks.is_loop(mail.content, copy.recipient):
            return replace(
                copy,
                action=Action.REJECT,
                state=CopyState.REFUSED,
                hold_reason=HoldReason.MAIL_LOOP,
            )
        match copy.action:
            case Action.REJECT:
                return replace(copy, state=CopyState.REFUSED)
            case Action.QUARANTINE:
                reason = _hold_reason(verdict)
                return _held(copy, reason, domain, mail)
            case _:
                return copy

    def _facts(
        self, mail: Mail, scan: Scan, copies: tuple[Copy, ...], generation: Generation
    ) -> MessageFacts:
        return MessageFacts(
            id=mail.id,
            node=self.node,
            direction="in",
            received_at_ms=mail.received_at_ms,
            answered_at_ms=None,
            handed_off_at_ms=None,
            session=mail.session,
            envelope=mail.envelope,
            size_bytes=mail.size_bytes,
            sha256=mail.sha256,
            subject=scan.subject,
            from_header=scan.from_header,
            message_id=scan.message_id,
            verdict=scan.verdict,
            copies=copies,
            generation=generation.number,
            reply="",
            trace=received_field(mail, hostname=self.hostname),
        )

    async def _settle(self, facts: MessageFacts, mail: Mail, generation: Generation) -> Settlement:
        """Hold first, then hand over: when the disk fails, no copy has gone out yet."""
        refused = [copy for copy in facts.copies if copy.state is CopyState.REFUSED]
        if len(refused) == len(facts.copies):
            loop = all(copy.hold_reason is HoldReason.MAIL_LOOP for copy in refused)
            return Settlement(reply=MAIL_LOOP if loop else REFUSED_BY_POLICY, copies=facts.copies)
        # Refusing is one reply for all; beside anything else such a copy is held.
        held = [
            _held(copy, copy.hold_reason or HoldReason.SPAM, _domain_of(copy, generation), mail)
            for copy in facts.copies
            if copy.state in {CopyState.HELD, CopyState.REFUSED}
        ]
        going = [copy for copy in facts.copies if copy.state is CopyState.QUEUED]
        if held:
            await self.records.put(replace(facts, copies=tuple(held)), mail.content)
        if not going:
            return settle([], held)
        results = await self.relay.hand_off(facts, mail.content, going)
        attempts = [
            Attempt(
                copy=copy,
                result=results[copy.recipient],
                on_outage=_domain_of(copy, generation).on_outage,
            )
            for copy in going
        ]
        settlement = await self._reported(facts, mail, settle(attempts, held), results)
        if any(copy.state.ours for copy in settlement.copies if copy not in held):
            await self.records.put(replace(facts, copies=settlement.copies), mail.content)
        await self._report_success(facts, mail, results)
        return settlement

    async def _report_success(
        self, facts: MessageFacts, mail: Mail, results: Mapping[str, CopyReply]
    ) -> None:
        """Copies whose next hop will not say so itself: a sender who asked is told (RFC 3461)."""
        if self.notices is None or not facts.envelope.dsn:
            return
        taken = [
            ReportedCopy(recipient=recipient, reply=reply, action=action)
            for recipient, reply in results.items()
            if (action := passed_on(reply)) is not None
        ]
        told = await self.notices.tell(facts, mail.content, taken) if taken else None
        if told is None:
            return
        now_ms = self.clock.now_ms()
        self._note(message_event(told.facts, now_ms))
        for one in taken:
            if one.recipient in told.recipients:
                self._note(report_event(facts.id, one, told.facts.id, now_ms, "smtp"))

    async def _reported(
        self,
        facts: MessageFacts,
        mail: Mail,
        settlement: Settlement,
        results: Mapping[str, CopyReply],
    ) -> Settlement:
        """Copies refused beside others that were taken: a sender who logged in is told of them."""
        failed = [
            ReportedCopy(
                recipient=one.recipient,
                reply=results[one.recipient],
                action=ReportAction.FAILED,
            )
            for one in settlement.copies
            if one.hold_reason is HoldReason.REFUSED_BY_NEXT_HOP
        ]
        if self.notices is None or not failed:
            return settlement
        told = await self.notices.tell(facts, mail.content, failed)
        if told is None:
            return settlement
        self._note(message_event(told.facts, self.clock.now_ms()))
        copies = tuple(
            replace(one, state=CopyState.REFUSED, hold_reason=None, admin_only=False)
            if one.recipient in told.recipients
            else one
            for one in settlement.copies
        )
        return replace(settlement, copies=copies)

    def _keep_features(self, facts: MessageFacts, lesson: Callable[[], Lesson] | None) -> None:
        """Of what goes on no byte stays; a spam that was missed is learned from its features."""
        going = {CopyState.DELIVERED, CopyState.QUEUED}
        if self.features is None or lesson is None:
            return
        if not any(copy.state in going for copy in facts.copies):
            return
        customers = {copy.customer for copy in facts.copies}
        try:
            self.features.keep(
                KeptFeatures(
                    mail_id=facts.id,
                    customer=customers.pop() if len(customers) == 1 else "",
                    lesson=lesson(),
                )
            )
        except StorageError as error:
            _log.warning("features not kept", mail_id=facts.id, reason=str(error))
        except Exception:  # noqa: BLE001  a border: the mail has gone on, its reply must stand
            _log.exception("features not kept", mail_id=facts.id)

    def _note(self, event: Event) -> None:
        try:
            self.journal.append(event)
        except StorageError as error:
            # What is ours has a durable record; what is not was delivered or refused. The reply
            # stands, and the keeper finds records that no journal names.
            _log.error("not in the journal", mail_id=event.mail_id, reason=str(error))

    def _tell(self, facts: MessageFacts) -> None:
        answered_at_ms = facts.answered_at_ms or 0
        self._note(message_event(facts, answered_at_ms))
        verdict = facts.verdict
        _log.info(
            "message",
            mail_id=facts.id,
            ip=facts.session.ip,
            reply=facts.reply,
            verdict=verdict.kind.value if verdict else "none",
            score=verdict.score if verdict else None,
            symbols=[symbol.name for symbol in verdict.symbols] if verdict else [],
            copies=[copy.state.value for copy in facts.copies],
            size_bytes=facts.size_bytes,
            took_ms=answered_at_ms - facts.received_at_ms,
            mail_from=facts.envelope.mail_from,
            recipients=[copy.recipient for copy in facts.copies],
            subject=facts.subject,
        )


def _endless_header(mail: Mail) -> bool:
    """Whether the header section has no end within the cap: every later step is linear in it."""
    if mail.size_bytes <= _MAX_HEADER_BYTES:
        return False
    return mail.content.find(b"\r\n\r\n", 0, _MAX_HEADER_BYTES) < 0


def _copy(key: str, spelling: str, domain: Domain, action: Action) -> Copy:
    return Copy(
        recipient=key,
        rcpt_to=spelling,
        domain=domain.name,
        customer=domain.customer,
        action=action,
        state=CopyState.QUEUED,
        next_hop=domain.next_hops[0] if domain.next_hops else None,
    )


def _hold_reason(verdict: Verdict | None) -> HoldReason:
    if verdict is None:
        return HoldReason.UNPARSED
    if verdict.kind is VerdictClass.MALWARE:
        return HoldReason.MALWARE
    return HoldReason.SPAM


def _held(copy: Copy, reason: HoldReason, domain: Domain, mail: Mail) -> Copy:
    return replace(
        copy,
        action=Action.QUARANTINE,
        state=CopyState.HELD,
        hold_reason=reason,
        admin_only=reason is not HoldReason.SPAM,
        expires_at_ms=mail.received_at_ms + domain.retention_days * _DAY_MS,
    )


def _served(name: str, generation: Generation) -> Domain:
    domain = generation.domain(name)
    if domain is None:  # removed between RCPT and the dot: the next try hears 550
        raise SmtpError(f"domain {name} is no longer served")
    return domain


def _domain_of(copy: Copy, generation: Generation) -> Domain:
    return _served(copy.domain, generation)
