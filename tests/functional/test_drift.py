"""Other mail than before: what the gateway wrote down of it makes ``doctor`` speak up, or not.

The mail goes through the worker's own intake, scanner and journal, on days that a clock makes up;
the index takes it in as the keeper does.
"""

import asyncio
import json
import mmap
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.app.scanning import build_scanner
from gateway.cli import doctor, schwamm
from gateway.cli.findings import Finding
from gateway.cli.scan import models_of
from gateway.core.addresses import parse_address
from gateway.core.clock import SystemClock
from gateway.core.handoff import CopyReply, Phase
from gateway.core.ids import IdSource
from gateway.core.mail import Envelope, Mail, Session
from gateway.core.record import Copy, MessageFacts
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from gateway.delivery.marks import Marks
from gateway.settings import Settings, load
from gateway.smtp.intake import Intake
from gateway.store.index import Index
from gateway.store.journal import Journal
from gateway.store.records import FileRecords
from training.cli_train_labels import tell_drift

DAY_MS = 86_400_000
TODAY_MS = 20_780 * DAY_MS + DAY_MS // 2
RECENTLY, BEFORE = range(3), range(4, 11)
HOP = NextHop(kind=NextHopKind.SMTP, host="127.0.0.1", port=25)
SERVED = Generation(
    number=1, created_at_ms=0, domains=(Domain(name="trial.example", next_hops=(HOP,)),)
)
SAID = {
    "en": {
        "quiet": "recent mail looks as it did before",
        "unknown": "the model knows less of the mail",
        "retrain": "label some recent mail, then: schwamm train",
        "shifted": "the scores of the last days are spread otherwise than before",
        "review": "look through the quarantine of the last days",
    },
    "de": {
        "quiet": "die letzten Nachrichten sehen aus wie zuvor",
        "unknown": "das Modell kennt weniger von den Nachrichten",
        "retrain": "einige neuere Nachrichten einstufen, dann: schwamm train",
        "shifted": "die Bewertungen der letzten Tage verteilen sich anders als zuvor",
        "review": "die Quarantäne der letzten Tage durchsehen",
    },
}


class Days:
    """A clock that stands where it was put."""

    def __init__(self) -> None:
        self.at_ms = TODAY_MS

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_s(self) -> float:
        return self.at_ms / 1000


class Bystander:
    """The next hop takes all mail, and no worker ever dies over one."""

    async def hand_off(
        self, facts: MessageFacts, content: bytes | mmap.mmap, copies: Sequence[Copy]
    ) -> Mapping[str, CopyReply]:
        answer = {"phase": Phase.ANSWERED, "code": 250, "text": "2.0.0 taken"}
        return {one.recipient: CopyReply(recipient=one.recipient, **answer) for one in copies}

    def enter(self, sha256: str) -> None: ...

    def leave(self) -> None: ...

    def is_dangerous(self, sha256: str) -> bool:
        return False


def intake_of(
    settings: Settings, records: FileRecords, journal: Journal, clock: Days, nobody: Bystander
) -> Intake:
    """What a worker has between the final dot and the reply, with nobody behind it."""
    return Intake(
        node="n1",
        hostname="mx.trial.example",
        scanner=build_scanner(settings, models=models_of(settings), guard=nobody),
        relay=nobody,
        records=records,
        journal=journal,
        strikes=nobody,
        marks=Marks(bytes(32)),
        clock=clock,
    )


