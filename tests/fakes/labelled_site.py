"""A site in short: labels in a journal, made-up letters in real headers, and ``schwamm train``."""

import base64
import json
import random
from collections.abc import Iterable
from pathlib import Path

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

    def run_plain(self, *more: str) -> Result:
        return CliRunner().invoke(train, ["--config", str(self.config), *more])

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
