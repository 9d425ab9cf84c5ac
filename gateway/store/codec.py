"""Facts and events as plain JSON and back: one explicit, versioned place for both directions.

Writing leaves out what has its default value. Reading takes what it knows, ignores fields that a
newer release added, and refuses a newer major version, because that one may mean something else by
an old name.
"""

import json
import re
from collections.abc import Callable
from typing import cast

from gateway.core.addresses import Address
from gateway.core.errors import RecordFormatError
from gateway.core.mail import DsnRequest, Envelope, Session
from gateway.core.record import Copy, CopyState, Event, HoldReason, MessageFacts, What
from gateway.core.routing import NextHop, NextHopKind, TlsPolicy
from gateway.core.verdict import Action, Verdict
from gateway.store.fields import Fields
from gateway.store.verdict_codec import (
    verdict_from_json,
    verdict_outline_from_json,
    verdict_to_json,
)

FACTS_VERSION = 1
_MESSAGE_HEAD = re.compile(rb'\{"v":1,"at":\d+,"what":"message","id":"[0-9a-z-]+","d":(?=\{)')
EVENT_VERSION = 1

Json = dict[str, object]

_plain = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_escaped = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
# What could move a terminal's cursor, split a line or turn text around is escaped, and with it
# whatever no UTF-8 can carry; everything else stays readable.
_UNFIT = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def dump(value: object) -> str:
    """One line of JSON, readable, safe to print and always encodable as UTF-8.

    Raises:
        ValueError: for numbers that JSON does not have (NaN, infinity).
    """
    text = _plain.encode(value)
    return _escaped.encode(value) if _UNFIT.search(text) else text


