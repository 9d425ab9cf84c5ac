"""A label is a person's, counts once, can be taken back, and outlives its mail."""

import base64
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from gateway.core.record import CopyState, Event, MessageFacts, What
from gateway.quarantine.review import LabelValue, Review, Reviewer, ReviewError
from gateway.store.features import find_features
from gateway.store.index import Index
from gateway.store.journal import Journal
from gateway.store.labels import LabelBook
from gateway.store.records import FileRecords
from models.features import FEATURE_SPEC, extract
from models.fingerprint import Fingerprint, fingerprint
from models.message import scan
from tests.contract.samples import (
    DAY_MS,
    NOON_MS,
    FakeClock,
    copy_event,
    make_facts,
    message_line,
    write_journal,
)

RAW = b"From: a@example.org\r\nSubject: Rechnung\r\n\r\nAnbei die Rechnung vom November.\r\n"
FILE = "2026-11-23/cli-1-1.jsonl"


def given(
    mail_id: str, said: str, person: str, at: int, *, role: str = "user", kept: bool = True
) -> Event:
    detail: dict[str, object] = {"label": said, "person": person, "role": role, "source": "web"}
    if kept:
        detail["feature_spec"] = FEATURE_SPEC
        detail["features"] = {
            "hashes": base64.b64encode(extract(scan(RAW), RAW).to_bytes()).decode(),
            "fingerprint": base64.b64encode(fingerprint(RAW).to_bytes()).decode(),
            "arrived_at_ms": NOON_MS,
        }
    return Event(at_ms=NOON_MS + at, what=What.LABEL, mail_id=mail_id, detail=detail)


@pytest.fixture
def facts() -> MessageFacts:
    return make_facts()


def book(index: Index, tmp_path: Path, facts: MessageFacts, *labels: Event) -> LabelBook:
    write_journal(tmp_path / "journal", FILE, [message_line(facts), *labels])
    index.ingest(tmp_path / "journal")
    return index.labels.book()


def counted(found: LabelBook) -> list[tuple[str, bool]]:
    return [(one.person, one.is_spam) for one in found.standing]


def test_a_changed_label_counts_once(index: Index, tmp_path: Path, facts: MessageFacts) -> None:
    found = book(
        index,
        tmp_path,
        facts,
        given(facts.id, "spam", "anna", 1),
        given(facts.id, "ham", "anna", 2),
    )
    assert counted(found) == [("anna", False)]
    assert found.disputes == ()
    (one,) = found.standing
    assert one.customer == "acme"
    assert one.lesson.arrived_at_ms == NOON_MS
    assert one.lesson.feature_spec == FEATURE_SPEC
    assert one.lesson.hashes == extract(scan(RAW), RAW).to_bytes()
    assert Fingerprint.from_bytes(one.lesson.fingerprint).exact == fingerprint(RAW).exact


def test_disagreement_is_listed_and_the_last_counts(
    index: Index, tmp_path: Path, facts: MessageFacts
) -> None:
    found = book(
        index,
        tmp_path,
        facts,
        given(facts.id, "spam", "anna", 1),
        given(facts.id, "ham", "bert", 2),
    )
    assert counted(found) == [("bert", False)]
    assert found.standing[0].disputed
    (dispute,) = found.disputes
    assert [(vote.person, vote.is_spam) for vote in dispute.votes] == [
        ("anna", True),
        ("bert", False),
    ]


def test_an_administrator_outranks_whoever_comes_later(
    index: Index, tmp_path: Path, facts: MessageFacts
) -> None:
    found = book(
        index,
        tmp_path,
        facts,
        given(facts.id, "spam", "root", 1, role="admin"),
        given(facts.id, "ham", "bert", 2),
    )
    assert counted(found) == [("root", True)]


@pytest.mark.parametrize(
    ("taker", "role", "left"),
    [("anna", "user", []), ("bert", "user", [("anna", True)]), ("root", "admin", [])],
)
def test_a_label_taken_back_does_not_count(
    index: Index,
    tmp_path: Path,
    facts: MessageFacts,
    taker: str,
    role: str,
    left: list[tuple[str, bool]],
) -> None:
    found = book(
        index,
        tmp_path,
        facts,
        given(facts.id, "spam", "anna", 1),
        given(facts.id, "none", taker, 2, role=role, kept=False),
    )
    assert counted(found) == left
    assert found.withdrawn == (0 if left else 1)


def test_nobody_labels_nothing(index: Index, tmp_path: Path, facts: MessageFacts) -> None:
    """The gateway's own verdict, sent in as a label, has no person behind it."""
    found = book(
        index,
        tmp_path,
        facts,
        given(facts.id, "spam", "", 1),
        given(facts.id, "probably", "anna", 2),
        copy_event(facts, CopyState.DELETED, at_ms=NOON_MS + 3, by="anna"),
    )
    assert (found.standing, found.nobodys) == ((), 2)


