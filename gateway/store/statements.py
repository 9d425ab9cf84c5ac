"""The few statements that SQLite and PostgreSQL both have, but that SQLAlchemy spells twice."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TypeVar

from sqlalchemy import Connection, Dialect, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.rows import Row

_Item = TypeVar("_Item")
_IN_LIST = 500  # SQLite's older builds take 999 parameters


def insert_or_ignore(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert what is not there yet, by primary key."""
    _run(connection, _insert_or_ignore, table, rows)


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows or overwrite the named columns of those that are there; others keep theirs."""
    _run(connection, _upsert, table, rows)


def _run(
    connection: Connection,
    make: Callable[[Table, tuple[str, ...], str], Insert],
    table: Table,
    rows: Sequence[Row],
) -> None:
    """Hand many rows to the driver; text and whole numbers need no conversion on the way."""
    if not rows:
        return
    text, order = _compiled(make, table, tuple(rows[0]), connection.dialect)
    if order is None:  # psycopg takes rows by name
        connection.exec_driver_sql(text, list(rows))
    else:
        connection.exec_driver_sql(text, [order(row) for row in rows])


# Putting a statement together costs more than SQLite needs to run it: each is made once.


@lru_cache(maxsize=64)
def _compiled(
    make: Callable[[Table, tuple[str, ...], str], Insert],
    table: Table,
    names: tuple[str, ...],
    dialect: Dialect,
) -> tuple[str, Callable[[Row], tuple[object, ...]] | None]:
    statement = make(table, names, dialect.name)
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    order = getattr(compiled, "positiontup", None)
    return compiled.string, itemgetter(*order) if order else None


def _insert_or_ignore(table: Table, _names: tuple[str, ...], dialect: str) -> Insert:
    return _insert(table, dialect).on_conflict_do_nothing()


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
