"""Facts of mail that is long gone leave index and journals; a rebuild then tells the same."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.record import CopyState, Event, MessageFacts, What
from gateway.store.files import OsFileLayer
from gateway.store.index import Index
from gateway.store.journal_reading import journal_names, read_from
from gateway.store.purging import Purged, Purging
from gateway.store.records import FileRecords
from tests.contract.samples import (
    DAY_MS,
    NOON_MS,
    copy_event,
    everything,
    make_copy,
    make_facts,
    message_line,
    write_journal,
)

OLD, LATER, NEW = (
    "2026-11-23/smtp-100-1.jsonl",
    "2026-12-01/keeper-7-1.jsonl",
    "2026-12-30/web-1-1.jsonl",
)
SOON_MS, NEWER_MS = NOON_MS + 8 * DAY_MS, NOON_MS + 37 * DAY_MS
CUTOFF_MS = NOON_MS + 20 * DAY_MS


class Site:
    """A journal of three days with mail in every stage of its life."""

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.url = root, url
        self.journal = root / "journal"
        (root / "tmp").mkdir()
        self.records = FileRecords(root / "records", root / "tmp")
        delivered = [
            make_facts(make_copy(state=CopyState.DELIVERED), subject=f"over {n}") for n in range(40)
        ]
        self.held = make_facts(subject="still held")
        self.late = make_facts(make_copy(state=CopyState.QUEUED), subject="delivered later")
        self.recent = make_facts(subject="released a short while ago")
        self.labelled = make_facts(make_copy(state=CopyState.DELIVERED), subject="labelled")
        self.records.put_now(self.held, b"bytes")
        old = [*map(message_line, delivered[:20]), message_line(self.held)]
        old += [availability(NOON_MS), message_line(self.late), message_line(self.labelled)]
        old += [message_line(self.recent), label(self.labelled), *map(message_line, delivered[20:])]
        write_journal(self.journal, OLD, old)
        delivery = copy_event(self.late, CopyState.DELIVERED, at_ms=SOON_MS)
        write_journal(self.journal, LATER, [delivery, availability(SOON_MS)])
        new = [copy_event(self.recent, CopyState.DELIVERED, at_ms=NEWER_MS)]
        new += [message_line(make_facts(make_copy(state=CopyState.DELIVERED), at_ms=NEWER_MS))]
        write_journal(self.journal, NEW, new)
        self.index = Index.open(url, node="n1")
        self.index.ingest(self.journal)

    def purge(self, before_ms: int = CUTOFF_MS) -> Purged:
        return self.index.purging.purge(self.journal, self.records, before_ms)

    def lines(self, name: str) -> list[tuple[str, str]]:
        return [(e.what, e.mail_id) for e, _ in read_from(self.journal / name, 0)]

    def rebuilt(self) -> dict[str, list[dict[str, object]]]:
        self.index.fill(self.records, self.journal)
        return everything(self.index)


def availability(at_ms: int) -> Event:
    detail: dict[str, object] = {"kind": "heartbeat", "subject": "n1", "up": True}
    return Event(at_ms=at_ms, what=What.AVAILABILITY, detail=detail)


def label(facts: MessageFacts) -> Event:
    detail: dict[str, object] = {"label": "spam", "person": "anna", "customer": "acme"}
    return Event(at_ms=NOON_MS + 50, what=What.LABEL, mail_id=facts.id, detail=detail)


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Iterator[Site]:
    one = Site(tmp_path, database_url)
    yield one
    one.index.close()
    one.records.close()


def test_what_is_over_goes_and_everything_else_stays(site: Site) -> None:
    found = site.purge()
    assert (found.messages, found.files) == (42, 0)
    assert site.lines(OLD) == [
        (What.MESSAGE, site.held.id),
        (What.AVAILABILITY, ""),
        (What.MESSAGE, site.recent.id),
        (What.LABEL, site.labelled.id),
    ]
    assert site.lines(LATER) == [(What.AVAILABILITY, "")]
    assert len(site.lines(NEW)) == 2
    rows = everything(site.index)
    assert {row["subject"] for row in rows["message"]} == {
        *("still held", "released a short while ago", "Grüße aus Köln"),
    }
    assert {row["mail_id"] for row in rows["label"]} == {site.labelled.id}
    assert all(
        "over" not in (site.journal / name).read_text() for name in journal_names(site.journal)
    )


def test_a_rebuilt_index_has_the_rows_of_the_purged_one(site: Site) -> None:
    before = everything(site.index)
    site.purge()
    purged = everything(site.index)
    assert purged != before
    assert site.rebuilt() == purged


def test_a_second_round_finds_nothing_and_what_was_left_goes_later(site: Site) -> None:
    site.purge()
    assert site.purge() == Purged()
    site.records.delete(site.held.id)
    assert site.purge().messages == 0, "the index still has it as held"
    expired = copy_event(site.held, CopyState.EXPIRED, at_ms=NEWER_MS)
    write_journal(site.journal, NEW, [expired])
    site.index.ingest(site.journal)
    site.purge(NEWER_MS + 2 * DAY_MS)
    assert {what for name in journal_names(site.journal) for what, _ in site.lines(name)} == {
        *(What.LABEL, What.AVAILABILITY),
    }
    assert NEW not in journal_names(site.journal), "nothing in it is to stay"
    assert site.rebuilt() == everything(site.index)


def test_a_journal_that_the_index_has_not_read_stays(site: Site) -> None:
    unread = make_facts(make_copy(state=CopyState.DELIVERED), subject="unread")
    write_journal(site.journal, OLD, [message_line(unread)])
    size = (site.journal / OLD).stat().st_size
    site.purge()
    assert (site.journal / OLD).stat().st_size == size
    site.index.ingest(site.journal)
    site.purge()
    assert "unread" not in (site.journal / OLD).read_text()


def test_lines_nobody_can_read_stay(site: Site) -> None:
    with (site.journal / OLD).open("ab") as file:
        file.write(b'{"v":999,"what":"of a later release"}\n')
    site.index.ingest(site.journal)
    site.purge()
    assert "of a later release" in (site.journal / OLD).read_text()


def test_the_octets_are_gone_from_the_database_file_too(tmp_path: Path, sqlite_url: str) -> None:
    site = Site(tmp_path, sqlite_url)
    file = tmp_path / "index.db"

    def octets() -> bytes:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return b"".join(path.read_bytes() for path in tmp_path.glob("index.db*"))

    try:
        assert b"over 17" in octets()
        site.purge()
        assert b"over 17" not in octets()
        assert b"still held" in octets()
    finally:
        site.index.close()
        site.records.close()


def test_gaps_cost_no_disk(site: Site, tmp_path: Path) -> None:
    path = site.journal / OLD
    before = path.stat()
    site.purge()
    after = path.stat()
    assert after.st_blocks < before.st_blocks
    assert after.st_size < before.st_size, "nothing stays behind the last line that does"


class _Killed(BaseException):
    """Nothing after this has an effect."""


class _Dying(OsFileLayer):
    """Dies before its operation number ``at``."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _passing(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _Killed

    def create(self, path: Path) -> int:
        self._passing()
        return super().create(path)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        self._passing()
        super().write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self._passing()
        super().fsync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._passing()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._passing()
        super().unlink(path)


def test_killed_at_any_operation_the_next_round_comes_to_the_same(
    site: Site, tmp_path: Path
) -> None:
    """Until it does, every line that is to stay is there, once, and can be read."""
    kept = {site.held.id, site.recent.id, site.labelled.id}
    for at in range(100):
        layer = _Dying(at)
        purging = Purging(site.index._database, "n1", site.index._writing, file_layer=layer)
        try:
            purging.purge(site.journal, site.records, CUTOFF_MS)
        except _Killed:
            names = [site.lines(name) for name in journal_names(site.journal)]
            assert kept <= {mail_id for lines in names for _, mail_id in lines}
            continue
        break
    else:
        pytest.fail("it never came to an end")
    assert at > 5, "it was not killed at all"
    purged = everything(site.index)
    assert site.rebuilt() == purged
    assert not [path for path in site.journal.rglob("*") if path.suffix == ".purged"]


def test_a_rebuild_between_index_and_journals_is_mended_by_the_next_round(site: Site) -> None:
    """The index was purged, the journals not yet: a rebuild brings back what goes again."""
    site.index.purging._purge_index(site.records, CUTOFF_MS)
    site.rebuilt()
    site.purge()
    purged = everything(site.index)
    assert site.rebuilt() == purged
