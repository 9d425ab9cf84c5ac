"""Which version of a table set a database holds, and what to do about it.

A new database gets today's tables at once; an older one is migrated; a newer one is refused. When
the version matches, as at nearly every start, Alembic is not even imported.
"""

from sqlalchemy import Connection, Engine, inspect, select, text

from gateway.core.errors import IndexUnavailableError
from gateway.store.tables import TableSet


def revision(number: int) -> str:
    """A version as the database keeps it."""
    return f"{number:04d}"


def bring_up_to_date(engine: Engine, tables: TableSet, write_option: str) -> None:
    """Make or migrate the tables, unless they are as they should be.

    Raises:
        IndexUnavailableError: the database is of a newer schema.
    """
    with engine.connect() as connection, connection.begin():
        if stored_version(connection, tables) == tables.current:
            return
    with engine.connect() as plain:
        connection = plain.execution_options(**{write_option: True})
        with connection.begin():
            _take_the_lock(connection, tables)
            _change(connection, tables)


def stored_version(connection: Connection, tables: TableSet) -> int:
    """The version a database holds; 0 when it holds none.

    Raises:
        IndexUnavailableError: it is newer than this release, or not ours.
    """
    if not inspect(connection).has_table(tables.version_table):
        return 0
    stored = connection.execute(select(tables.version_rows().c.version_num)).scalar()
    if stored is None:
        return 0
    if not stored.isdigit():
        raise IndexUnavailableError(f"the {tables.name} has the unknown version {stored!r}")
    if int(stored) > tables.current:
        raise IndexUnavailableError(
            f"the {tables.name} is of version {int(stored)}, this release knows version "
            f"{tables.current}: use the release that made it, or a newer one"
        )
    return int(stored)


def _take_the_lock(connection: Connection, tables: TableSet) -> None:
    """Two processes that start side by side: the second finds the work done."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(tables.name.encode()[:7], "big")
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def _change(connection: Connection, tables: TableSet) -> None:
    version = stored_version(connection, tables)
    if version == tables.current:
        return
    if version == 0:
        tables.metadata.create_all(connection)
        rows = tables.version_rows()
        rows.create(connection, checkfirst=True)
        connection.execute(rows.insert(), {"version_num": revision(tables.current)})
        return
    from gateway.store.migrate import upgrade  # noqa: PLC0415  costs a tenth of a second

    upgrade(connection, tables)
