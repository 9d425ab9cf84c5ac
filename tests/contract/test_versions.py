"""Schema versions: made at once, migrated when older, refused when newer, plain words always."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, event, inspect, text

from gateway.core.errors import IndexUnavailableError
from gateway.core.record import CopyState
from gateway.store.directory_schema import DIRECTORY
from gateway.store.engine import Database
from gateway.store.index import Index
from gateway.store.migrate import upgrade
from gateway.store.schema import INDEX
from gateway.store.tables import TableSet
from gateway.store.views import QuarantineFilter
from tests.contract.samples import message_line, queued, write_journal

SECOND = '''"""One column more."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("message", sa.Column("mood", sa.Integer(), server_default="7", nullable=False))
'''
BROKEN = SECOND + '    op.execute("this is no SQL")\n'


def newer_release(folder: Path, migration: str = SECOND) -> TableSet:
    """The index's table set as the next release might have it."""
    versions = folder / "migrations" / "versions"
    shutil.copytree(INDEX.versions, versions, ignore=shutil.ignore_patterns("__pycache__"))
    (versions / "v0002_mood.py").write_text(migration)
    metadata = MetaData()
    for table in INDEX.metadata.tables.values():
        table.to_metadata(metadata)
    metadata.tables["message"].append_column(
        Column("mood", Integer, server_default="7", nullable=False)
    )
    return replace(INDEX, metadata=metadata, versions=versions, current=2)


def stored(database: Database, tables: TableSet) -> str:
    with database.read() as connection:
        return connection.execute(
            text(f"SELECT version_num FROM {tables.version_table}")
        ).scalar_one()


def described(database: Database) -> dict[str, object]:
    """All tables with their columns, keys and indexes, as the database itself tells them."""
    with database.read() as connection:
        told = inspect(connection)
        return {
            name: (
                [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in columns],
                told.get_pk_constraint(name)["constrained_columns"],
                sorted((i["name"], i["column_names"], i["unique"]) for i in told.get_indexes(name)),
                sorted(str(key["constrained_columns"]) for key in told.get_foreign_keys(name)),
            )
            for name in told.get_table_names()
            for columns in [told.get_columns(name)]
        }


@pytest.mark.parametrize("tables", [INDEX, DIRECTORY], ids=lambda tables: tables.name)
def test_migrations_lead_to_what_a_new_database_gets(database_url: str, tables: TableSet) -> None:
    before_all = replace(tables, metadata=MetaData(), current=0)
    database = Database.open(database_url, before_all)
    with database.write() as connection:
        upgrade(connection, tables)
    migrated = described(database)
    assert stored(database, tables) == f"{tables.current:04d}"
    with database.write() as connection:
        everything = MetaData()
        everything.reflect(connection)
        everything.drop_all(connection)
    database.close()
    database = Database.open(database_url, tables)
    assert described(database) == migrated
    assert len(migrated) == len(tables.metadata.tables) + 1
    database.close()


@pytest.mark.parametrize("tables", [INDEX, DIRECTORY], ids=lambda tables: tables.name)
def test_every_release_has_its_migration(tables: TableSet) -> None:
    files = sorted(path.name for path in tables.versions.glob("v*.py"))
    assert [int(name[1:5]) for name in files] == list(range(1, tables.current + 1))
    for path in tables.versions.glob("v*.py"):
        assert "drop_" not in path.read_text()  # they only expand
        assert "rename" not in path.read_text()


def test_an_older_database_is_migrated_and_keeps_its_rows(
    database_url: str, tmp_path: Path
) -> None:
    with_rows = Index.open(database_url, node="n1")
    with with_rows._database.write() as connection:
        connection.execute(text("INSERT INTO journal_offset VALUES ('n1', 'a', 5)"))
    newer = newer_release(tmp_path)
    database = Database.open(database_url, newer)
    assert stored(database, newer) == "0002"
    with database.read() as connection:
        columns = {column["name"] for column in inspect(connection).get_columns("message")}
        assert "mood" in columns
        assert connection.execute(text('SELECT "offset" FROM journal_offset')).scalar() == 5
    database.close()
    # The old release, still draining, goes on with what it has open.
    assert with_rows.listings.counts() == {}
    with_rows.close()
    with pytest.raises(IndexUnavailableError, match="version 2, this release knows version 1"):
        Index.open(database_url, node="n1")


def test_a_migration_that_fails_changes_nothing(database_url: str, tmp_path: Path) -> None:
    Index.open(database_url, node="n1").close()
    with pytest.raises(IndexUnavailableError):
        Database.open(database_url, newer_release(tmp_path, BROKEN))
    index = Index.open(database_url, node="n1")
    assert stored(index._database, INDEX) == "0001"
    assert index.listings.counts() == {}
    index.close()


def test_processes_that_start_together_make_the_tables_once(database_url: str) -> None:
    barrier = threading.Barrier(6)

    def start(number: int) -> str:
        tables = (INDEX, DIRECTORY)[number % 2]
        barrier.wait(30)
        database = Database.open(database_url, tables, busy_timeout_s=30)
        version = stored(database, tables)
        database.close()
        return version

    with ThreadPoolExecutor(6) as pool:
        current = [f"{tables.current:04d}" for tables in (INDEX, DIRECTORY)]
        assert list(pool.map(start, range(6))) == current * 3


def test_both_table_sets_live_in_one_database(database_url: str) -> None:
    first = Database.open(database_url, INDEX)
    second = Database.open(database_url, DIRECTORY)
    with second.read() as connection:
        tables = set(inspect(connection).get_table_names())
    assert {"index_version", "directory_version", "copy", "domain"} <= tables
    first.close()
    second.close()


def test_a_version_that_matches_needs_no_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.db'}"
    code = (
        "import sys\n"
        "from gateway.store.index import Index\n"
        f"Index.open({url!r}, node='n1').close()\n"
        f"Index.open({url!r}, node='n1').close()\n"
        "print('alembic' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "False"


def test_a_locked_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    index = Index.open(f"sqlite:///{path}", node="n1", busy_timeout_s=0.1)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(IndexUnavailableError, match="locked by another process"):
        index.leases.give_back_all("k")
    with pytest.raises(IndexUnavailableError, match="locked by another process"):
        Index.open(
            f"sqlite:///{tmp_path / 'index.db'}", node="n1", busy_timeout_s=0.1
        ).leases.make_due(["x"], 1)
    blocker.execute("ROLLBACK")
    blocker.close()
    assert index.leases.give_back_all("k") == 0  # it recovers by itself
    index.close()


def test_a_full_disk_is_named_and_service_resumes(sqlite_url: str, tmp_path: Path) -> None:
    index = Index.open(sqlite_url, node="n1")
    write_journal(
        tmp_path / "journal",
        "2026-11-23/smtp-1-1.jsonl",
        [message_line(one) for one in queued(200)],
    )

    def limit(pages: int) -> None:
        with index._database.read() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    limit(60)
    with pytest.raises(IndexUnavailableError, match="no room"):
        index.ingest(tmp_path / "journal")
    assert index.listings.counts() == {}
    limit(1_000_000)
    assert index.ingest(tmp_path / "journal").lines == 200
    assert index.listings.counts() == {CopyState.QUEUED: 200}
    index.close()


@pytest.mark.parametrize("rubbish", [b"no database at all", b"SQLite format 3\0" + b"\xa5" * 9000])
def test_a_corrupt_database_is_named_with_the_mend(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "index.db").write_bytes(rubbish)
    with pytest.raises(IndexUnavailableError, match="schwamm reindex"):
        Index.open(f"sqlite:///{tmp_path / 'index.db'}", node="n1")


def test_a_database_that_vanished_is_named(tmp_path: Path) -> None:
    index = Index.open(f"sqlite:///{tmp_path / 'index.db'}", node="n1")
    (tmp_path / "index.db").unlink()
    with pytest.raises(IndexUnavailableError, match=r"gone.*schwamm reindex"):
        index.listings.counts()
    index.close()


def test_nobody_else_may_read_it(sqlite_url: str, tmp_path: Path) -> None:
    old = os.umask(0o000)
    try:
        index = Index.open(sqlite_url, node="n1")
        index.leases.give_back_all("k")
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("index.db*")}
    index.close()
    assert modes == {"index.db": 0o600, "index.db-wal": 0o600, "index.db-shm": 0o600}


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailableError, match="unable to open"):
        Index.open(f"sqlite:///{tmp_path / 'nowhere' / 'index.db'}", node="n1")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://localhost/x", "not supported"),
        ("what is this", "no database URL"),
        ("postgresql://nobody@/x?host=/nowhere", "cannot be used"),
    ],
)
def test_a_useless_url_is_named(url: str, reason: str) -> None:
    with pytest.raises(IndexUnavailableError, match=reason):
        Index.open(url, node="n1")


PLANS = {
    "claim": (lambda index: index.leases.claim(
        owner="k", now_ms=10**13, lease_ms=1, limit=5, without=("x.example",)), "copy_due"),
    "next due": (lambda index: index.leases.next_due_ms(), "copy_due"),
    "domains": (lambda index: index.leases.waiting_domains(), "copy_waiting"),
    "hurry": (lambda index: index.leases.make_due(["x.example"], 5), "copy_waiting"),
    "dead": (lambda index: index.leases.give_back_all("k"), "copy_leased"),
    "expired": (lambda index: index.listings.expired(5), "copy_by_expiry"),
    "quarantine": (lambda index: index.listings.quarantine(QuarantineFilter()), "copy_by_state"),
    "domain": (lambda index: index.listings.quarantine(
        QuarantineFilter(domain="x.example")), "copy_by_"),
    "queue": (lambda index: index.listings.queue(), "copy"),
    "recipient": (lambda index: index.listings.track("a@x.example"), "MULTI-INDEX"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "expected"), PLANS.values(), ids=PLANS)
def test_questions_use_their_index(
    sqlite_url: str, ask: Callable[[Index], object], expected: str
) -> None:
    """A scan of all copies at every turn of the queue would cost more than the deliveries."""
    index = Index.open(sqlite_url, node="n1")
    asked: list[tuple[str, tuple[object, ...]]] = []
    event.listen(
        index._database._engine,
        "before_cursor_execute",
        lambda _c, _u, statement, parameters, _x, _m: asked.append((statement, parameters)),
    )
    ask(index)
    index.close()
    (statement, parameters) = next(one for one in asked if "copy" in one[0])
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as plain:
        plan = plain.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    steps = [str(step[3]) for step in plan]
    assert any(expected in step for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN copy")], steps


@pytest.mark.needs("postgresql")
def test_a_server_that_went_away_is_named(postgresql_url: str) -> None:
    index = Index.open(postgresql_url, node="n1")
    other = Database.open(postgresql_url, DIRECTORY)
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    def cut_off_in_the_middle() -> None:
        with index._database.read() as connection:
            with other.read() as killer:
                killer.execute(text(cut))
            connection.execute(text("SELECT 1"))

    with pytest.raises(IndexUnavailableError):
        cut_off_in_the_middle()
    assert index.listings.counts() == {}  # the next transaction has a new connection
    other.close()
    index.close()
