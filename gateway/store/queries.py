"""What people ask of the index: the quarantine, the queue, where a mail is (data model, section 7).

Every listing is ordered and cut by key, not by number, so a page does not shift while mail comes
in. An id sorts by time, so the newest come first by id.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, union_all

from gateway.core.ids import is_mail_id
from gateway.core.record import CopyState
from gateway.store import codec
from gateway.store.engine import Database
from gateway.store.schema import WAITING, copy, event, label, message
from gateway.store.statements import slices
from gateway.store.views import (
    CopyRow,
    EventRow,
    LabelRow,
    MessageView,
    Page,
    QuarantineFilter,
    TrackedCopy,
    cursor_key,
)

_OURS = tuple(state.value for state in CopyState if state.ours)
_MOST = 1000  # rows of any page

_COPY_COLUMNS = (
    copy.c.mail_id,
    copy.c.recipient,
    copy.c.domain,
    copy.c.customer,
    copy.c.action,
    copy.c.state,
    copy.c.hold_reason,
    copy.c.admin_only,
    copy.c.next_hop,
    copy.c.reply,
    copy.c.expires_at_ms,
    copy.c.attempts,
    copy.c.next_attempt_at_ms,
    copy.c.since_ms,
    message.c.received_at_ms,
    message.c.mail_from,
    message.c.from_header,
    message.c.subject,
    message.c.message_id,
    message.c.score,
    message.c.verdict,
    message.c.size_bytes,
)
_COPIES = select(*_COPY_COLUMNS).join(message, message.c.id == copy.c.mail_id)
_EVENT_COLUMNS = (event.c.at_ms, event.c.what, event.c.mail_id, event.c.recipient, event.c.detail)


class Listings:
    """Reads the index. Calls block for the database.

    Raises:
        IndexUnavailableError: from every method, when the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def quarantine(self, wanted: QuarantineFilter) -> Page:
        """Copies by the filter, newest first.

        Raises:
            ValueError: the filter's cursor is none of ours.
        """
        query = _COPIES.where(*_quarantine_terms(wanted))
        return self._page(query, min(wanted.limit, _MOST), newest_first=True, after=wanted.after)

    def queue(self, *, domain: str = "", after: str = "", limit: int = 100) -> Page:
        """Waiting copies, oldest first.

        Raises:
            ValueError: the cursor is none of ours.
        """
        query = _COPIES.where(WAITING)
        if domain:
            query = query.where(copy.c.domain == domain)
        return self._page(query, min(limit, _MOST), newest_first=False, after=after)

    def show(self, mail_id: str) -> MessageView | None:
        """Everything about one message; None when the index does not know it.

        Raises:
            RecordFormatError: its row is damaged.
        """
        with self._database.read() as connection:
            query = select(message.c.facts).where(message.c.id == mail_id)
            text = connection.execute(query).scalar()
            if text is None:
                return None
            copies = connection.execute(_copies_of([mail_id])).mappings().all()
            events = connection.execute(_events_of([mail_id])).all()
            labels = connection.execute(_labels_of(mail_id)).mappings().all()
        return MessageView(
            facts=codec.facts_from_json(codec.parse(text)),
            copies=tuple(CopyRow(**row) for row in copies),
            events=tuple(EventRow(*row) for row in events),
            labels=tuple(LabelRow(**row) for row in labels),
        )

    def copies(self, mail_id: str) -> tuple[CopyRow, ...]:
        """The copies of one message, by recipient; empty when the index does not know it."""
        with self._database.read() as connection:
            rows = connection.execute(_copies_of([mail_id])).mappings()
            return tuple(CopyRow(**row) for row in rows)

    def has_label_features(self, mail_id: str) -> bool:
        """Whether some label of a message kept its features, so that its bytes may be gone."""
        kept = select(label.c.offset).where(label.c.mail_id == mail_id, label.c.feature_spec != "")
        with self._database.read() as connection:
            return connection.execute(kept.limit(1)).first() is not None

    def track(self, query: str, *, limit: int = 100) -> tuple[TrackedCopy, ...]:
        """Copies found by id, address, Message-ID or words of the subject; newest first."""
        found = _COPIES.where(_track_term(query.strip()))
        order = (copy.c.mail_id.desc(), copy.c.recipient)
        with self._database.read() as connection:
            rows = connection.execute(found.order_by(*order).limit(min(limit, _MOST))).mappings()
            copies = [CopyRow(**row) for row in rows]
            events: list[EventRow] = []
            for ids in slices({row.mail_id for row in copies}):
                events.extend(EventRow(*row) for row in connection.execute(_events_of(ids)))
        return tuple(
            TrackedCopy(
                copy=row,
                events=tuple(
                    one
                    for one in events
                    if one.mail_id == row.mail_id and one.recipient in {"", row.recipient}
                ),
            )
            for row in copies
        )

    def expired(self, now_ms: int, *, limit: int = 500) -> tuple[CopyRow, ...]:
        """Held copies whose time is over, oldest first; for the keeper's retention."""
        over = (copy.c.state == CopyState.HELD.value, copy.c.expires_at_ms <= now_ms)
        query = _COPIES.where(*over).order_by(copy.c.expires_at_ms, copy.c.mail_id)
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit)).mappings()
            return tuple(CopyRow(**row) for row in rows)

    def no_longer_ours(self, mail_ids: Collection[str]) -> set[str]:
        """Those of these messages that the index knows and that no copy of ours needs any more."""
        settled: set[str] = set()
        needs = func.sum(case((copy.c.state.in_(_OURS), 1), else_=0))
        with self._database.read() as connection:
            for ids in slices(mail_ids):
                query = select(copy.c.mail_id).where(copy.c.mail_id.in_(ids))
                query = query.group_by(copy.c.mail_id).having(needs == 0)
                settled.update(connection.execute(query).scalars())
        return settled

    def counts(self) -> dict[CopyState, int]:
        """How many copies there are in each state."""
        query = select(copy.c.state, func.count()).group_by(copy.c.state)
        with self._database.read() as connection:
            return {CopyState(state): number for state, number in connection.execute(query)}

    def _page(self, query: Select[Any], limit: int, *, newest_first: bool, after: str) -> Page:
        if after:
            mail_id, recipient = cursor_key(after)
            beyond = copy.c.mail_id < mail_id if newest_first else copy.c.mail_id > mail_id
            same = and_(copy.c.mail_id == mail_id, copy.c.recipient > recipient)
            query = query.where(or_(beyond, same))
        first = copy.c.mail_id.desc() if newest_first else copy.c.mail_id
        query = query.order_by(first, copy.c.recipient).limit(limit + 1)
        with self._database.read() as connection:
            rows = [CopyRow(**row) for row in connection.execute(query).mappings()]
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(rows=tuple(rows), next=rows[-1].cursor if more else None)


