"""Whether a block list still is one. Looked at before it is believed, and again now and then.

RFC 5782 §5: 127.0.0.2 must be listed and 127.0.0.1 must not be. A third question, about a random
address in 127.64.0.0/10 that can be no client and that nobody can prepare for, catches a list that
lists the world. Lists do that when they close down, to be noticed.
"""

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gateway.checks.dnsbl_answers import error_of, list_name
from gateway.core.dns import Budget, Resolver
from gateway.core.errors import ResolverError

_LISTED = ipaddress.ip_address("127.0.0.2")
_NOT_LISTED = ipaddress.ip_address("127.0.0.1")
_RANDOM_FROM = int(ipaddress.ip_address("127.64.0.0"))
_RANDOM_COUNT = 1 << 22
_GOOD_FOR_S = 600.0
_BAD_FOR_S = 60.0
_PROBE_S = 5.0


class ListState(StrEnum):
    """What is wrong with a list; the keys of ``locale.reasons.LIST_REASONS``."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    NOT_LISTING = "not_listing"
    LISTS_WORLD = "lists_world"
    BLOCKED = "blocked"
    WRONG_ANSWERS = "wrong_answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListHealth:
    """What a probe found; ``detail`` is an answer or the resolver's error code."""

    zone: str
    state: ListState
    detail: str = ""

    @property
    def sick(self) -> bool:
        """Whether its listings may not be believed. One that does not answer gives none anyway."""
        return self.state not in {ListState.OK, ListState.UNREACHABLE}

    @property
    def up(self) -> bool:
        """Whether the list does its work; the availability fact."""
        return self.state is ListState.OK


OnHealth = Callable[[ListHealth], None]


async def probe(zone: str, resolver: Resolver, budget: Budget | None = None) -> ListHealth:
    """Put the three questions to a list; for ``doctor``, the keeper and the check itself."""
    budget = budget or Budget(_PROBE_S)
    random = ipaddress.ip_address(_RANDOM_FROM + secrets.randbelow(_RANDOM_COUNT))
    names = [list_name(address, zone) for address in (_LISTED, _NOT_LISTED, random)]
    answers: list[tuple[str, ...]] = []
    for found in await asyncio.gather(
        *(resolver.query(name, "A", budget) for name in names), return_exceptions=True
    ):
        if isinstance(found, ResolverError):
            return ListHealth(zone=zone, state=ListState.UNREACHABLE, detail=found.code)
        if isinstance(found, BaseException):
            raise found
        answers.append(found.records)
    return _judge(zone, *answers)


def _judge(
    zone: str, listed: tuple[str, ...], never: tuple[str, ...], random: tuple[str, ...]
) -> ListHealth:
    for record in (*listed, *never, *random):
        match error_of(record):
            case "blocked":
                return ListHealth(zone=zone, state=ListState.BLOCKED, detail=record)
            case "public_address":
                return ListHealth(zone=zone, state=ListState.WRONG_ANSWERS, detail=record)
    if never or random:
        return ListHealth(zone=zone, state=ListState.LISTS_WORLD, detail=(never or random)[0])
    if not listed:
        return ListHealth(zone=zone, state=ListState.NOT_LISTING)
    return ListHealth(zone=zone, state=ListState.OK)


class HealthBoard:
    """Remembers each list's health; renews it in the background once it is known at all.

    ``on_health`` hears of every change between OK and anything else, starting from OK.
    """

    def __init__(self, resolver: Resolver, on_health: OnHealth | None = None) -> None:
        self._resolver = resolver
        self._on_health = on_health
        self._known: dict[str, tuple[float, ListHealth]] = {}
        self._probes: dict[str, asyncio.Task[ListHealth]] = {}

    def cached(self, zone: str) -> ListHealth | None:
        """What is known, old or new; an old finding sets off a new probe. None: nothing yet."""
        known = self._known.get(zone)
        if known is None:
            return None
        if known[0] <= time.monotonic():
            self._start(zone)
        return known[1]

    async def learn(self, zone: str, budget: Budget) -> ListHealth:
        """Wait for the first probe of a list, as long as the budget lasts; all waiters share it."""
        try:
            async with asyncio.timeout(budget.remaining_s):
                return await asyncio.shield(self._start(zone))
        except TimeoutError:
            return ListHealth(zone=zone, state=ListState.UNREACHABLE, detail="timeout")

    async def aclose(self) -> None:
        """Stop the probes under way."""
        probes = list(self._probes.values())
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, return_exceptions=True)

    def _start(self, zone: str) -> asyncio.Task[ListHealth]:
        running = self._probes.get(zone)
        if running is None:
            running = self._probes[zone] = asyncio.create_task(self._probe(zone))
            running.add_done_callback(lambda _: self._probes.pop(zone, None))
        return running

    async def _probe(self, zone: str) -> ListHealth:
        health = await probe(zone, self._resolver)
        before = self._known.get(zone)
        was_up = before is None or before[1].up
        good_for_s = _GOOD_FOR_S if health.up else _BAD_FOR_S
        self._known[zone] = (time.monotonic() + good_for_s, health)
        if health.up != was_up and self._on_health is not None:
            self._on_health(health)
        return health