def dump_pretty(value: Json) -> str:
    """JSON with a line for every field, and for every entry of a list of objects."""
    lines = []
    for key, field in value.items():
        if isinstance(field, list) and field and isinstance(field[0], dict):
            entries = ",\n  ".join(dump(entry) for entry in field)
            lines.append(f"{dump(key)}: [\n  {entries}\n ]")
        else:
            lines.append(f"{dump(key)}: {dump(field)}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def facts_to_json(facts: MessageFacts) -> Json:
    """What is known of a message, as plain JSON values."""
    data: Json = {
        "v": FACTS_VERSION,
        "id": facts.id,
        "node": facts.node,
        "direction": facts.direction,
        "received_at_ms": facts.received_at_ms,
        "answered_at_ms": facts.answered_at_ms,
        "handed_off_at_ms": facts.handed_off_at_ms,
        "reply": facts.reply,
        "subject": facts.subject,
        "from_header": facts.from_header,
        "message_id": facts.message_id,
        "size_bytes": facts.size_bytes,
        "sha256": facts.sha256,
        "generation": facts.generation,
        "session": _session_to_json(facts.session),
        "envelope": _envelope_to_json(facts.envelope),
        "copies": [_copy_to_json(copy) for copy in facts.copies],
    }
    if facts.verdict is not None:
        data["verdict"] = verdict_to_json(facts.verdict)
    if facts.key_id:
        data["key_id"] = facts.key_id
    if facts.trace:
        data["trace"] = facts.trace
    return data


def facts_from_json(value: object) -> MessageFacts:
    """The other way.

    Raises:
        RecordFormatError: what is missing or wrong, or that a newer release wrote it.
    """
    return _facts_from_json(value, verdict_from_json)


def outline_from_json(value: object) -> MessageFacts:
    """The same without the verdict's symbols, words and outcomes, at half the cost.

    Raises:
        RecordFormatError: see ``facts_from_json``.
    """
    return _facts_from_json(value, verdict_outline_from_json)


def _facts_from_json(value: object, read_verdict: Callable[[object], Verdict]) -> MessageFacts:
    data = Fields(value, "facts")
    _refuse_newer(data, FACTS_VERSION)
    verdict = data.get("verdict")
    return MessageFacts(
        id=data.text("id"),
        node=data.text("node"),
        direction=data.text("direction"),
        received_at_ms=data.integer("received_at_ms"),
        answered_at_ms=data.optional_integer("answered_at_ms"),
        handed_off_at_ms=data.optional_integer("handed_off_at_ms"),
        session=_session_from_json(data.get("session")),
        envelope=_envelope_from_json(data.get("envelope")),
        size_bytes=data.integer("size_bytes"),
        sha256=data.text("sha256"),
        subject=data.text("subject", ""),
        from_header=data.text("from_header", ""),
        message_id=data.text("message_id", ""),
        verdict=None if verdict is None else read_verdict(verdict),
        copies=tuple(_copy_from_json(copy) for copy in data.entries("copies")),
        generation=data.integer("generation"),
        reply=data.text("reply", ""),
        key_id=data.text("key_id", ""),
        trace=data.text("trace", ""),
    )


def message_event(facts: MessageFacts, at_ms: int) -> Event:
    """The journal's line about a message that was just answered."""
    return Event(at_ms=at_ms, what=What.MESSAGE, mail_id=facts.id, detail=facts_to_json(facts))


def event_to_line(event: Event) -> bytes:
    """One line of a journal, newline included.

    Raises:
        ValueError, TypeError: for a detail that is no plain JSON.
    """
    data: Json = {"v": EVENT_VERSION, "at": event.at_ms, "what": event.what}
    if event.mail_id:
        data["id"] = event.mail_id
    if event.recipient:
        data["rcpt"] = event.recipient
    if event.detail:
        data["d"] = event.detail
    return dump(data).encode() + b"\n"


def event_from_line(line: bytes) -> Event:
    """The other way.

    Raises:
        RecordFormatError: no JSON, a field missing or wrong, or a newer major version.
    """
    return _event(Fields(parse(line), "event"))


def event_and_text(line: bytes) -> tuple[Event, str | None]:
    """An event and, of a message's, the detail as it was written: the index keeps it like that.

    The text is None when the line is not laid out as ours are.

    Raises:
        RecordFormatError: see ``event_from_line``.
    """
    value = parse(line)
    event = _event(Fields(value, "event"))
    head = _MESSAGE_HEAD.match(line)
    if head is None or not isinstance(value, dict) or next(reversed(value)) != "d":
        return event, None
    return event, line[head.end() : -2].decode()


def _event(data: Fields) -> Event:
    _refuse_newer(data, EVENT_VERSION)
    return Event(
        at_ms=data.integer("at"),
        what=data.text("what"),
        mail_id=data.text("id", ""),
        recipient=data.text("rcpt", ""),
        detail=data.mapping("d"),
    )


def parse(text: bytes | str) -> object:
    """JSON of a file of ours that a crash, a disk or a hand may have damaged.

    Raises:
        RecordFormatError: it is no JSON, or nested beyond reason.
    """
    try:
        return cast("object", json.loads(text, parse_constant=_no_number))
    except (ValueError, RecursionError) as error:
        raise RecordFormatError(f"not valid JSON: {error}") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def next_hop_to_json(hop: NextHop) -> Json:
    """A target with only the fields its kind uses."""
    data: Json = {"kind": hop.kind.value}
    if hop.host:
        data["host"] = hop.host
    if hop.port:
        data["port"] = hop.port
    if hop.path:
        data["path"] = hop.path
    if hop.tls is not TlsPolicy.MAY:
        data["tls"] = hop.tls.value
    return data


def next_hop_from_json(value: object) -> NextHop:
    """The other way.

    Raises:
        RecordFormatError: a kind that this release does not know.
    """
    data = Fields(value, "next hop")
    return NextHop(
        kind=data.member("kind", NextHopKind),
        host=data.text("host", ""),
        port=data.integer("port", 0),
        path=data.text("path", ""),
        tls=data.optional_member("tls", TlsPolicy) or TlsPolicy.MAY,
    )


def _refuse_newer(data: Fields, known: int) -> None:
    version = data.integer("v")
    if version != known:
        raise RecordFormatError(
            f"{data.where} of format {version}; this release reads format {known}: "
            "use the release that wrote it, or a newer one"
        )


def _session_to_json(session: Session) -> Json:
    data: Json = {
        "ip": session.ip,
        "port": session.port,
        "helo": session.helo,
        "esmtp": session.esmtp,
    }
    for name in ("tls_version", "tls_cipher", "authenticated_as", "rdns", "connected_at_ms"):
        if value := getattr(session, name):
            data[name] = value
    return data


def _session_from_json(value: object) -> Session:
    data = Fields(value, "session")
    return Session(
        ip=data.text("ip"),
        port=data.integer("port"),
        helo=data.text("helo"),
        esmtp=data.flag("esmtp"),
        tls_version=data.text("tls_version", ""),
        tls_cipher=data.text("tls_cipher", ""),
        authenticated_as=data.text("authenticated_as", ""),
        rdns=data.text("rdns", ""),
        connected_at_ms=data.integer("connected_at_ms", 0),
    )


def _envelope_to_json(envelope: Envelope) -> Json:
    data: Json = {
        "mail_from": envelope.mail_from,
        "rcpt_to": [
            {"spelling": address.spelling, "local": address.local, "domain": address.domain}
            for address in envelope.rcpt_to
        ],
    }
    if envelope.smtputf8:
        data["smtputf8"] = True
    if envelope.body_8bit:
        data["body_8bit"] = True
    if envelope.declared_size is not None:
        data["declared_size"] = envelope.declared_size
    if envelope.ret:
        data["ret"] = envelope.ret
    if envelope.envid:
        data["envid"] = envelope.envid
    if envelope.dsn:
        data["dsn"] = [
            {"recipient": one.recipient, "notify": one.notify, "orcpt": one.orcpt}
            for one in envelope.dsn
        ]
    return data


def _envelope_from_json(value: object) -> Envelope:
    data = Fields(value, "envelope")
    return Envelope(
        mail_from=data.text("mail_from"),
        rcpt_to=tuple(_address_from_json(entry) for entry in data.entries("rcpt_to")),
        smtputf8=data.flag("smtputf8"),
        body_8bit=data.flag("body_8bit"),
        declared_size=data.optional_integer("declared_size"),
        ret=data.text("ret", ""),
        envid=data.text("envid", ""),
        dsn=tuple(_dsn_from_json(entry) for entry in data.entries("dsn")),
    )


def _dsn_from_json(value: object) -> DsnRequest:
    data = Fields(value, "DSN request")
    return DsnRequest(
        recipient=data.text("recipient"),
        notify=data.text("notify", ""),
        orcpt=data.text("orcpt", ""),
    )


def _address_from_json(value: object) -> Address:
    data = Fields(value, "address")
    return Address(
        spelling=data.text("spelling"), local=data.text("local"), domain=data.text("domain")
    )


def _copy_to_json(copy: Copy) -> Json:
    data: Json = {
        "recipient": copy.recipient,
        "rcpt_to": copy.rcpt_to,
        "domain": copy.domain,
        "customer": copy.customer,
        "action": copy.action.value,
        "state": copy.state.value,
    }
    if copy.next_hop is not None:
        data["next_hop"] = next_hop_to_json(copy.next_hop)
    if copy.hold_reason is not None:
        data["hold_reason"] = copy.hold_reason.value
    if copy.reply:
        data["reply"] = copy.reply
    if copy.expires_at_ms is not None:
        data["expires_at_ms"] = copy.expires_at_ms
    if copy.admin_only:
        data["admin_only"] = True
    return data


def _copy_from_json(value: object) -> Copy:
    data = Fields(value, "copy")
    hop = data.get("next_hop")
    return Copy(
        recipient=data.text("recipient"),
        rcpt_to=data.text("rcpt_to"),
        domain=data.text("domain"),
        customer=data.text("customer"),
        action=data.member("action", Action),
        state=data.member("state", CopyState),
        next_hop=None if hop is None else next_hop_from_json(hop),
        hold_reason=data.optional_member("hold_reason", HoldReason),
        reply=data.text("reply", ""),
        expires_at_ms=data.optional_integer("expires_at_ms"),
        admin_only=data.flag("admin_only"),
    )
