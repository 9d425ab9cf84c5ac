"""From the result of one attempt to the journal event that decides about the copy; pure."""

from dataclasses import dataclass
from typing import Final

from gateway.core.handoff import CopyReply
from gateway.core.queueing import Claim
from gateway.core.record import CopyState, Event, HoldReason, What
from gateway.delivery.backoff import retry_delay_s
from gateway.settings import DeliverySettings

BY: Final = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """What the decision needs beside claim and reply. ``chance`` is a random number, 0 to 1."""

    settings: DeliverySettings
    now_ms: int
    retention_days: int
    chance: float


def copy_event(claim: Claim, reply: CopyReply, at: Settling) -> Event:
    """What becomes of a copy after an attempt.

    Taken: delivered. 5yz: held for the admin, never bounced. Anything else: tried again with
    backoff, also when the answer to our final dot was lost (only there a copy may arrive twice, for
    SMTP itself cannot tell), until its time in the queue is over; then held for the admin. The last
    attempt is made when that time ends, not before.
    """
    detail: dict[str, object] = {
        "by": BY,
        "attempts": claim.attempts + 1,
        "reply": str(reply),
    }
    if reply.next_hop is not None:
        detail["next_hop"] = str(reply.next_hop)
    if reply.uncertain:
        detail["uncertain"] = True
    detail |= _fate(claim, reply, at)
    return Event(
        at_ms=at.now_ms,
        what=What.COPY,
        mail_id=claim.mail_id,
        recipient=claim.recipient,
        detail=detail,
    )


def _fate(claim: Claim, reply: CopyReply, at: Settling) -> dict[str, object]:
    if reply.delivered:
        return {"state": CopyState.DELIVERED.value}
    if reply.refused:
        return _held(HoldReason.REFUSED_BY_NEXT_HOP, at)
    expires_at_ms = claim.since_ms + round(at.settings.expire_after_s * 1000)
    if at.now_ms >= expires_at_ms:
        return _held(HoldReason.QUEUE_EXPIRED, at)
    delay_s = retry_delay_s(claim.attempts + 1, at.settings, at.chance)
    return {
        "state": claim.state.value,
        "next_attempt_at_ms": min(at.now_ms + round(delay_s * 1000), expires_at_ms),
    }


def _held(reason: HoldReason, at: Settling) -> dict[str, object]:
    return {
        "state": CopyState.HELD.value,
        "hold_reason": reason.value,
        "admin_only": True,
        "expires_at_ms": at.now_ms + at.retention_days * 86_400_000,
    }
