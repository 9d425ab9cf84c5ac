"""Facts and events as rows of the index; pure, and safe for what hostile mail puts into text."""

import re

from gateway.core.errors import RecordFormatError
from gateway.core.record import Event, MessageFacts, What
from gateway.store import codec
from gateway.store.fields import Fields
from gateway.store.folding import CopyNow, Position

Row = dict[str, object]

_UNFIT = re.compile("[\0\ud800-\udfff]")  # PostgreSQL has no NUL, no encoding has lone surrogates
_LONGEST = 2000  # of any text that is compared or sorted; an index entry must fit on a page


def fit(text: str) -> str:
    """Text that both databases take, bounded."""
    return _UNFIT.sub("\ufffd", text[:_LONGEST])


def message_row(facts: MessageFacts, text: str, node: str, position: Position) -> Row:
    """A message; ``text`` is all of its facts as JSON."""
    verdict = facts.verdict
    customers = {copy.customer for copy in facts.copies}
    search = "\n".join((facts.from_header, facts.subject, facts.envelope.mail_from))
    return {
        "id": facts.id,
        "node": node,
        "direction": fit(facts.direction),
        "customer": fit(customers.pop()) if len(customers) == 1 else "",
        "received_at_ms": facts.received_at_ms,
        "answered_at_ms": facts.answered_at_ms,
        "handed_off_at_ms": facts.handed_off_at_ms,
        "mail_from": fit(facts.envelope.mail_from),
        "sender_key": fit(facts.envelope.mail_from.casefold()),
        "from_header": fit(facts.from_header),
        "from_key": fit(facts.from_header.casefold()),
        "subject": fit(facts.subject),
        "message_id": fit(facts.message_id),
        "search": fit(search.casefold()),
        "size_bytes": facts.size_bytes,
        "sha256": fit(facts.sha256),
        "score": None if verdict is None else verdict.score,
        "verdict": "" if verdict is None else verdict.kind.value,
        "model_id": "" if verdict is None else fit(verdict.model_id),
        "generation": facts.generation,
        "reply": fit(facts.reply),
        "source_at_ms": position.at_ms,
        "source_file": position.file,
        "source_offset": position.offset,
        "facts": text,
    }


def copy_row(mail_id: str, node: str, now: CopyNow) -> Row:
    """A copy as it is now, without the columns of its lease."""
    copy = now.copy
    return {
        "mail_id": mail_id,
        "recipient": fit(copy.recipient),
        "node": node,
        "rcpt_to": fit(copy.rcpt_to),
        "domain": fit(copy.domain),
        "customer": fit(copy.customer),
        "action": copy.action.value,
        "state": now.state.value,
        "since_ms": now.since_ms,
        "changed_at_ms": now.changed_at_ms,
        "next_hop": fit(now.next_hop),
        "hold_reason": "" if now.hold_reason is None else now.hold_reason.value,
        "admin_only": int(now.admin_only),
        "reply": fit(now.reply),
        "expires_at_ms": now.expires_at_ms,
        "attempts": now.attempts,
        "next_attempt_at_ms": now.next_attempt_at_ms,
    }


def event_row(event: Event, node: str, position: Position, customer: str) -> Row:
    """Any event about a message; what lies in another table is not repeated."""
    detail = event.detail
    if event.what == What.MESSAGE:
        detail = {"reply": detail.get("reply", "")}
    elif event.what == What.LABEL:
        detail = {name: detail[name] for name in detail if name != "features"}
    return {
        "node": node,
        "file": position.file,
        "offset": position.offset,
        "at_ms": event.at_ms,
        "what": fit(event.what),
        "mail_id": fit(event.mail_id),
        "recipient": fit(event.recipient),
        "customer": customer,
        "detail": codec.dump(detail),
    }


def label_row(event: Event, node: str, position: Position, customer: str) -> Row:
    """A person's decision with the features it was made on.

    Raises:
        RecordFormatError: a field wrong.
    """
    detail = Fields(event.detail, "label event")
    return {
        "node": node,
        "file": position.file,
        "offset": position.offset,
        "at_ms": event.at_ms,
        "mail_id": fit(event.mail_id),
        "recipient": fit(event.recipient),
        "customer": customer,
        "label": fit(detail.text("label")),
        "person": fit(detail.text("person", "")),
        "role": fit(detail.text("role", "")),
        "source": fit(detail.text("source", "")),
        "reason": fit(detail.text("reason", "")),
        "feature_spec": fit(detail.text("feature_spec", "")),
        "features": codec.dump(detail.get("features")),
    }


def availability_row(event: Event, node: str, position: Position) -> Row:
    """Something went down, came up, or was alive.

    Raises:
        RecordFormatError: a field wrong.
    """
    detail = Fields(event.detail, "availability event")
    known = {"kind", "subject", "up"}
    return {
        "node": node,
        "file": position.file,
        "offset": position.offset,
        "at_ms": event.at_ms,
        "kind": fit(detail.text("kind")),
        "subject": fit(detail.text("subject", "")),
        "up": int(detail.flag("up")),
        "detail": codec.dump({k: v for k, v in event.detail.items() if k not in known}),
    }


def event_of_row(at_ms: int, what: str, mail_id: str, recipient: str, detail: str) -> Event:
    """An event as it was stored.

    Raises:
        RecordFormatError: its detail is damaged.
    """
    parsed = codec.parse(detail)
    if not isinstance(parsed, dict):
        raise RecordFormatError(f"the detail of an event of {mail_id} is no object")
    return Event(at_ms=at_ms, what=what, mail_id=mail_id, recipient=recipient, detail=parsed)
