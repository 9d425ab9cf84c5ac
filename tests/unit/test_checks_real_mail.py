"""The rules on real mail: honest mail stays far below UNSURE, spam shows signs."""

from pathlib import Path

import pytest

from gateway.checks import local_checks
from gateway.checks.check import ConnectionFacts
from gateway.checks.dates import date_of, received_time
from gateway.checks.weights import CAPS, GROUPS, POINTS
from gateway.core.mail import Envelope, Mail, Session
from gateway.core.verdict import Outcome
from gateway.pipeline.scoring import Weights, score
from models.message import scan

DATA = Path(__file__).parents[1] / "data" / "mail"
INDEX = [line.split(" ", 1) for line in (DATA / "index").read_text().splitlines()]
WEIGHTS = Weights(points=POINTS, groups=GROUPS, caps=CAPS)


async def points_of(path: Path) -> tuple[float, set[str]]:
    """What the rules alone give a mail at its own time, and the symbols seen."""
    raw = path.read_bytes()
    parsed = scan(raw)
    date = parsed.header("date")
    mail = Mail(
        id="real",
        received_at_ms=received_time(parsed) or (date_of(date.raw) if date else None) or 0,
        session=Session(ip="192.0.2.9", port=25, helo="x.example", esmtp=True),
        envelope=Envelope(mail_from="", rcpt_to=()),
        content=raw,
        sha256="",
    )
    outcomes: list[Outcome] = [
        await check.examine(mail, parsed, ConnectionFacts()) for check in local_checks()
    ]
    total, symbols = score(outcomes, WEIGHTS)
    return total, {symbol.name for symbol in symbols}


@pytest.mark.parametrize("name", [name for label, name in INDEX if label == "ham"])
async def test_honest_mail_stays_far_below_unsure(name: str) -> None:
    total, symbols = await points_of(DATA / name)
    assert total < 1, symbols


async def test_spam_shows_signs() -> None:
    found = [await points_of(DATA / name) for label, name in INDEX if label == "spam"]
    assert sum(total >= 1 for total, _ in found) >= len(found) // 3
    assert all(total < 6 for total, _ in found)  # cheap signs alone never make SPAM
