"""Keeping features comes after the hand-off: whatever goes wrong there, the reply stands."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.errors import StorageFullError
from gateway.core.ids import IdSource
from gateway.settings import load
from gateway.store.features import KeptFeatures
from gateway.store.journal import Journal
from gateway.store.records import FileRecords
from tests.functional.test_drift import SERVED, TODAY_MS, Bystander, Days, intake_of, mail
from tests.functional.test_loop import HAM


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked: list[KeptFeatures] = []

    def keep(self, kept: KeptFeatures) -> None:
        self.asked.append(kept)
        raise self.error


@pytest.mark.parametrize("error", [StorageFullError("no room"), RuntimeError("a bug")])
async def test_the_reply_stands(tmp_path: Path, error: Exception) -> None:
    config = tmp_path / "gateway.toml"
    config.touch()
    settings, clock, nobody, features = load(config), Days(), Bystander(), Failing(error)
    clock.at_ms = TODAY_MS
    journal = Journal(tmp_path / "journal", "smtp", clock)
    records = FileRecords(tmp_path / "records", tmp_path / "tmp")
    intake = replace(intake_of(settings, records, journal, clock, nobody), features=features)
    mail_id = IdSource("n1").next(TODAY_MS)
    reply = await intake.take(mail(HAM, mail_id, TODAY_MS), SERVED)
    assert reply.code == 250
    assert [kept.mail_id for kept in features.asked] == [mail_id]
    journal.close()
    records.close()
