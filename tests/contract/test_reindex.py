"""``schwamm reindex``: the same rows as before, put in place at once, whatever was there."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.errors import IndexUnavailableError, StorageError
from gateway.core.record import CopyState, MessageFacts
from gateway.store.index import Index
from gateway.store.rebuild import rebuild
from gateway.store.records import FileRecords
from tests.contract.samples import (
    DAY_MS,
    NOON_MS,
    copy_event,
    everything,
    make_facts,
    message_line,
    queued,
    write_journal,
)

WORKER = "2026-11-23/smtp-100-1.jsonl"


@pytest.fixture
def records(tmp_path: Path) -> Iterator[FileRecords]:
    (tmp_path / "tmp").mkdir()
    one = FileRecords(tmp_path / "records", tmp_path / "tmp")
    yield one
    one.close()


@pytest.fixture
def facts(tmp_path: Path, records: FileRecords) -> list[MessageFacts]:
    """Held and queued mail with a little history, on disk."""
    messages = [make_facts(), *queued(3), make_facts()]
    for one in messages:
        records.put_now(one, b"bytes")
    released = copy_event(messages[0], CopyState.RELEASED, at_ms=NOON_MS + 77)
    write_journal(tmp_path / "journal", WORKER, [*map(message_line, messages), released])
    return messages


def test_it_makes_the_same_rows(
    database_url: str, tmp_path: Path, records: FileRecords, facts: list[MessageFacts]
) -> None:
    index = Index.open(database_url, node="n1")
    index.ingest(tmp_path / "journal")
    index.adopt(records)
    before = everything(index)
    told: list[tuple[str, int, int]] = []
    report = rebuild(
        database_url,
        node="n1",
        records=records,
        journal=tmp_path / "journal",
        progress=lambda *step: told.append(step),
    )
    assert (report.lines, report.adopted, report.problems) == (6, 0, [])
    assert everything(index) == before  # the same object, still open, sees the new rows
    assert [phase for phase, done, total in told if done == total] == ["journal", "records"]
    more = make_facts()
    write_journal(tmp_path / "journal", WORKER, [message_line(more)])
    assert index.ingest(tmp_path / "journal").lines == 1
    index.close()


def test_records_alone_are_enough_to_find_what_is_ours(
    database_url: str, tmp_path: Path, records: FileRecords, facts: list[MessageFacts]
) -> None:
    report = rebuild(
        database_url, node="n1", records=records, journal=tmp_path / "no journal at all"
    )
    assert (report.lines, report.adopted) == (0, 5)
    index = Index.open(database_url, node="n1")
    assert [row.mail_id for row in index.listings.queue().rows] == sorted(
        one.id for one in facts[1:4]
    )
    assert len(index.leases.claim(owner="k", now_ms=NOON_MS * 2, lease_ms=1, limit=9, without=()))
    index.close()


def test_a_record_without_a_line_is_adopted_and_its_line_may_come_later(
    index: Index, tmp_path: Path, records: FileRecords
) -> None:
    orphan = make_facts()
    records.put_now(orphan, b"bytes")
    assert index.adopt(records).adopted == 1
    assert index.adopt(records).adopted == 0
    assert index.listings.copies(orphan.id)[0].state == "held"
    released = copy_event(orphan, CopyState.RELEASED, at_ms=NOON_MS + 77)
    write_journal(tmp_path / "journal", WORKER, [message_line(orphan), released])
    index.ingest(tmp_path / "journal")
    assert index.listings.copies(orphan.id)[0].state == "released"
    row = everything(index)["message"][0]
    assert row["source_file"] == WORKER


def test_adopting_may_be_kept_to_recent_days(index: Index, records: FileRecords) -> None:
    old, young = make_facts(at_ms=NOON_MS - 3 * DAY_MS), make_facts(at_ms=NOON_MS)
    for facts in (old, young):
        records.put_now(facts, b"bytes")
    assert index.adopt(records, since_ms=NOON_MS - DAY_MS).adopted == 1
    assert index.listings.copies(old.id) == ()
    assert index.adopt(records).adopted == 1


def test_a_decision_about_an_adopted_record_counts(
    index: Index, tmp_path: Path, records: FileRecords
) -> None:
    orphan = make_facts()
    deleted = copy_event(orphan, CopyState.DELETED, at_ms=NOON_MS + 77)
    write_journal(tmp_path / "journal", WORKER, [deleted])
    index.ingest(tmp_path / "journal")
    records.put_now(orphan, b"bytes")
    index.adopt(records)
    assert index.listings.copies(orphan.id)[0].state == "deleted"
    assert everything(index)["event"][0]["customer"] == "acme"


def test_corrupt_records_are_named_and_skipped(
    database_url: str, tmp_path: Path, records: FileRecords, facts: list[MessageFacts]
) -> None:
    torn, newer = facts[0], facts[1]
    (path,) = (tmp_path / "records").glob(f"*/{torn.id}.rec")
    path.write_bytes(path.read_bytes()[:100])
    (path,) = (tmp_path / "records").glob(f"*/{newer.id}.rec")
    path.write_bytes(path.read_bytes().replace(b"schwamm-record 1", b"schwamm-record 9"))
    report = rebuild(database_url, node="n1", records=records, journal=tmp_path / "none")
    assert report.adopted == 3
    assert len(report.problems) == 2
    assert torn.id in report.problems[0]
    assert "format 9" in report.problems[1]


@pytest.mark.needs("postgresql")
def test_only_this_nodes_rows_are_made_anew(
    postgresql_url: str, tmp_path: Path, records: FileRecords, facts: list[MessageFacts]
) -> None:
    theirs = Index.open(postgresql_url, node="n2")
    other = make_facts()
    write_journal(tmp_path / "their journal", WORKER, [message_line(other)])
    theirs.ingest(tmp_path / "their journal")
    rebuild(postgresql_url, node="n1", records=records, journal=tmp_path / "journal")
    assert theirs.listings.copies(other.id)[0].state == "held"
    assert theirs.ingest(tmp_path / "their journal").lines == 0
    theirs.close()


@pytest.mark.parametrize("rubbish", [b"", b"this is no database" * 500])
def test_a_corrupt_file_is_replaced(
    sqlite_url: str,
    tmp_path: Path,
    records: FileRecords,
    facts: list[MessageFacts],
    rubbish: bytes,
) -> None:
    path = tmp_path / "index.db"
    reader = Index.open(sqlite_url, node="n1")  # as the web role might have it open
    assert reader.listings.counts() == {}
    reader._database._engine.dispose()
    path.write_bytes(rubbish)
    path.with_name(path.name + "-wal").write_bytes(rubbish)
    rebuild(sqlite_url, node="n1", records=records, journal=tmp_path / "journal")
    for index in (Index.open(sqlite_url, node="n1"), reader):
        assert len(everything(index)["message"]) == 5
        index.close()
    assert [p.name for p in tmp_path.iterdir() if ".new" in p.name] == []


def test_readers_follow_a_file_that_was_exchanged(
    sqlite_url: str, tmp_path: Path, records: FileRecords, facts: list[MessageFacts]
) -> None:
    reader = Index.open(sqlite_url, node="n1")
    assert reader.listings.counts() == {}
    other = Index.open(f"sqlite:///{tmp_path / 'other.db'}", node="n1")
    other.ingest(tmp_path / "journal")
    other.close()
    for name in ("index.db-wal", "index.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "other.db").rename(tmp_path / "index.db")
    assert sum(reader.listings.counts().values()) == 5
    reader.close()


def test_a_writer_notices_that_its_index_was_exchanged(
    sqlite_url: str, tmp_path: Path, facts: list[MessageFacts]
) -> None:
    """What it had read went into the old file: the new one has to be told all of it."""
    keeper = Index.open(sqlite_url, node="n1")
    keeper.ingest(tmp_path / "journal")
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"index.db{suffix}").unlink(missing_ok=True)
    Index.open(sqlite_url, node="n1").close()  # somebody's command line makes an empty one
    more = make_facts()
    write_journal(tmp_path / "journal", WORKER, [message_line(more)])
    keeper.ingest(tmp_path / "journal")
    assert {row["id"] for row in everything(keeper)["message"]} == {
        more.id,
        *(one.id for one in facts),
    }
    keeper.close()


def test_the_log_of_a_corrupt_index_is_not_replayed_into_the_new_one(
    sqlite_url: str, tmp_path: Path, records: FileRecords, facts: list[MessageFacts]
) -> None:
    crashed = Index.open(sqlite_url, node="n1")
    write_journal(tmp_path / "other", WORKER, [message_line(one) for one in queued(30)])
    crashed.ingest(tmp_path / "other")
    log = (tmp_path / "index.db-wal").read_bytes()
    crashed.close()
    assert len(log) > 50_000
    (tmp_path / "index.db").write_bytes(b"garbage" * 5000)
    (tmp_path / "index.db-wal").write_bytes(log)
    rebuild(sqlite_url, node="n1", records=records, journal=tmp_path / "journal")
    index = Index.open(sqlite_url, node="n1")
    assert len(everything(index)["message"]) == 5
    index.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "index.db")) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_damaged_page_is_replaced(
    sqlite_url: str, tmp_path: Path, records: FileRecords, facts: list[MessageFacts]
) -> None:
    path = tmp_path / "index.db"
    index = Index.open(sqlite_url, node="n1")
    index.ingest(tmp_path / "journal")
    index.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    rebuild(sqlite_url, node="n1", records=records, journal=tmp_path / "journal")
    index = Index.open(sqlite_url, node="n1")
    assert len(everything(index)["message"]) == 5
    index.close()


def test_a_newer_index_is_replaced_by_reindex_only(
    sqlite_url: str, tmp_path: Path, records: FileRecords, facts: list[MessageFacts]
) -> None:
    path = tmp_path / "index.db"
    Index.open(sqlite_url, node="n1").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE index_version SET version_num = '0099'")
    connection.close()
    with pytest.raises(IndexUnavailableError, match=r"version 99.*version 1.*"):
        Index.open(sqlite_url, node="n1")
    rebuild(sqlite_url, node="n1", records=records, journal=tmp_path / "journal")
    index = Index.open(sqlite_url, node="n1")
    assert len(everything(index)["message"]) == 5
    index.close()


def test_readers_see_old_or_new_rows_never_none(
    database_url: str, tmp_path: Path, records: FileRecords, facts: list[MessageFacts]
) -> None:
    index = Index.open(database_url, node="n1", busy_timeout_s=20)
    index.ingest(tmp_path / "journal")
    counts: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            counts.add(sum(index.listings.counts().values()))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(3):
            rebuild(database_url, node="n1", records=records, journal=tmp_path / "journal")
    finally:
        stop.set()
        reader.join()
    assert counts == {5}
    index.close()


def test_a_held_lock_is_named_and_the_old_rows_stay(
    sqlite_url: str,
    tmp_path: Path,
    records: FileRecords,
    facts: list[MessageFacts],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.store.rebuild._PATIENCE", 1)
    path = tmp_path / "index.db"
    index = Index.open(sqlite_url, node="n1")
    index.ingest(tmp_path / "journal")
    before = everything(index)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(IndexUnavailableError, match="locked by another process"):
        rebuild(sqlite_url, node="n1", records=records, journal=tmp_path / "journal")
    blocker.execute("ROLLBACK")
    blocker.close()
    assert everything(index) == before
    index.close()


def test_an_unreadable_journal_changes_nothing(
    database_url: str,
    tmp_path: Path,
    records: FileRecords,
    facts: list[MessageFacts],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = Index.open(database_url, node="n1")
    index.ingest(tmp_path / "journal")
    before = everything(index)

    def broken(path: Path, offset: int) -> Iterator[object]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("gateway.store.tailing.lines_from", broken)
    with pytest.raises(StorageError, match="Input/output error"):
        rebuild(database_url, node="n1", records=records, journal=tmp_path / "journal")
    assert everything(index) == before
    index.close()
