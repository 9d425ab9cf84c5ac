"""Journal lines become rows, each exactly once: rows and offset move in one transaction.

A copy's row is always made anew from its message's facts and all events known about it, so it does
not matter in which order processes' journals are read, nor how often a crash repeats a batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import BindParameter, Connection, bindparam, delete, select, update

from gateway.core.errors import RecordFormatError
from gateway.core.ids import is_mail_id
from gateway.core.record import Event, MessageFacts, What
from gateway.store import codec
from gateway.store.folding import BEFORE_ALL, Position, after, beginning, change_of
from gateway.store.rows import (
    Row,
    availability_row,
    copy_row,
    event_of_row,
    event_row,
    fit,
    label_row,
    message_row,
)
from gateway.store.schema import availability_event, copy, event, journal_offset, label, message
from gateway.store.statements import insert_or_ignore, slices, upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One event and where it stands; ``file`` is relative to the journal's directory."""

    file: str
    offset: int
    event: Event
    text: str | None = None  # the detail as it was written, if it is at hand

    @property
    def position(self) -> Position:
        """The order in which it counts."""
        return Position(at_ms=self.event.at_ms, file=self.file, offset=self.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """A message's facts as this batch brings them."""

    facts: MessageFacts
    text: str
    position: Position
    replaces: bool = False  # the index has it from an earlier line


@dataclass(slots=True, kw_only=True)
class Batch:
    """Lines to apply together, the offsets they lead to, and what is wrong with some of them."""

    lines: list[Line] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def complain(self, line: Line, error: RecordFormatError) -> None:
        """Remember a line that cannot be used."""
        self.problems.append(f"{line.file} at {line.offset}: {error}")


def apply(connection: Connection, node: str, batch: Batch) -> None:
    """Bring a batch into the index, inside the caller's transaction.

    Lines that cannot be used are added to ``batch.problems``; the rest counts.
    """
    news = _winners(connection, _news(batch))
    earlier = _with_earlier_events(connection, news)
    upsert(
        connection,
        message,
        [message_row(new.facts, new.text, node, new.position) for new in news.values()],
    )
    facts = _facts(connection, news, batch)
    _insert_events(connection, node, batch, facts)
    changed = {line.event.mail_id for line in batch.lines if line.event.what == What.COPY}
    _derive(connection, node, {i: f for i, f in facts.items() if i in changed or i in news})
    _drop_other_copies(connection, [new.facts for new in news.values() if new.replaces])
    _give_customers(connection, {mail_id: facts[mail_id] for mail_id in earlier})
    upsert(
        connection,
        journal_offset,
        [{"node": node, "file": f, "offset": o} for f, o in batch.offsets.items()],
    )


def adopt(connection: Connection, node: str, found: Iterable[MessageFacts]) -> None:
    """Add messages that have a record but no row: their journal line was lost with the power."""
    news = {
        facts.id: _News(
            facts=facts, text=codec.dump(codec.facts_to_json(facts)), position=BEFORE_ALL
        )
        for facts in found
    }
    news = _winners(connection, news)
    earlier = _with_earlier_events(connection, news)
    upsert(
        connection,
        message,
        [message_row(new.facts, new.text, node, new.position) for new in news.values()],
    )
    facts = {mail_id: new.facts for mail_id, new in news.items()}
    _derive(connection, node, facts)
    _give_customers(connection, {mail_id: facts[mail_id] for mail_id in earlier})


def _news(batch: Batch) -> dict[str, _News]:
    news: dict[str, _News] = {}
    for line in batch.lines:
        if line.event.what != What.MESSAGE:
            continue
        try:
            facts = _facts_of(line.event)
        except RecordFormatError as error:
            batch.complain(line, error)
            continue
        known = news.get(facts.id)
        if known is None or known.position.key < line.position.key:
            text = line.text or codec.dump(line.event.detail)
            news[facts.id] = _News(facts=facts, text=text, position=line.position)
    return news


def _facts_of(happened: Event) -> MessageFacts:
    facts = codec.outline_from_json(happened.detail)
    if not is_mail_id(facts.id) or facts.id != happened.mail_id:
        raise RecordFormatError("a message event whose ids differ or are none")
    return facts


def _winners(connection: Connection, news: dict[str, _News]) -> dict[str, _News]:
    """Leave out what the index knows from a later line."""
    winners = dict(news)
    for ids in slices(news):
        for mail_id, at_ms, file, offset in connection.execute(_POSITIONS, {"ids": ids}):
            if news[mail_id].position.key <= (at_ms, file, offset):
                del winners[mail_id]
            else:
                winners[mail_id] = replace(news[mail_id], replaces=True)
    return winners


def _touched(lines: Sequence[Line]) -> set[str]:
    return {
        line.event.mail_id
        for line in lines
        if line.event.what != What.MESSAGE and is_mail_id(line.event.mail_id)
    }


def _facts(connection: Connection, news: dict[str, _News], batch: Batch) -> dict[str, MessageFacts]:
    """The facts of every message this batch is about, as far as they are known."""
    facts = {mail_id: new.facts for mail_id, new in news.items()}
    for ids in slices(_touched(batch.lines) - news.keys()):
        for mail_id, text in connection.execute(_STORED_FACTS, {"ids": ids}):
            try:
                facts[mail_id] = codec.outline_from_json(codec.parse(text))
            except RecordFormatError as error:
                batch.problems.append(f"index row of {mail_id}: {error}")
    return facts


def _insert_events(
    connection: Connection, node: str, batch: Batch, facts: dict[str, MessageFacts]
) -> None:
    events: list[Row] = []
    labels: list[Row] = []
    availability: list[Row] = []
    for line in batch.lines:
        at = line.position
        customer = _customer_of(line.event, facts)
        try:
            if line.event.what == What.AVAILABILITY:
                availability.append(availability_row(line.event, node, at))
                continue
            if line.event.what == What.LABEL:
                labels.append(label_row(line.event, node, at, customer))
            elif line.event.what == What.COPY:
                change_of(line.event)
        except RecordFormatError as error:
            batch.complain(line, error)
        events.append(event_row(line.event, node, at, customer))
    insert_or_ignore(connection, event, events)
    insert_or_ignore(connection, label, labels)
    insert_or_ignore(connection, availability_event, availability)


def _customer_of(happened: Event, facts: dict[str, MessageFacts]) -> str:
    """A label names the customer itself: it outlives the facts of its mail."""
    known = facts.get(happened.mail_id)
    named = happened.detail.get("customer") if known is None else None
    return fit(named) if isinstance(named, str) else _customer(known, happened.recipient)


def _customer(facts: MessageFacts | None, recipient: str) -> str:
    """Whose an event is: the copy's customer, or that of all copies when it is about them all."""
    if facts is None:
        return ""
    copies = facts.copies
    concerned = {c.customer for c in copies if not recipient or fit(c.recipient) == fit(recipient)}
    return fit(concerned.pop()) if len(concerned) == 1 else ""


def _derive(connection: Connection, node: str, messages: dict[str, MessageFacts]) -> None:
    """Make the copies' rows of these messages from their facts and all events about them."""
    events = _copy_events(connection, messages)
    rows: list[Row] = []
    for mail_id, facts in messages.items():
        about = events.get(mail_id, ())
        for one in facts.copies:
            now = beginning(facts, one)
            for happened in about:
                if happened.recipient in {"", fit(one.recipient)}:
                    now = after(now, change_of(happened))
            rows.append(copy_row(mail_id, node, now))
    upsert(connection, copy, rows)


def _drop_other_copies(connection: Connection, messages: Iterable[MessageFacts]) -> None:
    """A later line about a message names its copies anew."""
    for facts in messages:
        named = [fit(one.recipient) for one in facts.copies]
        connection.execute(
            delete(copy).where(copy.c.mail_id == facts.id, copy.c.recipient.not_in(named))
        )


def _copy_events(connection: Connection, messages: Iterable[str]) -> dict[str, list[Event]]:
    events: dict[str, list[Event]] = {}
    for ids in slices(messages):
        for row in connection.execute(_STORIES, {"ids": ids}):
            try:
                happened = event_of_row(*row)
                change_of(happened)
            except RecordFormatError:
                continue  # named when its line was read
            events.setdefault(happened.mail_id, []).append(happened)
    return events


def _with_earlier_events(connection: Connection, news: Iterable[str]) -> set[str]:
    """Messages whose events were read before them, so that nobody knew whose they are."""
    earlier: set[str] = set()
    for ids in slices(news):
        earlier.update(connection.execute(_WITH_EVENTS, {"ids": ids}).scalars())
    return earlier


def _give_customers(connection: Connection, messages: dict[str, MessageFacts]) -> None:
    for mail_id, facts in messages.items():
        for table in (event, label):
            query = select(table.c.recipient).where(table.c.mail_id == mail_id).distinct()
            for recipient in connection.execute(query).scalars().all():
                connection.execute(
                    update(table)
                    .where(table.c.mail_id == mail_id, table.c.recipient == recipient)
                    .values(customer=_customer(facts, recipient))
                )


_IDS: BindParameter[str] = bindparam("ids", expanding=True)
_POSITIONS = select(
    message.c.id, message.c.source_at_ms, message.c.source_file, message.c.source_offset
).where(message.c.id.in_(_IDS))
_STORED_FACTS = select(message.c.id, message.c.facts).where(message.c.id.in_(_IDS))
_WITH_EVENTS = select(event.c.mail_id).where(event.c.mail_id.in_(_IDS)).distinct()
_STORIES = (
    select(event.c.at_ms, event.c.what, event.c.mail_id, event.c.recipient, event.c.detail)
    .where(event.c.mail_id.in_(_IDS), event.c.what == What.COPY)
    .order_by(event.c.mail_id, event.c.at_ms, event.c.file, event.c.offset)
)
