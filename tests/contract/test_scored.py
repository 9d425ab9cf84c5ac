"""Past verdicts, read back for statistics: whole, sampled, and past damage."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from gateway.core.record import MessageFacts
from gateway.store.index import Index
from tests.contract.samples import (
    DAY_MS,
    NOON_MS,
    make_facts,
    message_line,
    without_verdict,
    write_journal,
)

FILE = "2026-11-23/smtp-1-1.jsonl"


def fill(index: Index, directory: Path, facts: list[MessageFacts]) -> None:
    write_journal(directory, FILE, [message_line(one) for one in facts])
    index.ingest(directory)


def test_what_models_said_is_read_back(index: Index, tmp_path: Path) -> None:
    facts = make_facts()
    fill(index, tmp_path, [facts, without_verdict(make_facts())])
    (mail,) = index.scored.sample(NOON_MS - DAY_MS, NOON_MS + DAY_MS, a_day=100)
    assert (mail.mail_id, mail.verdict, mail.model_id) == (facts.id, "spam", "baseline-1")
    assert (mail.probability, mail.known_share) == (0.98, 0.61)
    assert mail.shadow is not None
    assert (mail.shadow.probability, mail.shadow.model_id) == (0.25, "site-1")
    assert list(index.scored.of([facts.id, "unknown"])) == [mail]


def test_only_the_time_asked_for(index: Index, tmp_path: Path) -> None:
    days = [make_facts(at_ms=NOON_MS + n * DAY_MS) for n in range(3)]
    fill(index, tmp_path, days)
    found = index.scored.sample(NOON_MS + 1, NOON_MS + 2 * DAY_MS, a_day=100)
    assert [mail.mail_id for mail in found] == [days[1].id]


def test_a_busy_day_is_sampled_and_a_quiet_one_is_not(index: Index, tmp_path: Path) -> None:
    busy = [
        replace(make_facts(at_ms=NOON_MS + n), sha256=sha256(str(n).encode()).hexdigest())
        for n in range(400)
    ]
    quiet = [make_facts(at_ms=NOON_MS + DAY_MS + n) for n in range(5)]
    fill(index, tmp_path, busy + quiet)
    found = list(index.scored.sample(NOON_MS, NOON_MS + 2 * DAY_MS, a_day=100))
    of_busy = [mail for mail in found if mail.received_at_ms < NOON_MS + DAY_MS]
    assert 60 <= len(of_busy) <= 140
    assert len(found) - len(of_busy) == 5
    assert list(index.scored.sample(NOON_MS, NOON_MS + 2 * DAY_MS, a_day=100)) == found
