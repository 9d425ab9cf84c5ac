"""What is remembered of a message: its record on disk and the events of its copies.

The record file is written once and never changed; what happens later is in the journal (data model,
section 1).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.mail import Envelope, Session
from gateway.core.routing import NextHop
from gateway.core.verdict import Action, Verdict


class CopyState(StrEnum):
    """Where one recipient's copy is."""

    DELIVERED = "delivered"  # the next hop took it
    QUEUED = "queued"  # ours; the keeper will deliver it
    HELD = "held"  # in the quarantine
    RELEASED = "released"  # a person released it; queued for delivery
    REFUSED = "refused"  # the client heard 5xx, or its sender was told in a report
    DEFERRED = "deferred"  # the client heard 4xx and comes back
    DELETED = "deleted"  # a person deleted it
    EXPIRED = "expired"  # its retention ended

    @property
    def ours(self) -> bool:
        """Whether the gateway still answers for this copy and must keep its bytes."""
        return self in {CopyState.QUEUED, CopyState.HELD, CopyState.RELEASED}


class HoldReason(StrEnum):
    """Why a copy lies in the quarantine."""

    SPAM = "spam"
    MALWARE = "malware"
    REFUSED_BY_NEXT_HOP = "refused_by_next_hop"  # 5xx for some copies: held for the admin
    UNPARSED = "unparsed"  # killed a worker twice
    MAIL_LOOP = "mail_loop"  # came back to the same recipient too often
    QUEUE_EXPIRED = "queue_expired"  # could not be delivered in time


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One recipient's copy as it stood when the client was answered.

    ``recipient`` is the address key, ``rcpt_to`` the spelling that came and goes out again.
    ``reply`` is what the next hop or we said last, for the admin.
    """

    recipient: str
    rcpt_to: str
    domain: str
    customer: str
    action: Action
    state: CopyState
    next_hop: NextHop | None = None
    hold_reason: HoldReason | None = None
    reply: str = ""
    expires_at_ms: int | None = None
    admin_only: bool = False  # only administrators may release (malware, refused by the next hop)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFacts:
    """Everything known of a message but its bytes; what the index shows and a record carries.

    ``answered_at_ms`` and ``handed_off_at_ms`` are availability facts. ``subject`` and
    ``from_header`` are decoded and bounded.
    """

    id: str
    node: str
    direction: str  # "in" or "out"
    received_at_ms: int
    answered_at_ms: int | None
    handed_off_at_ms: int | None
    session: Session
    envelope: Envelope
    size_bytes: int
    sha256: str
    subject: str
    from_header: str
    message_id: str
    verdict: Verdict | None
    copies: tuple[Copy, ...]
    generation: int
    reply: str  # what the client heard; empty while not answered
    key_id: str = ""  # for encryption at rest, later
    trace: str = ""  # our Received field as it goes out in front of this message


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the journal.

    ``what`` is one of the names below; ``recipient`` is empty for events of the whole message or of
    none; ``detail`` holds plain JSON values only.
    """

    at_ms: int
    what: str
    mail_id: str = ""
    recipient: str = ""
    detail: dict[str, object] = field(default_factory=dict)


class What:
    """Names of journal events; a contract like the record format."""

    MESSAGE = "message"  # detail: the MessageFacts
    COPY = "copy"  # detail: state, reply, attempts, next_attempt_at_ms, by
    REPORT = "report"  # the sender is told of a copy; detail: kind, report (an id), by
    LABEL = "label"  # detail: label, person, role, source, reason, feature_spec, features
    AVAILABILITY = "availability"  # detail: kind, subject, up
    AUDIT = "audit"  # detail: person, action
