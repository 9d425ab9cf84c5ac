"""One reply for many recipients: the table of the data model, section 4, as a pure function.

What each copy met goes in; what the client hears, what state each copy is in, and whether a record
must be durable before the client hears it comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.core.handoff import CopyReply
from gateway.core.record import Copy, CopyState, HoldReason
from gateway.core.reply import ACCEPTED, REFUSED_BY_NEXT_HOP, TRY_AGAIN, Reply
from gateway.core.routing import OnOutage


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One copy that was to be handed over, and what came of it."""

    copy: Copy
    result: CopyReply
    on_outage: OnOutage


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The client's reply and every copy's state once that reply is given."""

    reply: Reply
    copies: tuple[Copy, ...]

    @property
    def needs_record(self) -> bool:
        """Whether we answer for a copy: its bytes must be on disk before the reply."""
        return any(copy.state.ours for copy in self.copies)


def settle(attempts: Sequence[Attempt], held: Sequence[Copy] = ()) -> Settlement:
    """Decide on one reply for the copies that were handed over and those that are held.

    As soon as one copy is delivered or held, the reply is 250 and whatever else is still ours is
    queued or held for the admin; the client may not send the mail again. Otherwise nothing is ours
    yet and the table's pure rows apply.
    """
    results = [attempt.result for attempt in attempts]
    if held or any(result.delivered for result in results):
        return _taken(attempts, held)
    if all(result.refused for result in results):
        return _refused(attempts)
    if any(result.uncertain for result in results):
        return _deferred(attempts)
    waiting = [attempt for attempt in attempts if attempt.result.may_retry]
    if any(attempt.on_outage is OnOutage.DEFER for attempt in waiting):
        return _deferred(attempts)
    return _taken(attempts, held)


def _taken(attempts: Sequence[Attempt], held: Sequence[Copy]) -> Settlement:
    copies = [_copy_of_ours(attempt) for attempt in attempts]
    return Settlement(reply=ACCEPTED, copies=(*copies, *held))


def _copy_of_ours(attempt: Attempt) -> Copy:
    text = str(attempt.result)
    hop = attempt.result.next_hop or attempt.copy.next_hop
    if attempt.result.delivered:
        return replace(attempt.copy, state=CopyState.DELIVERED, reply=text, next_hop=hop)
    if attempt.result.refused:
        return replace(
            attempt.copy,
            state=CopyState.HELD,
            hold_reason=HoldReason.REFUSED_BY_NEXT_HOP,
            admin_only=True,
            reply=text,
            next_hop=hop,
        )
    # 4yz, no answer, or no answer after the dot beside a copy that was taken: the client must not
    # send again, so it is ours to try; where the answer was lost only the next hop knows.
    return replace(attempt.copy, state=CopyState.QUEUED, reply=text, next_hop=hop)


def _refused(attempts: Sequence[Attempt]) -> Settlement:
    first = attempts[0].result
    reply = Reply(
        code=first.code,
        enhanced=first.enhanced if first.enhanced.startswith("5.") else "5.0.0",
        text=REFUSED_BY_NEXT_HOP.text,
    )
    return Settlement(reply=reply, copies=_all(attempts, CopyState.REFUSED))


def _deferred(attempts: Sequence[Attempt]) -> Settlement:
    return Settlement(reply=TRY_AGAIN, copies=_all(attempts, CopyState.DEFERRED))


def _all(attempts: Sequence[Attempt], state: CopyState) -> tuple[Copy, ...]:
    return tuple(
        replace(
            attempt.copy,
            state=state,
            reply=str(attempt.result),
            next_hop=attempt.result.next_hop or attempt.copy.next_hop,
        )
        for attempt in attempts
    )
