"""A person's decisions about held mail, each a durable line of the journal.

Nothing is delivered or removed here: the keeper reads the journal and acts. Deleting is never a
label, and a label releases nothing (issue: retraining that people can trust).
"""

import base64
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.lesson import Lesson
from gateway.core.record import CopyState, Event, MessageFacts, What
from gateway.locale import N_
from gateway.store.errors import RecordMissingError
from gateway.store.features import KeptFeatures

UNKNOWN_MAIL = N_("no mail with the id {id}; see: schwamm quarantine list")


class ReviewError(GatewayError):
    """What was asked for cannot be done with this mail; the text says why."""


class LabelValue(StrEnum):
    """What a person says a mail is."""

    HAM = "ham"
    SPAM = "spam"
    NONE = "none"  # the label is taken back: training no longer learns from this mail


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

    def has_label_features(self, mail_id: str) -> bool:
        """Whether an earlier label kept what training needs of this message."""


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
    """The quarantine in the hands of one reviewer.

    ``features`` finds what was kept of a mail that went on (gateway.store.features).
    """

    listings: Listings
    records: Records
    features: Callable[[str], KeptFeatures | None]
    journal: Journal
    clock: Clock
    reviewer: Reviewer

    def release(self, mail_id: str, recipient: str = "") -> list[str]:
        """Send held copies on, byte for byte and with their original envelope; their recipients.

        This says nothing about what the mail was.

        Raises:
            ReviewError: unknown, not held, or for administrators only.
        """
        copies = self._releasable(mail_id, recipient)
        return self._settle(mail_id, copies, CopyState.RELEASED, self._at_once())

    def release_as_ham(self, mail_id: str, recipient: str = "") -> list[str]:
        """Release, and label as ham in the same durable write; the recipients.

        Raises:
            ReviewError: as ``release`` and ``label``; then neither happened.
        """
        copies = self._releasable(mail_id, recipient)
        # Made first: once it is delivered, the keeper may remove the bytes.
        labelled = self._label_event(mail_id, LabelValue.HAM, "released")
        return self._settle(mail_id, copies, CopyState.RELEASED, self._at_once(), [labelled])

    def delete(self, mail_id: str, recipient: str = "") -> list[str]:
        """Remove held copies; their recipients. Says nothing about what the mail was.

        Raises:
            ReviewError: unknown or not held.
        """
        return self._settle(mail_id, self._held(mail_id, recipient), CopyState.DELETED, {})

    def label(self, mail_id: str, label: LabelValue, reason: str = "") -> None:
        """Say what a mail is, or take that back.

        Its features are kept with the label and outlive the mail, so a label can be changed when
        the mail is gone.

        Raises:
            ReviewError: neither its bytes nor its features are kept any more.
        """
        # What was known of a mail is purged in the end; a label of it stays and can be changed.
        if not (self.listings.copies(mail_id) or self.listings.has_label_features(mail_id)):
            raise ReviewError(UNKNOWN_MAIL, id=mail_id)
        self.journal.append_durable_now([self._label_event(mail_id, label, reason)])

    def viewed(self, mail_id: str) -> None:
        """Note that content was looked at (data model, section 2)."""
        detail: dict[str, object] = {"person": self.reviewer.person, "action": "view"}
        event = Event(at_ms=self.clock.now_ms(), what=What.AUDIT, mail_id=mail_id, detail=detail)
        self.journal.append_durable_now([event])

    def _label_event(self, mail_id: str, label: LabelValue, reason: str) -> Event:
        detail: dict[str, object] = {
            "label": label.value,
            "person": self.reviewer.person,
            "role": self.reviewer.role,
            "source": self.reviewer.source,
            "reason": reason,
        }
        try:
            if label is not LabelValue.NONE:
                detail |= self._lesson(mail_id)
        except RecordMissingError:
            if not self.listings.has_label_features(mail_id):
                raise ReviewError(
                    N_(
                        "{id} can no longer be labelled: nothing of it is kept any more; save the "
                        "mail from its mailbox, then: schwamm corpus import FILE --label spam"
                    ),
                    id=mail_id,
                ) from None
        return Event(at_ms=self.clock.now_ms(), what=What.LABEL, mail_id=mail_id, detail=detail)

    def _lesson(self, mail_id: str) -> dict[str, object]:
        """What training needs of a message once it is gone.

        Raises:
            RecordMissingError: neither its bytes nor its features are kept any more.
        """
        try:
            return self._lesson_of_bytes(mail_id)
        except RecordMissingError:
            kept = self.features(mail_id)
            if kept is None:
                raise
        return {
            "customer": kept.customer,
            "feature_spec": kept.lesson.feature_spec,
            "features": _kept(kept.lesson),
        }

    def _lesson_of_bytes(self, mail_id: str) -> dict[str, object]:
        # NumPy takes 0.2 s to import: only whoever labels waits for it.
        from models.features import FEATURE_SPEC, extract  # noqa: PLC0415
        from models.fingerprint import fingerprint_of  # noqa: PLC0415
        from models.message import scan  # noqa: PLC0415

        facts = self.records.read(mail_id)
        content = self.records.content(mail_id)
        mail = scan(content)
        customers = {copy.customer for copy in facts.copies}
        lesson = Lesson(
            feature_spec=FEATURE_SPEC,
            hashes=extract(mail, bytes(content)).to_bytes(),
            fingerprint=fingerprint_of(mail).to_bytes(),
            arrived_at_ms=facts.received_at_ms,
        )
        return {
            "customer": customers.pop() if len(customers) == 1 else "",
            "feature_spec": lesson.feature_spec,
            "features": _kept(lesson),
        }

    def _at_once(self) -> dict[str, object]:
        return {"next_attempt_at_ms": self.clock.now_ms()}

    def _releasable(self, mail_id: str, recipient: str) -> list[HeldCopy]:
        copies = self._held(mail_id, recipient)
        if any(copy.admin_only for copy in copies) and self.reviewer.role != "admin":
            raise ReviewError(N_("{id} may only be released by an administrator"), id=mail_id)
        return copies

    def _held(self, mail_id: str, recipient: str) -> list[HeldCopy]:
        copies = self.listings.copies(mail_id)
        if not copies:
            raise ReviewError(UNKNOWN_MAIL, id=mail_id)
        chosen = [copy for copy in copies if not recipient or copy.recipient == recipient.lower()]
        if not chosen:
            known = ", ".join(copy.recipient for copy in copies)
            raise ReviewError(
                N_("{id} has no copy for {recipient}; there are: {known}"),
                id=mail_id,
                recipient=recipient,
                known=known,
            )
        held = [copy for copy in chosen if copy.state == CopyState.HELD]
        if not held:
            states = ", ".join(f"{copy.recipient}: {copy.state}" for copy in chosen)
            raise ReviewError(N_("{id} is not held any more ({states})"), id=mail_id, states=states)
        return held

    def _settle(
        self,
        mail_id: str,
        copies: Sequence[HeldCopy],
        state: CopyState,
        more: dict[str, object],
        together_with: Sequence[Event] = (),
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
        self.journal.append_durable_now([*together_with, *events])
        return [copy.recipient for copy in copies]


def _kept(lesson: Lesson) -> dict[str, object]:
    return {
        "hashes": _base64(lesson.hashes),
        "fingerprint": _base64(lesson.fingerprint),
        "arrived_at_ms": lesson.arrived_at_ms,
    }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
