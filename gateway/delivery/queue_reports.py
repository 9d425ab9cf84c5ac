"""What senders who logged in are told of the queue's attempts: failure, success, delay.

Never twice of one copy, whenever the keeper is killed. A failure or success is settled in one
journal entry with its report; a report on success has an id that follows from the copy, so that a
repeated attempt meets the first one. A delay is noted before its report is written: what is noted
and not there yet is written at the next attempt, under the same id.
"""

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.handoff import CopyReply
from gateway.core.ids import derived_id
from gateway.core.queueing import Claim, QueueStore, StoredMessage
from gateway.core.record import CopyState, Event, MessageFacts
from gateway.delivery.notices import Told
from gateway.delivery.reported_copy import (
    ReportAction,
    ReportedCopy,
    passed_on,
    report_event,
)
from gateway.delivery.results import BY, gave_up, reported
from gateway.store.codec import message_event

_log = structlog.get_logger()


class TellsSenders(Protocol):
    """Reports to senders (gateway.delivery.notices)."""

    def new_id(self) -> str:
        """The id of a report that is to be written."""

    def is_wanted(self, facts: MessageFacts, recipient: str, action: ReportAction) -> bool:
        """Whether there is a sender who may be told, and wants to be."""

    async def tell(
        self,
        facts: MessageFacts,
        content: bytes | mmap.mmap,
        copies: Sequence[ReportedCopy],
        *,
        report_id: str = "",
    ) -> Told | None:
        """Make a report durable; None when nobody may or wants to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """One attempt of some copies of a message. ``until_ms``: when their time is over.

    ``events`` are what it came to, one for each claim, in their order.
    """

    unit: Sequence[Claim]
    stored: StoredMessage | None
    replies: Mapping[str, CopyReply]
    events: tuple[Event, ...]
    until_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReports:
    """Decides about reports after each attempt. ``delay_after_s`` 0: none on delay."""

    notices: TellsSenders
    store: QueueStore
    clock: Clock
    delay_after_s: float

    async def on_result(self, made: Attempted) -> tuple[Attempted, list[Event]]:
        """The attempt with what its sender is told of taken off the admin, and events to add."""
        if made.stored is None:
            return made, []
        failed, reports = await self._on_failure(made, made.stored)
        reports += await self._on_success(made, made.stored)
        return failed, reports

    async def _on_failure(
        self, made: Attempted, stored: StoredMessage
    ) -> tuple[Attempted, list[Event]]:
        failed = [
            ReportedCopy(
                recipient=event.recipient,
                reply=made.replies[event.recipient],
                action=ReportAction.FAILED,
                expired=expired,
            )
            for claim, event in zip(made.unit, made.events, strict=True)
            if (expired := gave_up(claim, event)) is not None
        ]
        if not failed:
            return made, []
        told = await self.notices.tell(stored.facts, stored.content, failed)
        if told is None:
            return made, []
        events = tuple(
            reported(one) if one.recipient in told.recipients else one for one in made.events
        )
        return replace(made, events=events), [message_event(told.facts, self.clock.now_ms())]

    async def _on_success(self, made: Attempted, stored: StoredMessage) -> list[Event]:
        """One for each copy, for its own id is what makes it the only one.

        A copy that a person released is that person's: whoever sent it is not told of it.
        """
        events: list[Event] = []
        for claim in made.unit:
            reply = made.replies[claim.recipient]
            action = passed_on(reply)
            if action is None or claim.state is not CopyState.QUEUED:
                continue
            if not self.notices.is_wanted(stored.facts, claim.recipient, action):
                continue
            report_id = derived_id(claim.mail_id, f"success {claim.recipient}")
            if await self._is_known(report_id):
                continue
            copy = ReportedCopy(recipient=claim.recipient, reply=reply, action=action)
            told = await self.notices.tell(
                stored.facts, stored.content, [copy], report_id=report_id
            )
            if told is not None:
                events.append(message_event(told.facts, self.clock.now_ms()))
                events.append(report_event(claim.mail_id, copy, report_id, made.at_ms, BY))
        return events

    async def delayed(self, made: Attempted) -> tuple["Delays | None", list[Event]]:
        """Which copies wait so long that their sender is told, and the notes to make first."""
        if made.stored is None or not self.delay_after_s:
            return None, []
        waiting = [
            claim
            for claim, event in zip(made.unit, made.events, strict=True)
            if claim.state is CopyState.QUEUED
            and event.detail["state"] == CopyState.QUEUED
            and made.at_ms >= claim.since_ms + round(self.delay_after_s * 1000)
            and self.notices.is_wanted(made.stored.facts, claim.recipient, ReportAction.DELAYED)
        ]
        if not waiting:
            return None, []
        try:
            noted = await self.store.delay_reports(made.unit[0].mail_id)
            return await self._chosen(made, made.stored, waiting, noted)
        except GatewayError as error:  # the result of the attempt matters more: at the next one
            _log.warning("delay_not_reported", mail_id=made.unit[0].mail_id, error=str(error))
            return None, []

    async def _chosen(
        self,
        made: Attempted,
        stored: StoredMessage,
        waiting: Sequence[Claim],
        noted: Mapping[str, str],
    ) -> tuple["Delays | None", list[Event]]:
        by_report: dict[str, list[ReportedCopy]] = {}
        new_id = self.notices.new_id()
        for claim in waiting:
            copy = ReportedCopy(
                recipient=claim.recipient,
                reply=made.replies[claim.recipient],
                action=ReportAction.DELAYED,
                retry_until_ms=made.until_ms,
            )
            by_report.setdefault(noted.get(claim.recipient, new_id), []).append(copy)
        missing = {
            report_id: copies
            for report_id, copies in by_report.items()
            if report_id == new_id or not await self.store.knows(report_id)
        }
        notes = [
            report_event(made.unit[0].mail_id, one, new_id, made.at_ms, BY)
            for one in missing.get(new_id, ())
        ]
        return (Delays(stored=stored, by_report=missing) if missing else None), notes

    async def write(self, delays: "Delays") -> list[Event]:
        """Write the reports whose notes are durable; the events that say so."""
        facts, content = delays.stored.facts, delays.stored.content
        events: list[Event] = []
        for report_id, copies in delays.by_report.items():
            told = await self.notices.tell(facts, content, copies, report_id=report_id)
            if told is not None:
                events.append(message_event(told.facts, self.clock.now_ms()))
        return events

    async def _is_known(self, report_id: str) -> bool:
        try:
            return await self.store.knows(report_id)
        except GatewayError:
            return False  # a record of that id would still be refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Reports on delay that are due, by the report's id."""

    stored: StoredMessage
    by_report: Mapping[str, Sequence[ReportedCopy]]
