"""What people said of mail, settled into one answer for each message.

Training reads it. A decision counts only with a person behind it: the gateway's own verdict never
comes back as a label, and neither does a deletion.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from sqlalchemy import ColumnElement, literal, select

from gateway.core.errors import RecordFormatError
from gateway.core.lesson import Lesson
from gateway.store import codec
from gateway.store.engine import Database
from gateway.store.fields import Fields
from gateway.store.schema import label

ADMIN = "admin"
WITHDRAWN = "none"
_VALUES = {"ham": False, "spam": True, WITHDRAWN: None}
_AT_ONCE = 500  # rows fetched at a time

_Kept = tuple[ColumnElement[str], ColumnElement[str]]
_FEATURES: _Kept = (label.c.feature_spec, label.c.features)
_NO_FEATURES: _Kept = (literal(""), literal(""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One decision as it was given; ``is_spam`` is None when a label was taken back."""

    mail_id: str
    customer: str
    at_ms: int
    is_spam: bool | None
    person: str
    role: str
    source: str
    lesson: Lesson | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingLabel:
    """What counts for one message. ``disputed``: other people say otherwise."""

    mail_id: str
    customer: str
    at_ms: int
    is_spam: bool
    person: str
    role: str
    source: str
    disputed: bool
    lesson: Lesson


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A message about which people disagree: who says what, by time."""

    mail_id: str
    votes: tuple[Given, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelBook:
    """All labels, settled; the numbers tell what was left out.

    ``withdrawn`` messages teach nothing any more, ``nobodys`` are decisions without a person or
    of no meaning, ``without_features`` are messages of which nothing was kept to learn from.
    """

    standing: tuple[StandingLabel, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    withdrawn: int = 0
    nobodys: int = 0
    without_features: int = 0


class Labels:
    """Reads the labels of the index. Calls block for the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def book(self) -> LabelBook:
        """Every label, settled.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        standing: list[StandingLabel] = []
        disputes: list[Dispute] = []
        withdrawn = nobodys = without_features = 0
        for mail_id, group in groupby(self._given(), key=attrgetter("mail_id")):
            every = list(group)
            given = [one for one in every if one.person]
            nobodys += len(every) - len(given)
            votes = standing_votes(given)
            lesson = next((one.lesson for one in reversed(given) if one.lesson), None)
            disputed = len({vote.is_spam for vote in votes}) > 1
            if disputed:
                disputes.append(Dispute(mail_id=mail_id, votes=votes))
            if not votes:
                withdrawn += bool(given)
            elif lesson is None:
                without_features += 1
            else:
                standing.append(_settled(winner(votes), lesson, disputed=disputed))
        return LabelBook(
            standing=tuple(standing),
            disputes=tuple(disputes),
            withdrawn=withdrawn,
            nobodys=nobodys,
            without_features=without_features,
        )

    def verdicts(self, since_ms: int) -> Iterator[Given]:
        """What counts for each message labelled since then, without what was kept to learn from.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        given = self._given(since_ms, _NO_FEATURES)
        for _mail_id, group in groupby(given, key=attrgetter("mail_id")):
            votes = standing_votes(one for one in group if one.person)
            if votes:
                yield winner(votes)

    def _given(self, since_ms: int = 0, kept: _Kept = _FEATURES) -> Iterator[Given]:
        """All decisions, those about one message together and by time."""
        order = (label.c.mail_id, label.c.at_ms, label.c.file, label.c.offset)
        columns = (label.c.mail_id, label.c.customer, label.c.at_ms, label.c.label)
        more = (label.c.person, label.c.role, label.c.source)
        query = select(*columns, *more, *kept).where(label.c.at_ms >= since_ms).order_by(*order)
        with self._database.read() as connection:
            rows = connection.execution_options(yield_per=_AT_ONCE).execute(query)
            for mail_id, customer, at_ms, said, person, role, source, spec, features in rows:
                yield Given(
                    mail_id=mail_id,
                    customer=customer,
                    at_ms=at_ms,
                    is_spam=_VALUES.get(said),
                    person=person if said in _VALUES else "",
                    role=role,
                    source=source,
                    lesson=_lesson(spec, features),
                )


def standing_votes(given: Iterable[Given]) -> tuple[Given, ...]:
    """What each person says last of one message, by time; decisions must come by time.

    Whoever takes a label back takes back their own; an administrator takes back all before.
    """
    last: dict[str, Given] = {}
    for one in given:
        if one.is_spam is None and one.role == ADMIN:
            last.clear()
        last.pop(one.person, None)
        if one.is_spam is not None:
            last[one.person] = one
    return tuple(last.values())


def winner(votes: Sequence[Given]) -> Given:
    """The decision that counts: the last one, but an administrator's before anybody else's."""
    admins = [vote for vote in votes if vote.role == ADMIN]
    return (admins or list(votes))[-1]


def _settled(chosen: Given, lesson: Lesson, *, disputed: bool) -> StandingLabel:
    return StandingLabel(
        mail_id=chosen.mail_id,
        customer=chosen.customer,
        at_ms=chosen.at_ms,
        is_spam=bool(chosen.is_spam),
        person=chosen.person,
        role=chosen.role,
        source=chosen.source,
        disputed=disputed,
        lesson=lesson,
    )


def _lesson(spec: str, text: str) -> Lesson | None:
    """What a row kept for training; None when it kept nothing, or nothing that can be read."""
    if not spec:
        return None
    try:
        data = Fields(codec.parse(text), "features of a label")
        return Lesson(
            feature_spec=spec,
            hashes=base64.b64decode(data.text("hashes"), validate=True),
            fingerprint=base64.b64decode(data.text("fingerprint"), validate=True),
            arrived_at_ms=data.integer("arrived_at_ms"),
        )
    except (RecordFormatError, binascii.Error, ValueError):
        return None
