"""Drift is found in the index, told in both languages with a step, and not where there is none."""

import base64
import random
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.cli import doctor
from gateway.core.clock import SystemClock
from gateway.core.record import Event, MessageFacts, What
from gateway.core.verdict import VerdictClass
from gateway.locale import translator
from gateway.locale.drifting import DRIFT_REASONS, DRIFT_STEPS, drift_step, explain_drift
from gateway.settings import IndexSettings, PathSettings, Settings
from gateway.store.drifting import drift, drift_by_day
from gateway.store.index import Index
from models.drift import DriftCode, Finding, Step
from tests.contract.samples import DAY_MS, NOON_MS, make_facts, message_line, write_journal

FILE = "2026-11-23/smtp-1-1.jsonl"


def mail(
    days_ago: int, number: int, *, known: float = 0.9, spam: float = 0.3, model: str = "site-a"
) -> list[MessageFacts]:
    """Messages of one day; ``spam`` is the share that scores high."""
    chance = random.Random(days_ago)
    found = []
    for n in range(number):
        high = chance.random() < spam
        facts = make_facts(at_ms=NOON_MS - days_ago * DAY_MS + n)
        assert facts.verdict is not None
        verdict = replace(
            facts.verdict,
            probability=0.97 if high else 0.03,
            known_share=known,
            model_id=model,
            kind=VerdictClass.SPAM if high else VerdictClass.HAM,
        )
        digest = sha256(facts.id.encode()).hexdigest()
        found.append(replace(facts, verdict=verdict, sha256=digest))
    return found


def labels(facts: Iterable[MessageFacts], *, wrong: int) -> list[Event]:
    """A label for each, the first ones against the verdict."""
    given = []
    for n, one in enumerate(facts):
        assert one.verdict is not None
        spam = (one.verdict.kind is VerdictClass.SPAM) is (n >= wrong)
        said = "spam" if spam else "ham"
        detail: dict[str, object] = {"label": said, "person": "anna", "role": "admin"}
        detail["features"] = base64.b64encode(b"x").decode()
        given.append(
            Event(at_ms=one.received_at_ms + 9, what=What.LABEL, mail_id=one.id, detail=detail)
        )
    return given


def found(
    index: Index, directory: Path, facts: list[MessageFacts], given: Iterable[Event] = ()
) -> list[Finding]:
    write_journal(directory, FILE, [*(message_line(one) for one in facts), *given])
    index.ingest(directory)
    now = NOON_MS + 3_600_000
    return drift(drift_by_day(index, now), now)


def weeks(**options: float) -> list[MessageFacts]:
    return [one for day in range(4, 12) for one in mail(day, 40, **options)]  # type: ignore[arg-type]


def lately(**options: float) -> list[MessageFacts]:
    return [one for day in range(3) for one in mail(day, 100, **options)]  # type: ignore[arg-type]


def test_like_mail_raises_nothing(index: Index, tmp_path: Path) -> None:
    recent = lately()
    assert found(index, tmp_path, weeks() + recent, labels(recent[:60], wrong=1)) == []


@pytest.mark.parametrize(
    ("options", "code", "step"),
    [
        ({"spam": 0.75}, DriftCode.SCORES_SHIFTED, Step.REVIEW_LABELS),
        ({"known": 0.6}, DriftCode.MORE_UNKNOWN, Step.RETRAIN),
    ],
)
def test_other_mail_is_noticed(
    index: Index, tmp_path: Path, options: dict[str, float], code: DriftCode, step: Step
) -> None:
    (finding,) = found(index, tmp_path, weeks() + lately(**options))
    assert (finding.code, finding.step) == (code, step)


def test_people_who_disagree_are_heard(index: Index, tmp_path: Path) -> None:
    recent = lately()
    (finding,) = found(index, tmp_path, weeks() + recent, labels(recent[:60], wrong=12))
    assert (finding.code, finding.step) == (DriftCode.MORE_DISAGREEMENT, Step.RETRAIN)
    assert finding.parameters == {"before": 0.0, "now": 0.2, "labels": 60.0}


def test_another_model_s_scores_are_not_compared(index: Index, tmp_path: Path) -> None:
    """After a promotion all scores are others; that is no drift of the mail."""
    facts = weeks(model="site-old", spam=0.9) + lately()  # type: ignore[arg-type]
    (finding,) = found(index, tmp_path, facts)
    assert (finding.code, finding.step) == (DriftCode.TOO_LITTLE_MAIL, Step.WAIT)


def test_an_empty_index_raises_nothing_to_act_on(index: Index, tmp_path: Path) -> None:
    (finding,) = found(index, tmp_path, [])
    assert finding.step is Step.WAIT


@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("code", list(DriftCode))
def test_every_finding_is_told(code: DriftCode, language: str) -> None:
    names = ("index", "now", "before", "labels", "messages", "needed")
    text = explain_drift(code, dict.fromkeys(names, 0.25), language)
    assert text
    assert "{" not in text


def test_every_step_has_words() -> None:
    assert set(DRIFT_REASONS) == {code.value for code in DriftCode}
    assert set(DRIFT_STEPS) == {step.value for step in Step}
    for step in Step:
        german, english = drift_step(step, "de"), drift_step(step, "en")
        assert (step is Step.WAIT) is (not german)
        assert (step is Step.WAIT) is (german == english)


@pytest.mark.parametrize(("language", "step"), [("de", "schwamm train"), ("en", "label some")])
def test_doctor_tells_it_with_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str, step: str
) -> None:
    monkeypatch.setenv("LC_ALL", language)
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: NOON_MS + 3_600_000)
    settings = Settings(paths=PathSettings(state=tmp_path), index=IndexSettings())
    index = Index.open(settings.index_url, node="n1")
    found(index, tmp_path / "journal", weeks() + lately(known=0.6))
    index.close()
    (finding,) = doctor._drift(settings, translator(language))
    assert (finding.check, finding.ok) == ("drift", False)
    assert "40" in finding.text
    assert step in finding.mend
    quiet = Settings(paths=PathSettings(state=tmp_path / "new"))
    (tmp_path / "new").mkdir()
    (finding,) = doctor._drift(quiet, translator(language))
    assert (finding.ok, finding.mend) == (True, "")
