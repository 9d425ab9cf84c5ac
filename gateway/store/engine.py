"""One database and how it is spoken to: short transactions, plain words when it cannot be used.

SQLite runs in WAL mode, and every transaction that will write begins IMMEDIATE: processes that
read and then write under a deferred one fail with BUSY whatever the timeout (data model, section
1). PostgreSQL is reached with psycopg.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

from gateway.core.errors import IndexUnavailableError
from gateway.store.tables import TableSet
from gateway.store.versions import bring_up_to_date

_BUSY_TIMEOUT_S = 5.0
_IMMEDIATE = "schwamm_immediate"


class Database:
    """A table set in SQLite or PostgreSQL; safe for threads."""

    def __init__(
        self, url: URL, tables: TableSet, *, durable: bool, busy_timeout_s: float = _BUSY_TIMEOUT_S
    ) -> None:
        self.tables = tables
        self.sqlite = url.get_backend_name() == "sqlite"
        self.path = Path(url.database) if self.sqlite and url.database else None
        self._in_memory = self.sqlite and self.path is None
        self._turn = threading.RLock()
        self._engine = _engine(url, durable=durable, busy_timeout_s=busy_timeout_s)
        self._inode: int | None = None

    @classmethod
    def open(
        cls,
        url: str,
        tables: TableSet,
        *,
        durable: bool = False,
        busy_timeout_s: float = _BUSY_TIMEOUT_S,
    ) -> "Database":
        """Connect, and make or migrate the tables if need be.

        ``durable`` makes every commit survive a power loss, for what is no index.

        Raises:
            IndexUnavailableError: locked, corrupt, unreachable, or of a newer schema; with the
            mend.
        """
        database = cls(_parsed(url), tables, durable=durable, busy_timeout_s=busy_timeout_s)
        if database.path is not None:
            _make_private(database.path)
        try:
            with database._explained():
                bring_up_to_date(database._engine, tables, _IMMEDIATE)
        except BaseException:
            database.close()
            raise
        database._inode = database._inode_now()
        return database

    @property
    def identity(self) -> int | None:
        """Which file the connections lead to; it changes when another takes its place."""
        return self._inode

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, of one moment.

        Raises:
            IndexUnavailableError: the database cannot be used; with the mend.
        """
        with self._taking_turns(), self._explained():
            self._follow_a_swap()
            with self._engine.connect() as connection, connection.begin():
                yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; it commits at the end.

        Raises:
            IndexUnavailableError: the database cannot be used; with the mend.
        """
        with self._taking_turns(), self._explained():
            self._follow_a_swap()
            with self._engine.connect() as plain:
                connection = plain.execution_options(**{_IMMEDIATE: True})
                with connection.begin():
                    yield connection

    def _taking_turns(self) -> contextlib.AbstractContextManager[object]:
        """An SQLite database in memory is one connection, which threads share in turn."""
        return self._turn if self._in_memory else contextlib.nullcontext()

    def _follow_a_swap(self) -> None:
        """A rebuild put another file in this place: connections to the old one are let go."""
        if self.path is None:
            return
        inode = self._inode_now()
        if inode != self._inode:
            self._engine.dispose()
            self._inode = inode

    def _inode_now(self) -> int | None:
        if self.path is None:
            return None
        try:
            return os.stat(self.path).st_ino  # noqa: PTH116  once a transaction
        except FileNotFoundError:
            raise IndexUnavailableError(
                f"the {self.tables.name} {self.path} is gone; {self.tables.mend}"
            ) from None

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, DataError):
            raise
        except DBAPIError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: DBAPIError) -> IndexUnavailableError:
        name = f"the {self.tables.name}" + (f" {self.path}" if self.path else " database")
        said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no reason"
        if "locked" in said or "lock timeout" in said:
            return IndexUnavailableError(f"{name} is locked by another process; try again later")
        if "malformed" in said or "not a database" in said or "corrupt" in said:
            return IndexUnavailableError(f"{name} is corrupt ({said}); {self.tables.mend}")
        if "full" in said:
            return IndexUnavailableError(f"{name} has no room ({said}); make some")
        if "no such" in said or "does not exist" in said:
            return IndexUnavailableError(f"{name} is not whole ({said}); {self.tables.mend}")
        return IndexUnavailableError(f"{name} cannot be used: {said}")


def _make_private(path: Path) -> None:
    """A new file is for us alone: it has people's mail and passwords in it. SQLite's log follows.

    What is wrong with the place, SQLite will say.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise IndexUnavailableError(
            "index.url is no database URL; write postgresql://USER@HOST/DATABASE, or leave it out"
        ) from error
    match parsed.get_backend_name():
        case "sqlite":
            return parsed
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise IndexUnavailableError(
                f"index.url: {other!r} is not supported; use PostgreSQL, or leave it out"
            )


def _engine(url: URL, *, durable: bool, busy_timeout_s: float) -> Engine:
    if url.get_backend_name() == "postgresql":
        options = f"-c lock_timeout={int(busy_timeout_s * 1000)} -c timezone=UTC"
        try:
            return create_engine(
                url,
                pool_pre_ping=True,
                connect_args={"connect_timeout": 10, "options": options},
            )
        except (ImportError, NoSuchModuleError) as error:
            raise IndexUnavailableError(
                "PostgreSQL needs psycopg; install schwamm with its extra: schwamm[postgresql]"
            ) from error
    arguments: dict[str, Any] = {"timeout": busy_timeout_s, "check_same_thread": False}
    if url.database:
        engine = create_engine(url, connect_args=arguments)
    else:
        engine = create_engine(url, connect_args=arguments, poolclass=StaticPool)
    _prepare_sqlite(engine, durable=durable)
    return engine


def _prepare_sqlite(engine: Engine, *, durable: bool) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: object, _record: object) -> None:
        raw = cast("Any", connection)  # sqlite3's, through SQLAlchemy's border
        raw.isolation_level = None  # we say BEGIN ourselves
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        raw.execute("PRAGMA journal_size_limit=67108864")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(_IMMEDIATE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
