"""Block lists on a real DNS server: listed, not listed, refused, lying, dead, listing the world."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.checks.dnsbl import DnsblCheck, DnsblZone, zones_of
from gateway.checks.dnsbl_health import ListHealth, ListState, probe
from gateway.core.dns import Budget
from gateway.core.verdict import Outcome, Status, Symbol
from gateway.net.resolver import DnsResolver
from gateway.settings import DnsblSettings
from tests.fakes.dns_server import FakeDns, Fault

ZONE = "bl.example"
OTHER = "other.example"
CODES = {"127.0.0.2": "DNSBL_BL", "127.0.0.4": "DNSBL_BL_XBL"}
CLIENT = "1.2.3.4"
HEALTHY = {f"2.0.0.127.{zone}": {"A": ["127.0.0.2"]} for zone in (ZONE, OTHER)}


@contextlib.asynccontextmanager
async def asking(
    server: FakeDns, *zones: str, private: bool = False, changes: list[ListHealth] | None = None
) -> AsyncIterator[DnsblCheck]:
    """A check that asks these zones of this server."""
    resolver = DnsResolver([server.address], timeout_s=0.2)
    lists = [
        DnsblZone(zone=zone, codes=CODES, private_clients=private) for zone in zones or (ZONE,)
    ]
    check = DnsblCheck(lists, resolver, on_health=None if changes is None else changes.append)
    try:
        yield check
    finally:
        await check.aclose()
        await resolver.aclose()


async def seen_of(server: FakeDns, ip: str = CLIENT, *, private: bool = False) -> Outcome:
    """What one list says of a client."""
    async with asking(server, private=private) as check:
        (outcome,) = await check.examine_client(ip, Budget(5))
    assert outcome.check == "dnsbl"
    return outcome


@pytest.mark.parametrize(
    ("records", "symbols"),
    [
        (["127.0.0.2"], ["DNSBL_BL"]),
        (["127.0.0.4"], ["DNSBL_BL_XBL"]),
        (["127.0.0.4", "127.0.0.2"], ["DNSBL_BL", "DNSBL_BL_XBL"]),
    ],
)
async def test_each_code_is_its_symbol(records: list[str], symbols: list[str]) -> None:
    async with FakeDns({**HEALTHY, f"4.3.2.1.{ZONE}": {"A": records}}, zones=(ZONE,)) as server:
        outcome = await seen_of(server)
    assert outcome.status is Status.HIT
    assert [symbol.name for symbol in outcome.symbols] == symbols
    assert outcome.symbols[0].detail.startswith(f"zone={ZONE} code=127.0.0.")
    assert outcome.error == ""


async def test_who_is_not_listed_passes() -> None:
    async with FakeDns(HEALTHY, zones=(ZONE,)) as server:
        outcome = await seen_of(server)
    assert (outcome.status, outcome.symbols, outcome.error) == (Status.PASS, (), "")


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ("127.255.255.254", f"blocked:{ZONE}:127.255.255.254"),
        ("127.255.255.1", f"blocked:{ZONE}:127.255.255.1"),
        ("127.0.0.99", f"unknown_code:{ZONE}:127.0.0.99"),
        ("93.184.216.34", f"public_address:{ZONE}:93.184.216.34"),
        ("10.0.0.1", f"public_address:{ZONE}:10.0.0.1"),
    ],
)
async def test_what_is_no_listing_is_an_error_and_weighs_nothing(record: str, error: str) -> None:
    async with FakeDns({**HEALTHY, f"4.3.2.1.{ZONE}": {"A": [record]}}, zones=(ZONE,)) as server:
        outcome = await seen_of(server)
    assert (outcome.status, outcome.symbols, outcome.error) == (Status.ERROR, (), error)


async def test_a_listing_beside_nonsense_stands_and_the_nonsense_is_named() -> None:
    records = ["127.0.0.2", "127.0.0.77"]
    async with FakeDns({**HEALTHY, f"4.3.2.1.{ZONE}": {"A": records}}, zones=(ZONE,)) as server:
        outcome = await seen_of(server)
    assert outcome.status is Status.HIT
    assert [symbol.name for symbol in outcome.symbols] == ["DNSBL_BL"]
    assert outcome.error == f"unknown_code:{ZONE}:127.0.0.77"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.SERVFAIL, "servfail"),
        (Fault.REFUSED, "refused"),
        (Fault.SILENT, "timeout"),
        (Fault.GARBAGE, "malformed"),
    ],
)
async def test_a_list_that_fails_is_an_error(fault: Fault, code: str) -> None:
    async with FakeDns(HEALTHY, faults={ZONE: fault}) as server:
        outcome = await seen_of(server)
    assert (outcome.status, outcome.error) == (Status.ERROR, f"{code}:{ZONE}")


async def test_one_dead_list_does_not_keep_the_other_from_answering() -> None:
    records = {**HEALTHY, f"4.3.2.1.{OTHER}": {"A": ["127.0.0.2"]}}
    async with (
        FakeDns(records, zones=(ZONE, OTHER), faults={ZONE: Fault.SILENT}) as server,
        asking(server, ZONE, OTHER) as check,
    ):
        dead, alive = await check.examine_client(CLIENT, Budget(5))
    assert (dead.status, dead.error) == (Status.ERROR, f"timeout:{ZONE}")
    assert (alive.status, len(alive.symbols)) == (Status.HIT, 1)


@pytest.mark.parametrize(
    "ip", ["127.0.0.66", "192.168.1.2", "10.1.1.1", "192.0.2.1", "::1", "fe80::1%eth0", "", "x"]
)
async def test_private_clients_are_not_asked_about(ip: str) -> None:
    async with FakeDns(HEALTHY) as server:
        outcome = await seen_of(server, ip)
    assert (outcome.status, outcome.error) == (Status.SKIP, f"private:{ZONE}")
    assert server.asked == []


async def test_a_list_of_one_s_own_may_be_asked_about_them() -> None:
    records = {**HEALTHY, f"66.0.0.127.{ZONE}": {"A": ["127.0.0.2"]}}
    async with FakeDns(records, zones=(ZONE,)) as server:
        outcome = await seen_of(server, "127.0.0.66", private=True)
    assert outcome.status is Status.HIT


async def test_ipv6_is_asked_by_nibbles_and_mapped_ipv4_as_ipv4() -> None:
    nibbles = ".".join(reversed("20014860000000000000000000001234"))
    records = {
        **HEALTHY,
        f"{nibbles}.{ZONE}": {"A": ["127.0.0.2"]},
        f"4.3.2.1.{ZONE}": {"A": ["127.0.0.4"]},
    }
    async with FakeDns(records, zones=(ZONE,)) as server:
        native = await seen_of(server, "2001:4860::1234")
        mapped = await seen_of(server, "::ffff:1.2.3.4")
    assert native.symbols == (Symbol(name="DNSBL_BL", detail=f"zone={ZONE} code=127.0.0.2"),)
    assert mapped.symbols == (Symbol(name="DNSBL_BL_XBL", detail=f"zone={ZONE} code=127.0.0.4"),)


@pytest.mark.parametrize(
    ("records", "faults", "expected"),
    [
        (HEALTHY, {}, (ListState.OK, "")),
        ({}, {}, (ListState.NOT_LISTING, "")),
        ({f"*.{ZONE}": {"A": ["127.0.0.2"]}}, {}, (ListState.LISTS_WORLD, "127.0.0.2")),
        (
            {**HEALTHY, f"1.0.0.127.{ZONE}": {"A": ["127.0.0.4"]}},
            {},
            (ListState.LISTS_WORLD, "127.0.0.4"),
        ),
        ({f"*.{ZONE}": {"A": ["127.255.255.254"]}}, {}, (ListState.BLOCKED, "127.255.255.254")),
        ({f"*.{ZONE}": {"A": ["93.184.216.34"]}}, {}, (ListState.WRONG_ANSWERS, "93.184.216.34")),
        (HEALTHY, {ZONE: Fault.SILENT}, (ListState.UNREACHABLE, "timeout")),
        (HEALTHY, {ZONE: Fault.REFUSED}, (ListState.UNREACHABLE, "refused")),
    ],
)
async def test_a_probe_finds_out_what_is_wrong_with_a_list(
    records: dict[str, dict[str, list[str]]],
    faults: dict[str, Fault],
    expected: tuple[ListState, str],
) -> None:
    async with FakeDns(records, zones=(ZONE,), faults=faults) as server:
        resolver = DnsResolver([server.address], timeout_s=0.2)
        health = await probe(ZONE, resolver)
        await resolver.aclose()
    assert (health.state, health.detail) == expected
    assert health.sick == (health.state not in {ListState.OK, ListState.UNREACHABLE})


async def test_a_list_that_spares_the_test_address_but_lists_the_world_is_found_out() -> None:
    records = {
        f"*.{ZONE}": {"A": ["127.0.0.2"]},
        f"1.0.0.127.{ZONE}": {"TXT": ["not listed"]},
    }
    async with FakeDns(records, zones=(ZONE,)) as server:
        resolver = DnsResolver([server.address], timeout_s=0.2)
        health = await probe(ZONE, resolver)
        await resolver.aclose()
    assert health.state is ListState.LISTS_WORLD


async def test_a_sick_list_is_skipped_with_an_error_and_told_about_once() -> None:
    changes: list[ListHealth] = []
    async with (
        FakeDns({f"*.{ZONE}": {"A": ["127.0.0.2"]}}, zones=(ZONE,)) as server,
        asking(server, changes=changes) as check,
    ):
        (first,) = await check.examine_client(CLIENT, Budget(5))
        asked = len(server.asked)
        (second,) = await check.examine_client("5.6.7.8", Budget(5))
    assert (first.status, first.error) == (Status.ERROR, f"lists_world:{ZONE}")
    assert (second.status, second.error) == (Status.ERROR, f"lists_world:{ZONE}")
    assert len(server.asked) == asked
    assert [change.state for change in changes] == [ListState.LISTS_WORLD]


async def test_health_is_looked_at_once_for_many_clients() -> None:
    async with FakeDns(HEALTHY, zones=(ZONE,)) as server, asking(server) as check:
        await asyncio.gather(*(check.examine_client(f"1.2.3.{i}", Budget(5)) for i in range(1, 30)))
        await check.examine_client("1.2.4.1", Budget(5))
    assert server.count(f"2.0.0.127.{ZONE}") == 1
    assert len(server.asked) == 3 + 30


def test_only_lists_that_are_turned_on_are_asked() -> None:
    settings = [
        DnsblSettings(zone=ZONE, codes=CODES),
        DnsblSettings(zone=OTHER, codes=CODES, enabled=False),
    ]
    assert [zone.zone for zone in zones_of(settings)] == [ZONE]


async def test_a_list_that_recovers_is_believed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.checks.dnsbl_health._BAD_FOR_S", 0.0)
    changes: list[ListHealth] = []
    records = {f"*.{ZONE}": {"A": ["127.255.255.254"]}}
    async with (
        FakeDns(records, zones=(ZONE,), ttl_s=0, negative_ttl_s=0) as server,
        asking(server, changes=changes) as check,
    ):
        (sick,) = await check.examine_client(CLIENT, Budget(5))
        server.records = {**HEALTHY, f"8.7.6.5.{ZONE}": {"A": ["127.0.0.2"]}}
        while len(changes) < 2:
            await check.examine_client("9.9.9.9", Budget(5))
            await asyncio.sleep(0.01)
        (well,) = await check.examine_client("5.6.7.8", Budget(5))
    assert sick.error == f"blocked:{ZONE}"
    assert [(change.state, change.up) for change in changes] == [
        (ListState.BLOCKED, False),
        (ListState.OK, True),
    ]
    assert [symbol.name for symbol in well.symbols] == ["DNSBL_BL"]
