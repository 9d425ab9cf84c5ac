"""The few statements that SQLite and PostgreSQL both have, but that SQLAlchemy spells twice."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from gateway.store.rows import Row

_Item = TypeVar("_Item")
_IN_LIST = 500  # SQLite's older builds take 999 parameters


def insert_or_ignore(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert what is not there yet, by primary key."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite_insert(table).on_conflict_do_nothing(), rows)
    else:
        connection.execute(postgresql_insert(table).on_conflict_do_nothing(), rows)


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows or overwrite the named columns of those that are there; others keep theirs."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    names = [name for name in rows[0] if name not in keys]
    if connection.dialect.name == "sqlite":
        lite = sqlite_insert(table)
        connection.execute(
            lite.on_conflict_do_update(
                index_elements=keys, set_={name: lite.excluded[name] for name in names}
            ),
            rows,
        )
    else:
        full = postgresql_insert(table)
        connection.execute(
            full.on_conflict_do_update(
                index_elements=keys, set_={name: full.excluded[name] for name in names}
            ),
            rows,
        )


def slices(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Pieces small enough for an IN list."""
    everything = list(items)
    for start in range(0, len(everything), _IN_LIST):
        yield everything[start : start + _IN_LIST]
