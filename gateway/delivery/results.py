"""From the result of one attempt to the journal event that decides about the copy; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from gateway.core.handoff import CopyReply, Phase, printable
from gateway.core.queueing import Claim
from gateway.core.record import Copy, CopyState, Event, HoldReason, MessageFacts, What
from gateway.core.verdict import Action
from gateway.delivery.backoff import retry_delay_s
from gateway.settings import DeliverySettings

BY: Final = "queue"
_OF_HELD: Final = frozenset({"hold_reason", "admin_only", "expires_at_ms"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """What the decision needs beside claim and reply. ``chance`` is a random number, 0 to 1."""

    settings: DeliverySettings
    now_ms: int
    retention_days: int
    chance: float
    queue_hours: int = 0  # the domain's own limit; 0: the settings'


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
    expires_at_ms = waits_until_ms(claim, at)
    if at.now_ms >= expires_at_ms:
        return _held(HoldReason.QUEUE_EXPIRED, at)
    delay_s = retry_delay_s(claim.attempts + 1, at.settings, at.chance)
    return {
        "state": claim.state.value,
        "next_attempt_at_ms": min(at.now_ms + round(delay_s * 1000), expires_at_ms),
    }


def waits_until_ms(claim: Claim, at: Settling) -> int:
    """When a copy's time in the queue is over."""
    expires_after_s = at.queue_hours * 3600 or at.settings.expire_after_s
    return claim.since_ms + round(expires_after_s * 1000)


def _held(reason: HoldReason, at: Settling) -> dict[str, object]:
    return {
        "state": CopyState.HELD.value,
        "hold_reason": reason.value,
        "admin_only": True,
        "expires_at_ms": at.now_ms + at.retention_days * 86_400_000,
    }


def gave_up(claim: Claim, event: Event) -> bool | None:
    """Whether a copy's time ran out (True) or it was refused (False); None when it lives on.

    A copy that a person released is that person's: whoever sent it is not told of it.
    """
    if claim.state is not CopyState.QUEUED:
        return None
    reasons = {HoldReason.QUEUE_EXPIRED.value: True, HoldReason.REFUSED_BY_NEXT_HOP.value: False}
    return reasons.get(str(event.detail.get("hold_reason")))


def reported(event: Event) -> Event:
    """The same end of a copy, now that its sender knows of it: nothing is held for the admin.

    Also when its time ran out: EXPIRED is for what retention removes from the quarantine, and
    counts for nothing else.
    """
    kept = {key: event.detail[key] for key in event.detail.keys() - _OF_HELD}
    return replace(event, detail={**kept, "state": CopyState.REFUSED.value, "reported": True})


def recorded_copy(facts: MessageFacts, claim: Claim) -> Copy:
    """The copy as the record has it, in the state it has now."""
    for copy in facts.copies:
        if copy.recipient == claim.recipient:
            return replace(copy, state=claim.state)
    spelling = [one.spelling for one in facts.envelope.rcpt_to if one.key == claim.recipient]
    return Copy(
        recipient=claim.recipient,
        rcpt_to=spelling[0] if spelling else claim.recipient,
        domain=claim.domain,
        customer="",
        action=Action.ACCEPT,
        state=claim.state,
        next_hop=claim.next_hop,
    )


def all_without_answer(unit: Iterable[Claim], why: str) -> Mapping[str, CopyReply]:
    """What an attempt comes to when the record cannot be had: it is made again."""
    return {
        claim.recipient: CopyReply(
            recipient=claim.recipient, phase=Phase.BEFORE_DOT, text=printable(why)
        )
        for claim in unit
    }
