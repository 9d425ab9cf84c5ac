"""How often each symbol is seen on ham and on spam, and what all of them do to ham.

Run: ``python -m tests.perf.symbol_rates FOLDER...`` where each folder holds an ``index`` of lines
``ham PATH`` or ``spam PATH``. Dates are judged at each mail's own arrival, by its top Received
field; a mail without one is judged at the date it names itself, so it shows no date symbols. Texts
without any header (German everyday mail) and mail whose header fields were blacked out by its owner
are left to the body's symbols.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gateway.checks import local_checks
from gateway.checks.check import ConnectionFacts
from gateway.checks.dates import date_of, received_time
from gateway.checks.weights import CAPS, GROUPS, POINTS
from gateway.core.mail import Envelope, Mail, Session
from gateway.core.verdict import Outcome
from models.message import scan

_HEADERLESS = frozenset(name for name, group in GROUPS.items() if group == "headers")


def _messages(folders: list[Path]) -> Iterator[tuple[str, str, bytes]]:
    for folder in folders:
        for line in (folder / "index").read_text().splitlines():
            label, _, path = line.partition(" ")
            yield folder.name, label, (folder / path).read_bytes()


def _mail(raw: bytes, arrived_ms: int) -> Mail:
    return Mail(
        id="rates",
        received_at_ms=arrived_ms,
        session=Session(ip="192.0.2.1", port=25, helo="rates.example", esmtp=True),
        envelope=Envelope(mail_from="", rcpt_to=()),
        content=raw,
        sha256="",
    )


async def _examine(raw: bytes) -> tuple[set[str], float, float]:
    """Symbols, the points they add up to, CPU seconds of the rules beyond parsing and text."""
    parsed = scan(raw)
    date = parsed.header("date")
    arrived = received_time(parsed) or (date_of(date.raw) if date else None) or 0
    _ = parsed.text
    started = time.process_time()
    mail = _mail(raw, arrived)
    outcomes = [await check.examine(mail, parsed, ConnectionFacts()) for check in local_checks()]
    spent = time.process_time() - started
    names = {symbol.name for outcome in outcomes for symbol in outcome.symbols}
    headerless = not parsed.header("from") and not parsed.header("received")
    if headerless or b"[removed]" in raw:
        names -= _HEADERLESS
    return names, _points(outcomes, names), spent


def _points(outcomes: list[Outcome], names: set[str]) -> float:
    sums: Counter[str] = Counter()
    for outcome in outcomes:
        for symbol in outcome.symbols:
            if symbol.name in names:
                sums[GROUPS[symbol.name]] += POINTS[symbol.name]
    return sum(min(points, CAPS.get(group, points)) for group, points in sums.items())


async def measure(folders: list[Path]) -> None:
    """Print both tables."""
    seen: dict[tuple[str, str], Counter[str]] = {}
    totals: Counter[tuple[str, str]] = Counter()
    at_least: dict[tuple[str, str], Counter[int]] = {}
    spent_s = 0.0
    for corpus, label, raw in _messages(folders):
        names, points, spent = await _examine(raw)
        key = (corpus, label)
        totals[key] += 1
        seen.setdefault(key, Counter()).update(names)
        at_least.setdefault(key, Counter()).update(n for n in range(1, 9) if points >= n)
        spent_s += spent
    columns = sorted(totals)
    print("symbol".ljust(30) + " points" + "".join(f"{c[:13]:>15}/{lab}" for c, lab in columns))
    print(" " * 37 + "".join(f"{totals[key]:>{16 + len(key[1])}}" for key in columns))
    for name, points in POINTS.items():
        rates = ((seen[key][name] / totals[key] * 100, 16 + len(key[1])) for key in columns)
        print(f"{name:30} {points:6.1f}" + "".join(f"{r:>{width - 1}.2f}%" for r, width in rates))
    for n in range(1, 9):
        rates = ((at_least[key][n] / totals[key] * 100, 16 + len(key[1])) for key in columns)
        print(f"{f'at least {n} points':37}" + "".join(f"{r:>{w - 1}.2f}%" for r, w in rates))
    print(f"rules, parsing and text not counted: {spent_s / totals.total() * 1000:.3f} ms a mail")


def main() -> int:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    asyncio.run(measure(parser.parse_args().folders))
    return 0


if __name__ == "__main__":
    sys.exit(main())
