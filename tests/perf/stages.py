"""CPU milliseconds of each stage of a message, in this process, over real mails near 5 KB.

Each stage is timed apart with the thread's CPU clock, so what other processes do in between is not
counted. A round goes over all mails once; a figure is the mean over the mails of one round, and the
median, least and most of the rounds.
"""

import asyncio
import contextlib
import mmap
import os
import statistics
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from gateway.app.scanning import weights
from gateway.checks import local_checks
from gateway.checks.check import ConnectionFacts
from gateway.checks.content import ContentCheck
from gateway.core.addresses import parse_address
from gateway.core.clock import SystemClock
from gateway.core.handoff import CopyReply, Phase
from gateway.core.mail import Envelope, Mail, Session
from gateway.core.record import Copy, MessageFacts
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from gateway.delivery.marks import Marks
from gateway.pipeline.scanner import Scanner
from gateway.settings import LogSettings, Settings
from gateway.smtp.intake import Intake
from gateway.store.codec import message_event
from gateway.store.features import FeatureLog
from gateway.store.journal import Journal
from gateway.store.records import FileRecords
from gateway.telemetry import logs
from models.bundle import Bundle
from models.explain import explain
from models.features import extract
from models.message import scan
from models.registry import Registry
from tests.perf.real_mail import RealMail

_NEVER_SPAM = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The median, least and most of some rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        return cls(median=statistics.median(values), least=min(values), most=max(values))


def measure_stages(
    mails: list[RealMail], *, rounds: int, state: Path, settings: Settings
) -> dict[str, Figure]:
    """Milliseconds of parse, features, score, these three together, words and checks; of the
    scanner as the worker runs it; of the whole intake but for the hand-off; of a journal line; of a
    durable record.
    """
    _log_to_nowhere()
    bundle = _model(settings)
    taken = [_mail(number, mail) for number, mail in enumerate(mails)]
    found: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        once = _scan_stages(taken, bundle, settings)
        whole = asyncio.run(_whole(taken, bundle, settings, state))
        if turn:  # the first one warms caches
            for name, value in {**once, **whole}.items():
                found.setdefault(name, []).append(value / 1e6 / len(taken))
    return {name: Figure.of(values) for name, values in found.items()}


def _model(settings: Settings) -> Bundle:
    registry = Registry(settings.models_directory)
    registry.refresh()
    return registry.current()


def _scan_stages(mails: list[Mail], bundle: Bundle, settings: Settings) -> dict[str, int]:
    checks = local_checks()
    nothing = ConnectionFacts()
    spent = dict.fromkeys(("parse", "features", "score", "words", "checks"), 0)
    for mail in mails:
        assert isinstance(mail.content, bytes)
        content = mail.content
        marks = [time.thread_time_ns()]
        parsed = scan(content)
        _ = (parsed.text, parsed.links, parsed.html, parsed.subject, parsed.from_address)
        marks.append(time.thread_time_ns())
        features = extract(parsed, content)
        marks.append(time.thread_time_ns())
        parts = bundle.classifier.parts(features)
        marks.append(time.thread_time_ns())
        explain(features, bundle.classifier, settings.model.words, parts=parts)
        marks.append(time.thread_time_ns())
        for check in checks:
            _run_now(check.examine(mail, parsed, nothing))
        marks.append(time.thread_time_ns())
        for name, begin, end in zip(spent, marks, marks[1:], strict=False):
            spent[name] += end - begin
    spent["classifier"] = spent["parse"] + spent["features"] + spent["score"]
    return spent | {"classifier_warm": _warm(mails, bundle)}


def _warm(mails: list[Mail], bundle: Bundle) -> int:
    """Parse, features and score once more, one stage at a time over all mails: warm caches."""
    contents = [bytes(mail.content) for mail in mails]
    began = time.thread_time_ns()
    parsed = [scan(content) for content in contents]
    for mail in parsed:
        _ = (mail.text, mail.links, mail.html, mail.subject, mail.from_address)
    found = [extract(*pair) for pair in zip(parsed, contents, strict=True)]
    for features in found:
        bundle.classifier.parts(features)
    return time.thread_time_ns() - began


