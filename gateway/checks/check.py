"""What every check is: it looks at one aspect of a mail and reports what it saw.

A check never decides. Its failure is an ERROR outcome, never a listing and never a pass.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.dns import Budget
from gateway.core.mail import Mail
from gateway.core.verdict import Outcome, Status, Symbol
from models.message import ParsedMail


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFacts:
    """What is known of the client before its mail is: asked at CONNECT, stored with held mail.

    ``outcomes`` are those of the connection's checks, one for each block list. ``rdns`` is the
    client's verified host name, empty if it has none or was not asked for.
    """

    outcomes: tuple[Outcome, ...] = ()
    rdns: str = ""


class Check(Protocol):
    """Looks at one mail."""

    @property
    def name(self) -> str:
        """Short name for outcomes, errors and metrics, e.g. ``headers``."""

    async def examine(self, mail: Mail, parsed: ParsedMail, facts: ConnectionFacts) -> Outcome:
        """Report what was seen. ``mail.received_at_ms`` is the time to judge dates by."""


class ConnectionCheck(Protocol):
    """Looks at the client alone, before any mail comes."""

    @property
    def name(self) -> str:
        """Short name for outcomes, errors and metrics, e.g. ``dnsbl``."""

    async def examine_client(self, ip: str, budget: Budget) -> tuple[Outcome, ...]:
        """Report what was seen; errors are outcomes, nothing is raised."""


Rule = Callable[[Mail, ParsedMail], Symbol | None]


class RulesCheck:
    """A check made of rules that each see one symbol or nothing; pure and quick."""

    def __init__(self, name: str, rules: Sequence[Rule]) -> None:
        self.name = name
        self._rules = tuple(rules)

    async def examine(self, mail: Mail, parsed: ParsedMail, facts: ConnectionFacts) -> Outcome:
        """Try every rule."""
        del facts
        started = time.perf_counter()
        seen = (rule(mail, parsed) for rule in self._rules)
        symbols = tuple(symbol for symbol in seen if symbol is not None)
        return Outcome(
            check=self.name,
            status=Status.HIT if symbols else Status.PASS,
            symbols=symbols,
            elapsed_ms=round((time.perf_counter() - started) * 1000, 3),
        )
