"""A hostile person with hundreds of labels gets no worse model into service, and is named."""

import base64
import json
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.core.clock import SystemClock
from gateway.core.record import Event, What
from gateway.store.journal import Journal
from models.features import FEATURE_SPEC, Features, extract
from models.fingerprint import fingerprint_of
from models.message import scan
from models.registry import Registry
from training.cli import train

DATA = Path(__file__).parents[1] / "data" / "mail"
DAY_MS = 86_400_000
START_MS = 1_793_000_000_000
HAM_WORDS = [f"{a}{b}n{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "e", "er")]
SPAM_WORDS = [f"{a}{b}x{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "e", "er")]
BOTH = [f"{a}{b}s{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "e", "er")]

Labelled = tuple[bytes, bool]


def real(kind: str) -> list[bytes]:
    """The headers of real mail, in which the generated text travels."""
    lines = (DATA / "index").read_text().splitlines()
    paths = [line.partition(" ")[2] for line in lines if line.startswith(f"{kind} ")]
    heads = [(DATA / path).read_bytes().partition(b"\n\n")[0] for path in paths]
    return [head for head in heads if b"multipart" not in head and b"base64" not in head]


def letter(chance: random.Random, heads: list[bytes], *, is_spam: bool) -> bytes:
    words = chance.choices(SPAM_WORDS if is_spam else HAM_WORDS, k=12)
    words += chance.choices(BOTH, k=30)
    chance.shuffle(words)
    return chance.choice(heads) + b"\n\n" + " ".join(words).encode() + b"\n"


class Site:
    """The state of a gateway with labels in its journal."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "gateway.toml"
        self.config.write_text("")
        self.state = directory / "var"
        self.chance = random.Random(7)
        self.heads = {True: real("spam"), False: real("ham")}
        self.journal = Journal(self.state / "journal", "cli", SystemClock())
        self.number = 0

    def mail(self, number: int) -> list[Labelled]:
        kinds = [n % 2 == 0 for n in range(number)]
        return [(letter(self.chance, self.heads[k], is_spam=k), k) for k in kinds]

    def label(
        self, person: str, labelled: Iterable[Labelled], *, days: range, role: str = "user"
    ) -> None:
        """Labels given on the day the mail came, evenly over those days."""
        events = []
        for raw, is_spam in labelled:
            self.number += 1
            at_ms = START_MS + days[self.number % len(days)] * DAY_MS + self.number * 1000
            events.append(label_event(f"mail{self.number}", raw, is_spam, person, role, at_ms))
        self.journal.append_durable_now(events)

    def run(self, *more: str) -> Result:
        return CliRunner().invoke(train, ["--config", str(self.config), "--json", *more])

    def train(self, *more: str) -> tuple[Result, dict[str, object]]:
        done = self.run(*more)
        assert done.stdout, (done.stderr, done.exception)
        return done, json.loads(done.stdout)


def label_event(
    mail_id: str, raw: bytes, is_spam: bool, person: str, role: str, at_ms: int
) -> Event:
    mail = scan(raw)
    kept = {
        "hashes": base64.b64encode(extract(mail, raw).to_bytes()).decode(),
        "fingerprint": base64.b64encode(fingerprint_of(mail).to_bytes()).decode(),
        "arrived_at_ms": at_ms,
    }
    detail: dict[str, object] = {
        "label": "spam" if is_spam else "ham",
        "person": person,
        "role": role,
        "source": "web",
        "feature_spec": FEATURE_SPEC,
        "features": kept,
    }
    return Event(at_ms=at_ms, what=What.LABEL, mail_id=mail_id, detail=detail)


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    one = Site(tmp_path)
    one.label("anna", one.mail(320), days=range(30), role="admin")
    one.label("bert", one.mail(220), days=range(30))
    return one


def flipped(mail: list[Labelled]) -> list[Labelled]:
    return [(raw, not is_spam) for raw, is_spam in mail]


def only(mail: list[Labelled], *, spam: bool) -> list[Labelled]:
    return [(raw, not is_spam) for raw, is_spam in mail if is_spam is spam]


def errors(site: Site, name: str) -> float:
    """How much of fresh mail of this site a model gets wrong, in percent."""
    bundle = Registry(site.state / "models").load(name)
    fresh = site.mail(200)
    wrong = 0
    for raw, is_spam in fresh:
        features = Features.from_bytes(extract(scan(raw), raw).to_bytes())
        wrong += (bundle.score_features(features).probability >= 0.5) is not is_spam
    return 100.0 * wrong / len(fresh)


def named(told: dict[str, object]) -> set[str]:
    voices = told["voices"]
    assert isinstance(voices, list)
    return {voice["person"] for voice in voices if voice["worse"]}


def test_honest_labels_pass_and_teach(site: Site) -> None:
    site.label("mallory", site.mail(180), days=range(27, 30))
    done, told = site.train()
    assert (done.exit_code, told["reasons"]) == (0, [])
    assert named(told) == set()
    assert errors(site, str(told["model"])) < 5.0


@pytest.mark.parametrize("days", [range(30), range(27, 30)], ids=["always", "in-the-last-days"])
def test_five_hundred_wrong_labels_are_refused_and_their_author_is_named(
    site: Site, days: range
) -> None:
    site.label("mallory", flipped(site.mail(500)), days=days)
    done, told = site.train()
    assert done.exit_code == 1
    assert told["gate_passed"] is False
    assert named(told) == {"mallory"}
    assert errors(site, str(told["model"])) > 10.0  # it was worth refusing
    without_mallory(site)


@pytest.mark.parametrize("spam", [True, False], ids=["spam-called-good", "good-mail-called-spam"])
def test_where_wrong_labels_are_all_there_is_of_the_last_days_their_author_is_named(
    site: Site, spam: bool
) -> None:
    wrong = only(site.mail(1000), spam=spam)
    assert len(wrong) == 500
    site.label("mallory", wrong, days=range(27, 30))
    done = site.run()
    assert done.exit_code == 1
    said = done.stdout + done.stderr  # where nothing is left to judge by, no model is made
    assert "with the labels of mallory (500)" in said
    assert "--without mallory" in said
    without_mallory(site)


def without_mallory(site: Site) -> None:
    """The way out that the refusal names."""
    done, told = site.train("--without", "mallory")
    assert (done.exit_code, told["reasons"]) == (0, [])
    labels = told["labels"]
    assert isinstance(labels, dict)
    assert labels["left_out"] == 500
    assert errors(site, str(told["model"])) < 5.0


def test_nobody_else_to_compare_with_is_no_proof(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.label("mallory", flipped(site.mail(400)), days=range(30))
    done, told = site.train()
    assert done.exit_code == 1
    reasons = told["reasons"]
    assert isinstance(reasons, list)
    assert any("nobody else labelled enough" in reason for reason in reasons)


def test_an_administrator_may_be_the_only_one(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.label("anna", site.mail(600), days=range(30), role="admin")
    done, told = site.train()
    assert (done.exit_code, told["reasons"]) == (0, [])


def test_of_one_day_a_person_s_first_labels_count(site: Site) -> None:
    site.label("mallory", flipped(site.mail(500)), days=range(29, 30))
    done, told = site.train()
    assert told["labels"]["over_the_cap"] == {"mallory": 300}  # type: ignore[index]
    assert told["labels"]["learned"]["mallory"] == 200  # type: ignore[index]
    assert done.exit_code == 1
    assert named(told) == {"mallory"}
