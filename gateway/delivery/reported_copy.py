"""One recipient in a report to a sender (RFC 3464 §2.3): what became of the copy, and why; pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.core.handoff import CopyReply, Phase
from gateway.core.mail import Envelope
from gateway.core.record import Event, What
from gateway.core.routing import NextHopKind

_EXPIRED: Final = "4.4.7"  # RFC 3463 §3.5: delivery time expired
_NO_ANSWER: Final = "4.4.1"
_CUT_OFF: Final = "4.4.2"


class ReportAction(StrEnum):
    """What a report says (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"  # taken by a next hop that will not report itself
    DELIVERED = "delivered"  # in the recipient's mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCopy:
    """One copy that is reported on; ``recipient`` is the address key.

    ``expired``: it failed because its time in the queue ran out. ``retry_until_ms``: when the time
    of one that is delayed runs out.
    """

    recipient: str
    reply: CopyReply
    action: ReportAction
    expired: bool = False
    retry_until_ms: int = 0

    @property
    def status(self) -> str:
        """The status code of RFC 3463, of the action's own class whatever the next hop said."""
        said = self.reply.enhanced
        match self.action:
            case ReportAction.FAILED:
                return _EXPIRED if self.expired else _of_class("5", said)
            case ReportAction.DELAYED:
                return _of_class("4", said) if self.reply.code else _silence(self.reply.phase)
            case ReportAction.RELAYED | ReportAction.DELIVERED:
                return _of_class("2", said)


def _of_class(digit: str, said: str) -> str:
    return said if said.startswith(f"{digit}.") else f"{digit}.0.0"


def _silence(phase: Phase) -> str:
    return _CUT_OFF if phase is Phase.AFTER_DOT else _NO_ANSWER


def passed_on(reply: CopyReply) -> ReportAction | None:
    """What to say of a copy that was taken; None when the next hop does the reporting.

    A next hop with DSN has the request now (RFC 3461 §5.2.1). One without makes it ours to say
    that it went there (§5.2.2). LMTP and a Maildir put it into the mailbox (RFC 2033 §1).
    """
    if not reply.delivered or reply.dsn:
        return None
    final = reply.next_hop is None or reply.next_hop.kind is not NextHopKind.SMTP
    return ReportAction.DELIVERED if final else ReportAction.RELAYED


def is_asked_for(envelope: Envelope, recipient: str, action: ReportAction) -> bool:
    """Whether the sender wants a report of this kind (RFC 3461 §4.1).

    Who says nothing is told of failure and delay, as is everyday, and never of success.
    """
    asked = [one.notify for one in envelope.dsn if one.recipient == recipient and one.notify]
    match action:
        case ReportAction.FAILED:
            return all("FAILURE" in notify for notify in asked)
        case ReportAction.DELAYED:
            return all("DELAY" in notify for notify in asked)
        case ReportAction.RELAYED | ReportAction.DELIVERED:
            return any("SUCCESS" in notify for notify in asked)


def report_event(mail_id: str, copy: ReportedCopy, report_id: str, at_ms: int, by: str) -> Event:
    """That the sender is told of a copy, for the index and whoever tracks the mail."""
    return Event(
        at_ms=at_ms,
        what=What.REPORT,
        mail_id=mail_id,
        recipient=copy.recipient,
        detail={"kind": copy.action.value, "report": report_id, "by": by},
    )
