"""What models said of past mail, as the index remembers it: for drift and for comparing models."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from gateway.core.errors import RecordFormatError
from gateway.core.ids import first_id_at
from gateway.core.verdict import ShadowFinding
from gateway.store import codec
from gateway.store.engine import Database
from gateway.store.fields import Fields
from gateway.store.schema import message
from gateway.store.statements import slices
from gateway.store.verdict_codec import shadow_from_json

DAY_MS = 86_400_000
_AT_ONCE = 200
_DIGITS = 8  # hexadecimal digits of the message's digest that choose a sample


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredMail:
    """One message as the serving model saw it, and the watched one if there was one."""

    mail_id: str
    received_at_ms: int
    verdict: str
    model_id: str
    probability: float
    known_share: float
    shadow: ShadowFinding | None


class ScoredMails:
    """Reads verdicts of the index. Calls block for the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sample(self, since_ms: int, until_ms: int, *, a_day: int) -> Iterator[ScoredMail]:
        """Messages received in that time, at most about ``a_day`` of each UTC day, by time.

        Which ones is chosen by their digest, so it has nothing to do with when they came, who sent
        them or what they scored; asked again it is the same ones.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        for day in range(since_ms // DAY_MS, (until_ms - 1) // DAY_MS + 1):
            first, last = max(since_ms, day * DAY_MS), min(until_ms, (day + 1) * DAY_MS)
            with self._database.read() as connection:
                found = list(_of_a_day(connection, first, last, a_day))
            yield from found

    def of(self, mail_ids: Iterable[str]) -> Iterator[ScoredMail]:
        """These messages, as far as the index knows them and a model scored them.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        for ids in slices(mail_ids):
            query = select(message.c.id, message.c.received_at_ms, message.c.facts)
            with self._database.read() as connection:
                rows = connection.execute(query.where(message.c.id.in_(ids))).all()
            yield from _scored((row.id, row.received_at_ms, row.facts) for row in rows)


def _of_a_day(
    connection: Connection, since_ms: int, until_ms: int, most: int
) -> Iterator[ScoredMail]:
    within = (message.c.id >= first_id_at(since_ms), message.c.id < first_id_at(until_ms))
    number = connection.execute(
        select(func.count()).select_from(message).where(*within)
    ).scalar_one()
    query = select(message.c.id, message.c.received_at_ms, message.c.facts).where(*within)
    if number > most:
        below = int(most / number * 16**_DIGITS)
        query = query.where(message.c.sha256 < f"{below:0{_DIGITS}x}")
    rows = connection.execution_options(yield_per=_AT_ONCE).execute(query.order_by(message.c.id))
    yield from _scored((row.id, row.received_at_ms, row.facts) for row in rows)


def _scored(rows: Iterable[tuple[str, int, str]]) -> Iterator[ScoredMail]:
    """Leave out what no model scored, and rows that are damaged: these are statistics."""
    for mail_id, received_at_ms, text in rows:
        try:
            found = _one(mail_id, received_at_ms, text)
        except RecordFormatError:
            continue
        if found is not None:
            yield found


def _one(mail_id: str, received_at_ms: int, text: str) -> ScoredMail | None:
    stored = Fields(codec.parse(text), "message").get("verdict")
    if stored is None:
        return None
    verdict = Fields(stored, "verdict")
    probability = verdict.optional_number("probability")
    if probability is None:
        return None
    return ScoredMail(
        mail_id=mail_id,
        received_at_ms=received_at_ms,
        verdict=verdict.text("kind"),
        model_id=verdict.text("model_id", ""),
        probability=probability,
        known_share=verdict.number("known_share", 0.0),
        shadow=_shadow(verdict),
    )


def _shadow(verdict: Fields) -> ShadowFinding | None:
    for entry in verdict.entries("outcomes"):
        content = Fields(entry, "outcome").get("content")
        if content is not None:
            shadow = Fields(content, "content finding").get("shadow")
            return None if shadow is None else shadow_from_json(shadow)
    return None