def _quarantine_terms(wanted: QuarantineFilter) -> list[ColumnElement[bool]]:
    states = [state.value for state in wanted.states]
    terms: list[ColumnElement[bool]] = [copy.c.state.in_(states)]
    if wanted.customer is not None:
        terms.append(copy.c.customer == wanted.customer)
    if wanted.domain:
        terms.append(copy.c.domain == wanted.domain)
    if wanted.recipient:
        terms.append(copy.c.recipient == wanted.recipient.lower())
    if wanted.sender:
        found = (message.c.sender_key, message.c.from_key)
        terms.append(or_(*(_contains(column, wanted.sender) for column in found)))
    terms.extend(_contains(message.c.search, word) for word in wanted.text.split())
    if wanted.since_ms is not None:
        terms.append(message.c.received_at_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        terms.append(message.c.received_at_ms < wanted.until_ms)
    if wanted.min_score is not None:
        terms.append(message.c.score >= wanted.min_score)
    if wanted.max_score is not None:
        terms.append(message.c.score <= wanted.max_score)
    return terms


def _contains(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    return column.contains(text.replace("\0", "\ufffd").casefold(), autoescape=True)


def _track_term(query: str) -> ColumnElement[bool]:
    query = query.replace("\0", "\ufffd")
    if is_mail_id(query):
        return copy.c.mail_id == query
    if "@" not in query:
        return _contains(message.c.search, query)
    bare = query.removeprefix("<").removesuffix(">")
    # Ids first: an OR over columns of two tables would make SQLite read them all.
    messages = union_all(
        select(message.c.id).where(message.c.sender_key == bare.casefold()),
        select(message.c.id).where(message.c.message_id.in_([bare, f"<{bare}>"])),
    )
    return or_(copy.c.recipient == bare.lower(), copy.c.mail_id.in_(messages))


def _copies_of(mail_ids: Sequence[str]) -> Select[Any]:
    return _COPIES.where(copy.c.mail_id.in_(mail_ids)).order_by(copy.c.mail_id, copy.c.recipient)


def _events_of(mail_ids: Sequence[str]) -> Select[Any]:
    order = (event.c.mail_id, event.c.at_ms, event.c.file, event.c.offset)
    return select(*_EVENT_COLUMNS).where(event.c.mail_id.in_(mail_ids)).order_by(*order)


def _labels_of(mail_id: str) -> Select[Any]:
    columns = (label.c.at_ms, label.c.recipient, label.c.label, label.c.person, label.c.role)
    more = (label.c.source, label.c.reason, label.c.feature_spec)
    return select(*columns, *more).where(label.c.mail_id == mail_id).order_by(label.c.at_ms)