class Site:
    """A gateway's state directory, with the mail of some days in it."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "gateway.toml"
        self.config.touch()
        self.settings: Settings = load(self.config)
        self.state = self.settings.paths.state

    def receive(self, mails: Iterable[tuple[int, bytes]]) -> None:
        """Take mails that come on a day so long ago, and bring them into the index."""
        asyncio.run(self._receive(mails))
        index = Index.open(self.settings.index_url, node=self.settings.node.name)
        index.ingest(self.state / "journal")
        index.close()

    async def _receive(self, mails: Iterable[tuple[int, bytes]]) -> None:
        clock, nobody, ids = Days(), Bystander(), IdSource("n1")
        journal = Journal(self.state / "journal", "smtp", clock)
        records = FileRecords(self.state / "records", self.state / "tmp")
        intake = intake_of(self.settings, records, journal, clock, nobody)
        for number, (days_ago, content) in enumerate(mails):
            clock.at_ms = TODAY_MS - days_ago * DAY_MS - 60_000 + number
            await intake.take(mail(content, ids.next(clock.at_ms), clock.at_ms), SERVED)
        journal.close()
        records.close()

    def doctor(self, language: str) -> list[dict[str, object]]:
        """What ``schwamm doctor`` finds about drift."""
        done = CliRunner().invoke(
            schwamm,
            ["--language", language, "doctor", "--json", "--config", str(self.config)],
            obj={},
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        found = [row for row in rows if row["check"] == "drift"]
        assert found, (done.stdout, done.stderr, done.exception)
        assert done.exit_code == 1 or all(row["ok"] for row in found)
        return found


def mail(content: bytes, mail_id: str, at_ms: int) -> Mail:
    content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return Mail(
        id=mail_id,
        received_at_ms=at_ms,
        session=Session(ip="198.51.100.7", port=4000, helo="client.example", esmtp=True),
        envelope=Envelope(
            mail_from="a@sender.example", rcpt_to=(parse_address("anna@trial.example"),)
        ),
        content=content,
        sha256=sha256(content).hexdigest(),
    )


Stream = Callable[[random.Random], bytes]


def some_of(folder: Path, pattern: str) -> Stream:
    contents = [path.read_bytes() for path in sorted(folder.glob(pattern))]
    assert len(contents) > 10
    # A field of its own, so that no two are the same mail.
    return lambda chance: b"X-Bench: %d\n" % chance.getrandbits(60) + chance.choice(contents)


def in_a_strange_tongue(stream: Stream) -> Stream:
    """The same headers over words that no model ever met."""
    syllables = [a + b for a in ("q", "x", "zh", "gj", "wv", "kch") for b in "aeiouy"]

    def made(chance: random.Random) -> bytes:
        head = stream(chance).partition(b"\n\n")[0].split(b"\nContent-")[0]
        words = ("".join(chance.choices(syllables, k=4)) for _ in range(150))
        return head + b"\n\n" + " ".join(words).encode() + b"\n"

    return made


def days_of(stream: Stream, days: range, a_day: int, seed: int) -> Iterator[tuple[int, bytes]]:
    chance = random.Random(seed)
    for day in reversed(days):
        yield from ((day, stream(chance)) for _ in range(a_day))


@pytest.fixture(scope="module")
def english(mail_data: Path) -> Stream:
    """The ham and spam of the SpamAssassin corpus."""
    return some_of(mail_data, "*/sa-*.eml")


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory, english: Stream) -> Path:
    """A site that got English mail for a week."""
    directory = tmp_path_factory.mktemp("weeks")
    Site(directory).receive(days_of(english, BEFORE, 30, seed=1))
    return directory


@pytest.fixture
def site(weeks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The same, three made-up days before the next mail; nobody asks the network."""

    async def no_network(*_: object) -> list[Finding]:
        return []

    monkeypatch.setattr(doctor, "_network", no_network)
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: TODAY_MS)
    return Site(Path(shutil.copytree(weeks, tmp_path / "site")))


def test_a_steady_stream_raises_nothing(site: Site, english: Stream) -> None:
    site.receive(days_of(english, RECENTLY, 70, seed=2))
    for language, said in SAID.items():
        (row,) = site.doctor(language)
        assert (row["ok"], row["mend"]) == (True, "")
        assert said["quiet"] in str(row["text"])


def test_mail_in_a_strange_tongue_asks_for_a_retraining(site: Site, english: Stream) -> None:
    site.receive(days_of(in_a_strange_tongue(english), RECENTLY, 70, seed=2))
    for language, said in SAID.items():
        rows = site.doctor(language)
        (row,) = [one for one in rows if said["unknown"] in str(one["text"])]
        assert row["ok"] is False
        assert said["retrain"] in str(row["mend"])


@pytest.mark.parametrize("language", ["en", "de"])
def test_train_prints_the_step_with_the_finding(
    site: Site,
    english: Stream,
    language: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site.receive(days_of(in_a_strange_tongue(english), RECENTLY, 70, seed=2))
    monkeypatch.setattr("time.time_ns", lambda: TODAY_MS * 1_000_000)
    monkeypatch.setenv("LC_ALL", f"{language}_XX.UTF-8")
    tell_drift(site.settings)
    told = capsys.readouterr().out.splitlines()
    place = next(n for n, line in enumerate(told) if SAID[language]["unknown"] in line)
    assert told[place + 1] == f"  -> {SAID[language]['retrain']}"


@pytest.mark.parametrize("pattern", ["german/*.eml", "spam/*.eml"], ids=["german-ham", "spam"])
def test_another_kind_of_mail_asks_for_a_look(site: Site, mail_data: Path, pattern: str) -> None:
    site.receive(days_of(some_of(mail_data, pattern), RECENTLY, 70, seed=2))
    for language, said in SAID.items():
        rows = site.doctor(language)
        (row,) = [one for one in rows if said["shifted"] in str(one["text"])]
        assert row["ok"] is False
        assert said["review"] in str(row["mend"])


def test_a_few_strange_mails_are_too_little_to_tell(site: Site, english: Stream) -> None:
    site.receive(days_of(in_a_strange_tongue(english), range(1), 40, seed=2))
    (row,) = site.doctor("en")
    assert row["ok"] is True
    assert "too little mail yet to compare: 40 of 200" in str(row["text"])