def test_the_last_label_finds_the_features_of_an_earlier_one(
    index: Index, tmp_path: Path, facts: MessageFacts
) -> None:
    found = book(
        index,
        tmp_path,
        facts,
        given(facts.id, "spam", "anna", 1),
        given(facts.id, "ham", "bert", 2, kept=False),
    )
    assert counted(found) == [("bert", False)]
    assert found.standing[0].lesson.hashes


@pytest.mark.parametrize(
    "features",
    [None, "AAEC", {"hashes": "*", "fingerprint": "", "arrived_at_ms": 1}, {"hashes": "AAEC"}],
)
def test_damaged_features_are_no_lesson(
    index: Index, tmp_path: Path, facts: MessageFacts, features: object
) -> None:
    event = given(facts.id, "spam", "anna", 1)
    event.detail["features"] = features
    found = book(index, tmp_path, facts, event)
    assert (found.standing, found.without_features) == ((), 1)


class Quarantine:
    """Records, journal and index as the command line has them."""

    def __init__(self, index: Index, directory: Path) -> None:
        self.index = index
        self.directory = directory
        self.records = FileRecords(directory / "records", directory / "tmp")
        (directory / "tmp").mkdir()
        self.clock = FakeClock()
        self.journal = Journal(directory / "journal", "cli", self.clock)

    def review(self, person: str = "anna", role: str = "user") -> Review:
        return Review(
            listings=self.index.listings,
            records=self.records,
            features=partial(find_features, self.directory / "features"),
            journal=self.journal,
            clock=self.clock,
            reviewer=Reviewer(person=person, role=role, source="web"),
        )

    def book(self) -> LabelBook:
        self.clock.at_ms += 1000
        self.index.ingest(self.directory / "journal")
        return self.index.labels.book()


@pytest.fixture
async def held(
    index: Index, tmp_path: Path, facts: MessageFacts
) -> AsyncIterator[tuple[Quarantine, str]]:
    quarantine = Quarantine(index, tmp_path)
    await quarantine.records.put(facts, RAW)
    index.adopt(quarantine.records)
    yield quarantine, facts.id
    quarantine.journal.close()
    quarantine.records.close()


async def test_a_label_outlives_its_mail_and_can_still_be_changed(
    held: tuple[Quarantine, str],
) -> None:
    quarantine, mail_id = held
    quarantine.review().label(mail_id, LabelValue.SPAM)
    quarantine.book()
    quarantine.records.delete(mail_id)
    quarantine.clock.at_ms += DAY_MS
    quarantine.review().label(mail_id, LabelValue.HAM)
    found = quarantine.book()
    assert counted(found) == [("anna", False)]
    (one,) = found.standing
    assert one.lesson.hashes == extract(scan(RAW), RAW).to_bytes()
    assert Fingerprint.from_bytes(one.lesson.fingerprint).exact == fingerprint(RAW).exact
    assert one.lesson.arrived_at_ms == NOON_MS
    quarantine.review().label(mail_id, LabelValue.NONE)
    assert quarantine.book().withdrawn == 1


async def test_a_label_outlives_what_was_known_of_its_mail(
    held: tuple[Quarantine, str],
) -> None:
    """The facts are purged, and the index made anew: the label still is this customer's."""
    quarantine, mail_id = held
    quarantine.review().label(mail_id, LabelValue.SPAM)
    quarantine.review().delete(mail_id)
    quarantine.book()
    quarantine.records.delete(mail_id)
    journal = quarantine.directory / "journal"
    purged = quarantine.index.purging.purge(journal, quarantine.records, NOON_MS + 40 * DAY_MS)
    assert purged.messages == 1
    quarantine.index.fill(quarantine.records, journal)
    assert not quarantine.index.listings.copies(mail_id)
    (one,) = quarantine.book().standing
    assert (one.mail_id, one.customer, one.is_spam) == (mail_id, "acme", True)
    quarantine.review().label(mail_id, LabelValue.NONE)
    assert quarantine.book().withdrawn == 1


async def test_mail_that_is_gone_cannot_be_labelled_for_the_first_time(
    held: tuple[Quarantine, str],
) -> None:
    quarantine, mail_id = held
    quarantine.records.delete(mail_id)
    with pytest.raises(ReviewError, match="nothing of it is kept any more"):
        quarantine.review().label(mail_id, LabelValue.SPAM)


async def test_release_is_no_label_but_release_as_ham_is(held: tuple[Quarantine, str]) -> None:
    quarantine, mail_id = held
    quarantine.review().release(mail_id)
    assert quarantine.book() == LabelBook()
    with pytest.raises(ReviewError, match="not held any more"):
        quarantine.review().release_as_ham(mail_id)
    assert quarantine.book() == LabelBook()


async def test_release_as_ham_does_both(held: tuple[Quarantine, str]) -> None:
    quarantine, mail_id = held
    assert quarantine.review().release_as_ham(mail_id) == ["bert@example.org"]
    assert counted(quarantine.book()) == [("anna", False)]
    (row,) = quarantine.index.listings.copies(mail_id)
    assert row.state == CopyState.RELEASED
