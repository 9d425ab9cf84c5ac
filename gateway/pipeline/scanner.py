"""The whole order of a scan, in one place to read.

1. connection facts (asked at CONNECT, awaited here)  2. parse once, bounded  3. checks  4. content
Then one sum. Checks observe; nothing here decides what happens to the mail.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from gateway.checks.check import Check, ConnectionFacts
from gateway.core.errors import ScanFailedError
from gateway.core.lesson import Lesson
from gateway.core.mail import Mail
from gateway.core.verdict import ContentFinding, Outcome, Status, Verdict
from gateway.pipeline.policy import classify
from gateway.pipeline.scoring import Weights, score
from models.message import ParsedMail, scan

_log = structlog.get_logger()
_MAX_SHOWN = 500  # characters of a subject or sender that are kept for listings


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A verdict, and what listings show of the mail. No verdict: the mail was not parsed.

    ``lesson`` makes what is kept to learn from; None where no model answered.
    """

    verdict: Verdict | None
    subject: str
    from_header: str
    message_id: str
    lesson: Callable[[], Lesson] | None = None


class CpuGuard(Protocol):
    """Told which mail the CPU works on, so that a mail that kills the process is known."""

    def enter(self, sha256: str) -> None:
        """Work on this mail begins."""

    def leave(self) -> None:
        """Work on it ended; the event loop goes on with others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """Runs every check over a mail within one deadline and adds up what they saw.

    ``local`` checks only compute; ``remote`` ones ask the network and run side by side. ``content``
    is the classifier's check and comes last.
    """

    local: Sequence[Check]
    remote: Sequence[Check]
    content: Check | None
    weights: Weights
    guard: CpuGuard
    deadline_s: float
    settings_digest: str

    async def scan(
        self, mail: Mail, connection: Awaitable[ConnectionFacts] | None, *, generation: int
    ) -> Scan:
        """Judge one mail.

        Raises:
            ScanFailedError: the deadline passed or the parser itself failed; the mail is deferred,
            never waved through.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.deadline_s):
                facts = await connection if connection else ConnectionFacts()
                parsed = self._parse(mail)
                outcomes = await self._examine(mail, parsed, facts)
        except TimeoutError as error:
            raise ScanFailedError(f"scan took more than {self.deadline_s:g} s") from error
        elapsed_ms = (time.perf_counter() - began) * 1000
        verdict = self._judge(outcomes, generation=generation, elapsed_ms=elapsed_ms)
        return Scan(
            verdict=verdict,
            subject=parsed.subject[:_MAX_SHOWN],
            from_header=_shown(parsed, "from"),
            message_id=_shown(parsed, "message-id"),
            lesson=next((one.content.lesson for one in outcomes if one.content), None),
        )

    def _parse(self, mail: Mail) -> ParsedMail:
        self.guard.enter(mail.sha256)
        try:
            return scan(mail.content)
        finally:
            self.guard.leave()

    async def _examine(
        self, mail: Mail, parsed: ParsedMail, facts: ConnectionFacts
    ) -> list[Outcome]:
        asked = [
            asyncio.create_task(_contained(check, mail, parsed, facts)) for check in self.remote
        ]
        self.guard.enter(mail.sha256)
        try:
            computed = [await _contained(check, mail, parsed, facts) for check in self.local]
            if self.content is not None:
                computed.append(await _contained(self.content, mail, parsed, facts))
        finally:
            self.guard.leave()
        return [*facts.outcomes, *await asyncio.gather(*asked), *computed]

    def _judge(self, outcomes: Sequence[Outcome], *, generation: int, elapsed_ms: float) -> Verdict:
        total, symbols = score(outcomes, self.weights)
        malware = next((outcome.malware for outcome in outcomes if outcome.malware), "")
        content: ContentFinding | None = next(
            (outcome.content for outcome in outcomes if outcome.content), None
        )
        return Verdict(
            kind=classify(total, malware=malware),
            score=total,
            symbols=symbols,
            words=content.words if content else (),
            probability=content.probability if content else None,
            known_share=content.known_share if content else None,
            model_id=content.model_id if content else "",
            generation=generation,
            settings_digest=self.settings_digest,
            malware=malware,
            errors=tuple(
                f"{outcome.check}:{outcome.error}"
                for outcome in outcomes
                if outcome.status is Status.ERROR
            ),
            outcomes=tuple(outcomes),
            scan_ms=round(elapsed_ms, 3),
        )


async def _contained(
    check: Check, mail: Mail, parsed: ParsedMail, facts: ConnectionFacts
) -> Outcome:
    """Run one check; its failure is an ERROR outcome that weighs nothing and stays visible."""
    try:
        return await check.examine(mail, parsed, facts)
    except Exception as error:  # noqa: BLE001  a border: one check must not stop the others
        _log.exception("check failed", check=check.name, mail_id=mail.id)
        return Outcome(check=check.name, status=Status.ERROR, error=type(error).__name__)


def _shown(parsed: ParsedMail, key: str) -> str:
    header = parsed.header(key)
    return header.text[:_MAX_SHOWN] if header else ""