async def _whole(
    mails: list[Mail], bundle: Bundle, settings: Settings, state: Path
) -> dict[str, int]:
    clock = SystemClock()
    scanner = Scanner(
        local=local_checks(),
        remote=(),
        content=ContentCheck(_Serving(bundle), words=settings.model.words),
        weights=weights(settings),
        guard=_NoGuard(),
        deadline_s=20,
        settings_digest="bench",
    )
    journal = Journal(state / "journal", "bench", clock)
    records = FileRecords(state / "records", state / "tmp")
    features = FeatureLog(state / "features", "bench", clock)
    relay = _TakesAll()
    intake = Intake(
        node="n1",
        hostname="mx.trial.example",
        scanner=scanner,
        relay=relay,
        records=records,
        journal=journal,
        strikes=_NoGuard(),
        marks=Marks(bytes(32)),
        clock=clock,
        features=features,
    )
    began = time.thread_time_ns()
    for mail in mails:
        await scanner.scan(mail, None, generation=1)
    scanned = time.thread_time_ns()
    for mail in mails:
        await intake.take(mail, _SERVED)
    answered = time.thread_time_ns()
    for facts in relay.seen:
        journal.append(message_event(facts, clock.now_ms()))
    told = time.thread_time_ns()
    for number, (facts, mail) in enumerate(zip(relay.seen, mails, strict=True)):
        own = replace(facts, id=f"{facts.id[:-7]}{clock.now_ms() % 1000:03d}{number:04d}")
        records.put_now(own, mail.content)
    kept = time.thread_time_ns()
    journal.close()
    records.close()
    features.close()
    return {
        "scanner": scanned - began,
        "intake": answered - scanned,
        "journal": told - answered,
        "record": kept - told,
    }


@dataclass
class _TakesAll:
    """A next hop that costs nothing and takes every copy."""

    seen: list[MessageFacts] = field(default_factory=list)

    async def hand_off(
        self, facts: MessageFacts, content: bytes | mmap.mmap, copies: Sequence[Copy]
    ) -> Mapping[str, CopyReply]:
        self.seen.append(facts)
        return {
            copy.recipient: CopyReply(
                recipient=copy.recipient, phase=Phase.ANSWERED, code=250, text="2.0.0 taken"
            )
            for copy in copies
        }


class _NoGuard:
    def enter(self, sha256: str) -> None:
        """Nobody watches."""

    def leave(self) -> None:
        """Nobody watches."""

    def is_dangerous(self, sha256: str) -> bool:
        return False


class _Serving:
    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def current(self) -> Bundle:
        return self._bundle


def _log_to_nowhere() -> None:
    """The log as a service writes it; whoever logs first keeps the file for good."""
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115  open until the process ends
    with contextlib.redirect_stderr(nowhere):
        logs.configure(LogSettings(format="json"), role="smtp")


def _run_now(coroutine: Coroutine[object, None, object]) -> None:
    """A check that only computes never waits: one step and it is done."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("a local check waited for something")


def _mail(number: int, mail: RealMail) -> Mail:
    return Mail(
        id=f"000000000-n1-{number:07d}",
        received_at_ms=SystemClock().now_ms(),
        session=Session(ip="198.51.100.7", port=4000, helo="client.example", esmtp=True),
        envelope=Envelope(mail_from=mail.sender, rcpt_to=(parse_address("anna@trial.example"),)),
        content=mail.content,
        sha256=sha256(mail.content).hexdigest(),
    )


_SERVED = Generation(
    number=1,
    created_at_ms=0,
    domains=(
        Domain(
            name="trial.example",
            next_hops=(NextHop(kind=NextHopKind.SMTP, host="127.0.0.1", port=25),),
            unsure_score=_NEVER_SPAM,
            spam_score=_NEVER_SPAM,
        ),
    ),
)
