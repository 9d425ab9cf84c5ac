"""A person's decisions about held mail, each a durable line of the journal.

Nothing is delivered or removed here: the keeper reads the journal and acts. Deleting is never a
label, and a label releases nothing (issue: retraining that people can trust).
"""

import base64
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.record import CopyState, Event, MessageFacts, What


class ReviewError(GatewayError):
    """What was asked for cannot be done with this mail; the text says why."""


class LabelValue(StrEnum):
    """What a person says a mail is."""

    HAM = "ham"
    SPAM = "spam"


class HeldCopy(Protocol):
    """One row of the quarantine listing, as far as a decision needs it."""

    @property
    def recipient(self) -> str:
        """The address key."""

    @property
    def state(self) -> str:
        """A CopyState."""

    @property
    def admin_only(self) -> int:
        """Whether only administrators may release it."""


class Listings(Protocol):
    """Where the copies of a message are now (gateway.store.queries)."""

    def copies(self, mail_id: str) -> Sequence[HeldCopy]:
        """All copies; empty for a message the index does not know."""


class Records(Protocol):
    """The bytes that came (gateway.store.records)."""

    def read(self, mail_id: str) -> MessageFacts:
        """What is known of the message."""

    def content(self, mail_id: str) -> bytes | mmap.mmap:
        """Its original bytes."""


class Journal(Protocol):
    """This process's journal (gateway.store.journal)."""

    def append_durable_now(self, events: Sequence[Event]) -> None:
        """Write and fsync."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """Who decides, in which role, and through what."""

    person: str
    role: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The quarantine in the hands of one reviewer."""

    listings: Listings
    records: Records
    journal: Journal
    clock: Clock
    reviewer: Reviewer

    def release(self, mail_id: str, recipient: str = "") -> list[str]:
        """Send held copies on, byte for byte and with their original envelope; their recipients.

        Raises:
            ReviewError: unknown, not held, or for administrators only.
        """
        copies = self._held(mail_id, recipient)
        if any(copy.admin_only for copy in copies) and self.reviewer.role != "admin":
            raise ReviewError(f"{mail_id} may only be released by an administrator")
        now = self.clock.now_ms()
        return self._settle(mail_id, copies, CopyState.RELEASED, {"next_attempt_at_ms": now})

    def delete(self, mail_id: str, recipient: str = "") -> list[str]:
        """Remove held copies; their recipients. Says nothing about what the mail was.

        Raises:
            ReviewError: unknown or not held.
        """
        return self._settle(mail_id, self._held(mail_id, recipient), CopyState.DELETED, {})

    def label(self, mail_id: str, label: LabelValue, reason: str = "") -> None:
        """Say what a mail is; its features are kept with the label and outlive the mail.

        Raises:
            ReviewError: its bytes are no longer kept.
        """
        # NumPy takes 0.2 s to import: only whoever labels waits for it.
        from models.features import FEATURE_SPEC, extract  # noqa: PLC0415
        from models.message import scan  # noqa: PLC0415

        content = self.records.content(mail_id)
        features = extract(scan(content), bytes(content)).to_bytes()
        detail: dict[str, object] = {
            "label": label.value,
            "person": self.reviewer.person,
            "role": self.reviewer.role,
            "source": self.reviewer.source,
            "reason": reason,
            "feature_spec": FEATURE_SPEC,
            "features": base64.b64encode(features).decode("ascii"),
        }
        event = Event(at_ms=self.clock.now_ms(), what=What.LABEL, mail_id=mail_id, detail=detail)
        self.journal.append_durable_now([event])

    def viewed(self, mail_id: str) -> None:
        """Note that content was looked at (data model, section 2)."""
        detail: dict[str, object] = {"person": self.reviewer.person, "action": "view"}
        event = Event(at_ms=self.clock.now_ms(), what=What.AUDIT, mail_id=mail_id, detail=detail)
        self.journal.append_durable_now([event])

    def _held(self, mail_id: str, recipient: str) -> list[HeldCopy]:
        copies = self.listings.copies(mail_id)
        if not copies:
            raise ReviewError(f"no mail with the id {mail_id}; see: schwamm quarantine list")
        chosen = [copy for copy in copies if not recipient or copy.recipient == recipient.lower()]
        if not chosen:
            known = ", ".join(copy.recipient for copy in copies)
            raise ReviewError(f"{mail_id} has no copy for {recipient}; there are: {known}")
        held = [copy for copy in chosen if copy.state == CopyState.HELD]
        if not held:
            states = ", ".join(f"{copy.recipient}: {copy.state}" for copy in chosen)
            raise ReviewError(f"{mail_id} is not held any more ({states})")
        return held

    def _settle(
        self, mail_id: str, copies: Sequence[HeldCopy], state: CopyState, more: dict[str, object]
    ) -> list[str]:
        now = self.clock.now_ms()
        detail: dict[str, object] = {
            "state": state.value,
            "by": self.reviewer.person,
            "source": self.reviewer.source,
            **more,
        }
        events = [
            Event(
                at_ms=now,
                what=What.COPY,
                mail_id=mail_id,
                recipient=copy.recipient,
                detail=detail,
            )
            for copy in copies
        ]
        self.journal.append_durable_now(events)
        return [copy.recipient for copy in copies]
