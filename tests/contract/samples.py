"""Facts, events and journals to fill a store with."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from gateway.core.addresses import parse_address
from gateway.core.ids import IdSource
from gateway.core.mail import Envelope, Session
from gateway.core.record import Copy, CopyState, Event, HoldReason, MessageFacts, What
from gateway.core.routing import parse_next_hop
from gateway.core.verdict import (
    Action,
    ContentFinding,
    Outcome,
    ScoredSymbol,
    ShadowFinding,
    Status,
    Symbol,
    Verdict,
    VerdictClass,
    WordReason,
)
from gateway.store.codec import event_to_line, message_event
from gateway.store.index import Index
from gateway.store.schema import ROWS

NOON_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z
DAY_MS = 86_400_000
_ids = IdSource("n1")


class FakeClock:
    """Time that a test moves."""

    def __init__(self, now_ms: int = NOON_MS) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_s(self) -> float:
        return self.at_ms / 1000


def make_copy(
    recipient: str = "bert@example.org",
    state: CopyState = CopyState.HELD,
    *,
    customer: str = "acme",
    next_hop: str = "mail.example.org:25",
) -> Copy:
    held = state is CopyState.HELD
    return Copy(
        recipient=recipient,
        rcpt_to=recipient.replace("b", "B", 1),
        domain=recipient.rpartition("@")[2],
        customer=customer,
        action=Action.QUARANTINE if held else Action.ACCEPT,
        state=state,
        next_hop=parse_next_hop(next_hop),
        hold_reason=HoldReason.SPAM if held else None,
        expires_at_ms=NOON_MS + 14 * DAY_MS if held else None,
    )


def make_verdict(score: float = 7.5) -> Verdict:
    finding = ContentFinding(
        probability=0.98,
        known_share=0.61,
        model_id="baseline-1",
        words=(WordReason(word="gewinn", weight=2.25), WordReason(word="angebot", weight=-1.5)),
        shadow=ShadowFinding(probability=0.25, known_share=0.5, model_id="site-1"),
    )
    return Verdict(
        kind=VerdictClass.SPAM if score >= 6 else VerdictClass.HAM,
        score=score,
        symbols=(
            ScoredSymbol(name="DNSBL_TRIAL", points=4.0, detail="zone=zen.example code=127.0.0.2"),
            ScoredSymbol(name="CLASSIFIER", points=3.5),
        ),
        words=finding.words,
        probability=0.98,
        known_share=0.61,
        model_id="baseline-1",
        generation=3,
        settings_digest="0123abcd",
        errors=("dnsbl:timeout",),
        outcomes=(
            Outcome(
                check="dnsbl",
                status=Status.HIT,
                symbols=(Symbol(name="DNSBL_TRIAL", detail="code=127.0.0.2"),),
                elapsed_ms=12.5,
            ),
            Outcome(check="content", status=Status.HIT, content=finding, elapsed_ms=0.5),
            Outcome(check="uribl", status=Status.ERROR, error="timeout"),
            Outcome(check="rules", status=Status.HIT, symbols=(Symbol(name="RULE", points=1.5),)),
        ),
        scan_ms=13.25,
    )


def make_facts(
    *copies: Copy,
    at_ms: int = NOON_MS,
    subject: str = "Grüße aus Köln",
    score: float = 7.5,
    mail_from: str = "anna@sender.example",
) -> MessageFacts:
    mail_id = _ids.next(at_ms)
    copies = copies or (make_copy(),)
    return MessageFacts(
        id=mail_id,
        node="n1",
        direction="in",
        received_at_ms=at_ms,
        answered_at_ms=at_ms + 40,
        handed_off_at_ms=None,
        session=Session(
            ip="192.0.2.1",
            port=4711,
            helo="mail.sender.example",
            esmtp=True,
            tls_version="TLSv1.3",
            tls_cipher="TLS_AES_256_GCM_SHA384",
            rdns="mail.sender.example",
            connected_at_ms=at_ms - 100,
        ),
        envelope=Envelope(
            mail_from=mail_from,
            rcpt_to=tuple(parse_address(copy.rcpt_to) for copy in copies),
            smtputf8=True,
            declared_size=5000,
        ),
        size_bytes=5000,
        sha256="ab" * 32,
        subject=subject,
        from_header="Anna Öztürk <anna@sender.example>",
        message_id=f"<{mail_id}@sender.example>",
        verdict=make_verdict(score),
        copies=copies,
        generation=3,
        reply="250 2.0.0 OK: taken",
        trace="Received: from mail.sender.example",
    )


def copy_event(
    facts: MessageFacts,
    state: CopyState,
    *,
    at_ms: int,
    recipient: str | None = None,
    **detail: object,
) -> Event:
    return Event(
        at_ms=at_ms,
        what=What.COPY,
        mail_id=facts.id,
        recipient=facts.copies[0].recipient if recipient is None else recipient,
        detail={"state": state.value, **detail},
    )


def message_line(facts: MessageFacts) -> Event:
    return message_event(facts, facts.answered_at_ms or facts.received_at_ms)


def write_journal(directory: Path, name: str, events: Iterable[Event]) -> Path:
    """Append to one journal file, as the process it belongs to would."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.writelines(event_to_line(event) for event in events)
    return path


def queued(number: int, *, domain: str = "example.org", at_ms: int = NOON_MS) -> list[MessageFacts]:
    """Messages of one waiting copy each, a millisecond apart."""
    return [
        make_facts(
            make_copy(f"user{n}@{domain}", CopyState.QUEUED, next_hop=f"mail.{domain}:25"),
            at_ms=at_ms + n,
        )
        for n in range(number)
    ]


def everything(index: Index) -> dict[str, list[dict[str, object]]]:
    """All rows of the index that come from records and journals, in a fixed order."""
    leases = {"lease_owner", "lease_until_ms", "fence"}
    rows = {}
    with index._database.read() as connection:
        for table in ROWS:
            found = connection.execute(select(table).order_by(*table.primary_key)).mappings()
            rows[table.name] = [
                {key: value for key, value in row.items() if key not in leases} for row in found
            ]
    return rows


def without_verdict(facts: MessageFacts) -> MessageFacts:
    return replace(facts, verdict=None)


def ids_of(facts: Sequence[MessageFacts]) -> list[str]:
    return [one.id for one in facts]
