"""The few statements that SQLite and PostgreSQL both have, but that SQLAlchemy spells twice."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TypeVar

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.rows import Row

_Item = TypeVar("_Item")
_IN_LIST = 500  # SQLite's older builds take 999 parameters


def insert_or_ignore(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert what is not there yet, by primary key."""
    if rows:
        connection.execute(_insert_or_ignore(table, connection.dialect.name), rows)


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows or overwrite the named columns of those that are there; others keep theirs."""
    if rows:
        connection.execute(_upsert(table, tuple(rows[0]), connection.dialect.name), rows)


# Putting a statement together costs more than SQLite needs to run it: each is made once.


@cache
def _insert_or_ignore(table: Table, dialect: str) -> Insert:
    return _insert(table, dialect).on_conflict_do_nothing()


@cache
def _upsert(table: Table, names: tuple[str, ...], dialect: str) -> Insert:
    keys = [column.name for column in table.primary_key]
    statement = _insert(table, dialect)
    new = {name: statement.excluded[name] for name in names if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=new)


def _insert(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def slices(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Pieces small enough for an IN list."""
    everything = list(items)
    for start in range(0, len(everything), _IN_LIST):
        yield everything[start : start + _IN_LIST]
