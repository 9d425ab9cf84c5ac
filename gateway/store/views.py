"""What listings give: plain values, and the JSON that scripts rely on (data model, section 7)."""

from dataclasses import dataclass, field

from gateway.core.clock import iso_utc
from gateway.core.ids import is_mail_id
from gateway.core.record import CopyState, MessageFacts
from gateway.store import codec

Json = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineFilter:
    """Which copies are wanted; what is not given does not matter.

    ``text`` are words that must all be in sender or subject, ``sender`` a part of the envelope
    sender or the From field. ``since_ms`` is included, ``until_ms`` is not. ``after`` is the cursor
    of an earlier page.
    """

    states: tuple[CopyState, ...] = (CopyState.HELD,)
    customer: str | None = None
    domain: str = ""
    recipient: str = ""
    sender: str = ""
    text: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    min_score: float | None = None
    max_score: float | None = None
    limit: int = 100
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRow:
    """One recipient's copy and what a listing shows of its message."""

    mail_id: str
    recipient: str
    domain: str
    customer: str
    action: str
    state: str
    hold_reason: str
    admin_only: int
    next_hop: str
    reply: str
    expires_at_ms: int | None
    attempts: int
    next_attempt_at_ms: int | None
    since_ms: int
    received_at_ms: int
    mail_from: str
    from_header: str
    subject: str
    message_id: str
    score: float | None
    verdict: str
    size_bytes: int

    @property
    def cursor(self) -> str:
        """Where the next page starts."""
        return f"{self.mail_id}/{self.recipient}"

    def quarantine_json(self) -> Json:
        """A line of ``quarantine list --json``."""
        return {
            "id": self.mail_id,
            "received_at": iso_utc(self.received_at_ms),
            "customer": self.customer,
            "domain": self.domain,
            "recipient": self.recipient,
            "mail_from": self.mail_from,
            "from": self.from_header,
            "subject": self.subject,
            "score": self.score,
            "verdict": self.verdict,
            "state": self.state,
            "expires_at": _iso(self.expires_at_ms),
            "size_bytes": self.size_bytes,
        }

    def queue_json(self) -> Json:
        """A line of ``queue list --json``."""
        return {
            "id": self.mail_id,
            "recipient": self.recipient,
            "next_hop": self.next_hop,
            "state": self.state,
            "attempts": self.attempts,
            "next_attempt_at": _iso(self.next_attempt_at_ms),
            "last_reply": self.reply,
        }


@dataclass(frozen=True, slots=True)
class EventRow:
    """One thing that happened; ``detail`` is JSON."""

    at_ms: int
    what: str
    mail_id: str
    recipient: str
    detail: str

    def json(self) -> Json:
        """An entry of ``events`` in ``track --json``."""
        detail = codec.parse(self.detail)
        return {"at": iso_utc(self.at_ms), "what": self.what, "detail": _with_iso_times(detail)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """A person's decision about a message."""

    at_ms: int
    recipient: str
    label: str
    person: str
    role: str
    source: str
    reason: str
    feature_spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """Everything the index knows of a message."""

    facts: MessageFacts
    copies: tuple[CopyRow, ...]
    events: tuple[EventRow, ...]
    labels: tuple[LabelRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedCopy:
    """A copy and its story."""

    copy: CopyRow
    events: tuple[EventRow, ...]

    def json(self) -> Json:
        """A line of ``track --json``."""
        return {
            "id": self.copy.mail_id,
            "recipient": self.copy.recipient,
            "mail_from": self.copy.mail_from,
            "subject": self.copy.subject,
            "verdict": self.copy.verdict,
            "action": self.copy.action,
            "events": [event.json() for event in self.events],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows, and the cursor of the next page if there are more."""

    rows: tuple[CopyRow, ...] = field(default=())
    next: str | None = None


def cursor_key(cursor: str) -> tuple[str, str]:
    """Message id and recipient of a cursor.

    Raises:
        ValueError: it is none of ours.
    """
    mail_id, _, recipient = cursor.partition("/")
    if not is_mail_id(mail_id):
        raise ValueError(f"{cursor!r} is no cursor of a listing")
    return mail_id, recipient


def _with_iso_times(detail: object) -> object:
    """Times by name: ``next_attempt_at_ms`` becomes ``next_attempt_at`` in ISO 8601."""
    if not isinstance(detail, dict):
        return detail
    shown: Json = {}
    for key, value in detail.items():
        if key.endswith("_at_ms") and isinstance(value, int):
            shown[key.removesuffix("_ms")] = iso_utc(value)
        else:
            shown[key] = value
    return shown


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso_utc(at_ms)
