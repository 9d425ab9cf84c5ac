"""The case files: what is known of the client, a message, and exactly the symbols it must show.

A file in ``tests/cases`` has lines ``key: value`` (``ip``, ``mail-from``, ``received-at``, ``dns``,
``expect``, ``error``), a line ``---``, then the message. Each found mistake becomes a case.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from gateway.checks import local_checks
from gateway.checks.check import ConnectionFacts
from gateway.checks.dnsbl import DnsblCheck, DnsblZone
from gateway.checks.weights import POINTS
from gateway.core.dns import Budget
from gateway.core.mail import Envelope, Mail, Session
from gateway.core.verdict import Outcome, Status
from gateway.net.resolver import DnsResolver
from models.message import scan
from tests.fakes.dns_server import FakeDns

CASES = sorted(Path(__file__).parents[1].joinpath("cases").glob("*.case"))
ZONE = DnsblZone(zone="bl.example", codes={"127.0.0.2": "DNSBL_CASE"})
ARRIVED = "2026-01-05T09:05:00+00:00"


@dataclass(frozen=True)
class Case:
    facts: dict[str, list[str]]
    message: bytes

    def one(self, key: str, default: str = "") -> str:
        return self.facts.get(key, [default])[0]

    @property
    def symbols(self) -> set[str]:
        return set(self.one("expect").split())


def read(path: Path) -> Case:
    head, _, message = path.read_text(encoding="utf-8").partition("\n---\n")
    facts: dict[str, list[str]] = {}
    for line in head.splitlines():
        if not line.startswith("#"):
            key, _, value = line.partition(":")
            facts.setdefault(key, []).append(value.strip())
    assert "expect" in facts
    return Case(facts, message.replace("\n", "\r\n").encode())


def mail_of(case: Case) -> Mail:
    arrived = datetime.fromisoformat(case.one("received-at", ARRIVED))
    return Mail(
        id="case",
        received_at_ms=int(arrived.timestamp() * 1000),
        session=Session(ip=case.one("ip", "192.0.2.9"), port=25, helo="x.example", esmtp=True),
        envelope=Envelope(mail_from=case.one("mail-from"), rcpt_to=()),
        content=case.message,
        sha256="",
    )


async def listings(case: Case, mail: Mail) -> tuple[Outcome, ...]:
    records: dict[str, dict[str, list[str]]] = {}
    for line in case.facts.get("dns", []):
        name, rdtype, value = line.split(None, 2)
        records.setdefault(name, {}).setdefault(rdtype, []).append(value)
    async with FakeDns(records, zones=(ZONE.zone,)) as server:
        resolver = DnsResolver([server.address], timeout_s=1)
        check = DnsblCheck([ZONE], resolver)
        try:
            return await check.examine_client(mail.session.ip, Budget(5))
        finally:
            await check.aclose()
            await resolver.aclose()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
async def test_a_case_shows_exactly_its_symbols(path: Path) -> None:
    case = read(path)
    mail = mail_of(case)
    facts = ConnectionFacts(outcomes=await listings(case, mail) if "dns" in case.facts else ())
    parsed = scan(mail.content)
    outcomes = [*facts.outcomes]
    outcomes += [await check.examine(mail, parsed, facts) for check in local_checks()]
    assert {symbol.name for outcome in outcomes for symbol in outcome.symbols} == case.symbols
    errors = [f"{one.check}:{one.error}" for one in outcomes if one.status is Status.ERROR]
    assert errors == case.facts.get("error", [])


def test_every_symbol_has_a_case_and_so_does_its_absence() -> None:
    cases = [read(path) for path in CASES]
    shown = {name for case in cases for name in case.symbols}
    assert shown - {"DNSBL_CASE"} == set(POINTS)
    assert sum(not case.symbols for case in cases) >= 20
