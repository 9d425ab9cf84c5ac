"""What became of a copy: its beginning and the events about it, folded in their order; pure.

The order is (time, file, offset). A copy that is settled stays settled, whatever comes later: a
second click on "release" must not deliver it again. Only a delivery is believed at any time,
because it has happened.
"""

from dataclasses import dataclass, replace

from gateway.core.errors import RecordFormatError
from gateway.core.record import Copy, CopyState, Event, HoldReason, MessageFacts
from gateway.store.codec import next_hop_from_json
from gateway.store.fields import Fields

_WAITING = frozenset({CopyState.QUEUED, CopyState.RELEASED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in the journals an event stands; the order in which events count."""

    at_ms: int
    file: str
    offset: int

    @property
    def key(self) -> tuple[int, str, int]:
        """What positions are sorted by."""
        return (self.at_ms, self.file, self.offset)


BEFORE_ALL = Position(at_ms=-1, file="", offset=-1)  # the record file itself


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyNow:
    """Where a copy is now. ``since_ms`` is when it came there, ``changed_at_ms`` its last event."""

    copy: Copy
    state: CopyState
    since_ms: int
    changed_at_ms: int
    next_hop: str
    hold_reason: HoldReason | None
    admin_only: bool
    reply: str
    expires_at_ms: int | None
    attempts: int
    next_attempt_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyChange:
    """What one event says of a copy; None leaves a value as it is."""

    at_ms: int
    state: CopyState
    reply: str | None
    attempts: int | None
    next_attempt_at_ms: int | None
    hold_reason: HoldReason | None
    expires_at_ms: int | None
    admin_only: bool | None
    next_hop: str | None


def beginning(facts: MessageFacts, copy: Copy) -> CopyNow:
    """How a copy stood when the client was answered."""
    since_ms = facts.answered_at_ms or facts.received_at_ms
    return CopyNow(
        copy=copy,
        state=copy.state,
        since_ms=since_ms,
        changed_at_ms=since_ms,
        next_hop="" if copy.next_hop is None else str(copy.next_hop),
        hold_reason=copy.hold_reason,
        admin_only=copy.admin_only,
        reply=copy.reply,
        expires_at_ms=copy.expires_at_ms,
        attempts=0,
        next_attempt_at_ms=since_ms if copy.state in _WAITING else None,
    )


def change_of(event: Event) -> CopyChange:
    """The detail of a COPY event, checked.

    Raises:
        RecordFormatError: a field wrong, or a state this release does not know.
    """
    detail = Fields(event.detail, "copy event")
    admin_only = None if detail.get("admin_only") is None else detail.flag("admin_only")
    return CopyChange(
        at_ms=event.at_ms,
        state=detail.member("state", CopyState),
        reply=None if detail.get("reply") is None else detail.text("reply"),
        attempts=_small(detail.optional_integer("attempts")),
        next_attempt_at_ms=detail.optional_integer("next_attempt_at_ms"),
        hold_reason=detail.optional_member("hold_reason", HoldReason),
        expires_at_ms=detail.optional_integer("expires_at_ms"),
        admin_only=admin_only,
        next_hop=_next_hop(detail.get("next_hop")),
    )


def after(now: CopyNow, change: CopyChange) -> CopyNow:
    """The copy after one event; unchanged when the event comes too late to count."""
    if not _counts(now.state, change.state):
        return now
    moved = change.state is not now.state
    held = change.state is CopyState.HELD
    return replace(
        now,
        state=change.state,
        since_ms=change.at_ms if moved else now.since_ms,
        changed_at_ms=change.at_ms,
        next_hop=now.next_hop if change.next_hop is None else change.next_hop,
        hold_reason=change.hold_reason or (now.hold_reason if held or not moved else None),
        admin_only=now.admin_only if change.admin_only is None else change.admin_only,
        reply=now.reply if change.reply is None else change.reply,
        expires_at_ms=change.expires_at_ms or now.expires_at_ms,
        attempts=now.attempts if change.attempts is None else change.attempts,
        next_attempt_at_ms=_next_attempt(change),
    )


def _counts(was: CopyState, new: CopyState) -> bool:
    if was is CopyState.DELIVERED:
        return False
    if new is CopyState.DELIVERED:
        return True
    if new is CopyState.EXPIRED:  # retention may not have seen yet that a person released it
        return was is CopyState.HELD
    return was.ours


def _next_attempt(change: CopyChange) -> int | None:
    if change.state not in _WAITING:
        return None
    return change.at_ms if change.next_attempt_at_ms is None else change.next_attempt_at_ms


def _small(value: int | None) -> int | None:
    if value is not None and not 0 <= value < 2**31:
        raise RecordFormatError("copy event: field 'attempts' is out of range")
    return value


def _next_hop(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(next_hop_from_json(value))
