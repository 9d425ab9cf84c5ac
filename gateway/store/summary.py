"""How much came and what became of it, for the status page."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from gateway.core.ids import first_id_at
from gateway.core.record import CopyState
from gateway.store.engine import Database
from gateway.store.schema import copy, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Messages received since a moment, and their copies by state."""

    messages: int
    copies: Mapping[CopyState, int]


class Summary:
    """Sums over the index. Calls block for the database.

    Raises:
        IndexUnavailableError: from every method, when the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def since(self, at_ms: int) -> Counts:
        """What was received since ``at_ms``, UTC milliseconds; ids sort by time."""
        first = first_id_at(at_ms)
        by_state = select(copy.c.state, func.count()).where(copy.c.mail_id >= first)
        with self._database.read() as connection:
            messages = connection.execute(
                select(func.count()).select_from(message).where(message.c.id >= first)
            ).scalar_one()
            copies = connection.execute(by_state.group_by(copy.c.state)).all()
        return Counts(messages=messages, copies={CopyState(s): n for s, n in copies})
