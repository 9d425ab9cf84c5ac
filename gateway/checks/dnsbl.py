"""DNS block lists: whether the connecting address is on one (RFC 5782).

Only an answer that the settings name is a listing. An answer in 127.255.255.0/24 says that the list
refuses to serve us; any other address means that the zone lies, expired or was hijacked. All of
these are errors: they weigh nothing and stay visible. So is a list whose test entries are wrong.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.checks.dnsbl_answers import Address, error_of, list_name, read_address
from gateway.checks.dnsbl_health import HealthBoard, OnHealth
from gateway.core.details import write_details
from gateway.core.dns import Budget, Resolver
from gateway.core.errors import ResolverError
from gateway.core.verdict import Outcome, Status, Symbol
from gateway.settings import DnsblSettings

_NOT_ASKED = Outcome(check="dnsbl", status=Status.SKIP)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsblZone:
    """One list. ``codes`` maps each answer that is a listing to its symbol.

    ``private_clients``: ask about private, loopback and documentation addresses too; right only for
    a list of one's own.
    """

    zone: str
    codes: Mapping[str, str]
    private_clients: bool = False


def zones_of(settings: Iterable[DnsblSettings]) -> tuple[DnsblZone, ...]:
    """The lists that the operator turned on."""
    return tuple(
        DnsblZone(zone=one.zone, codes=one.codes, private_clients=one.private_clients)
        for one in settings
        if one.enabled
    )


class DnsblCheck:
    """Asks all lists side by side about the connecting address.

    ``on_health`` hears when a list falls sick or recovers. ``aclose`` it at the end.
    """

    name = "dnsbl"

    def __init__(
        self, zones: Sequence[DnsblZone], resolver: Resolver, *, on_health: OnHealth | None = None
    ) -> None:
        self._zones = tuple(zones)
        self._resolver = resolver
        self._health = HealthBoard(resolver, on_health)

    async def examine_client(self, ip: str, budget: Budget) -> tuple[Outcome, ...]:
        """One outcome for each list."""
        address = read_address(ip)
        asked = (self._ask(zone, address, budget) for zone in self._zones)
        return tuple(await asyncio.gather(*asked))

    async def aclose(self) -> None:
        """Stop looking after the lists' health."""
        await self._health.aclose()

    async def _ask(self, zone: DnsblZone, address: Address | None, budget: Budget) -> Outcome:
        if address is None or not (address.is_global or zone.private_clients):
            return Outcome(check=self.name, status=Status.SKIP, error=f"private:{zone.zone}")
        started = time.perf_counter()
        known = self._health.cached(zone.zone)
        if known is None:
            # The first time both are asked at once, so that no client waits twice.
            health, outcome = await asyncio.gather(
                self._health.learn(zone.zone, budget), self._listed(zone, address, budget)
            )
        else:
            health = known
            outcome = _NOT_ASKED if known.sick else await self._listed(zone, address, budget)
        if health.sick:
            outcome = _error(f"{health.state}:{zone.zone}")
        return replace(outcome, elapsed_ms=round((time.perf_counter() - started) * 1000, 3))

    async def _listed(self, zone: DnsblZone, address: Address, budget: Budget) -> Outcome:
        try:
            answer = await self._resolver.query(list_name(address, zone.zone), "A", budget)
        except ResolverError as error:
            return _error(f"{error.code}:{zone.zone}")
        return read_listing(zone, answer.records)


def read_listing(zone: DnsblZone, records: Sequence[str]) -> Outcome:
    """What a list's A records say; listings stand even where another record makes no sense."""
    symbols: list[Symbol] = []
    errors: list[str] = []
    for record in sorted(records):
        symbol = zone.codes.get(record)
        if symbol is not None:
            symbols.append(Symbol(name=symbol, detail=write_details(zone=zone.zone, code=record)))
        else:
            errors.append(f"{error_of(record) or 'unknown_code'}:{zone.zone}:{record}")
    distinct = tuple({symbol.name: symbol for symbol in symbols}.values())
    error = " ".join(errors[:3])
    if distinct:
        return Outcome(check="dnsbl", status=Status.HIT, symbols=distinct, error=error)
    return _error(error) if errors else Outcome(check="dnsbl", status=Status.PASS)


def _error(code: str) -> Outcome:
    return Outcome(check="dnsbl", status=Status.ERROR, error=code)
