"""The resolver against a real server on real sockets, well-behaved and not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from gateway.core.dns import (
    Answer,
    Budget,
    BudgetSpentError,
    DnsTimeoutError,
    MalformedAnswerError,
    MalformedNameError,
    NoServerError,
    RefusedError,
    ServfailError,
)
from gateway.core.errors import ConfigError, ResolverError
from gateway.net.resolver import DnsResolver, machine_servers, make_resolver, parse_server
from gateway.settings import DnsSettings
from tests.fakes.dns_server import FakeDns, Fault

BOTH = ["192.0.2.1", "192.0.2.2"]
ZONES = ("example", "198.51.100.in-addr.arpa")
RECORDS = {
    "mail.example": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
    "example": {"MX": ["10 Mail.example.", "20 other.example."], "TXT": ['"v=spf1 " "-all"', "b"]},
    "alias.example": {"CNAME": ["second.example."]},
    "second.example": {"CNAME": ["mail.example."]},
    "dangling.example": {"CNAME": ["nowhere.example."]},
    "1.100.51.198.in-addr.arpa": {"PTR": ["Client.Example."]},
    "caa.example": {"CAA": ['0 issue "ca.example"']},
}


@contextlib.asynccontextmanager
async def resolving(
    server: FakeDns, *more: FakeDns, timeout_s: float = 0.3, **options: object
) -> AsyncIterator[DnsResolver]:
    """A resolver that asks these servers and is closed at the end."""
    addresses = [each.address for each in (server, *more)]
    resolver = DnsResolver(addresses, timeout_s=timeout_s, **options)
    try:
        yield resolver
    finally:
        await resolver.aclose()


async def failure_of(resolver: DnsResolver, name: str, rdtype: str = "A") -> ResolverError:
    """The error a query ends with."""
    with pytest.raises(ResolverError) as caught:
        await resolver.query(name, rdtype, Budget(5))
    return caught.value


@pytest.mark.parametrize(
    ("name", "rdtype", "expected"),
    [
        ("mail.example", "A", ("192.0.2.1", "192.0.2.2")),
        ("MAIL.Example.", "A", ("192.0.2.1", "192.0.2.2")),
        ("mail.example", "AAAA", ("2001:db8::1",)),
        ("example", "MX", ("10 mail.example", "20 other.example")),
        ("example", "TXT", ("v=spf1 -all", "b")),
        ("alias.example", "A", ("192.0.2.1", "192.0.2.2")),
        ("alias.example", "CNAME", ("second.example",)),
        ("1.100.51.198.in-addr.arpa", "PTR", ("client.example",)),
        ("caa.example", "CAA", ('0 issue "ca.example"',)),
        ("example", "A", ()),
        ("dangling.example", "A", ()),
    ],
)
async def test_it_reads_what_the_zone_says(
    name: str, rdtype: str, expected: tuple[str, ...]
) -> None:
    async with FakeDns(RECORDS, zones=ZONES) as server, resolving(server) as resolver:
        answer = await resolver.query(name, rdtype, Budget(5))
    assert sorted(answer.records) == sorted(expected)
    assert answer.rcode == ("NXDOMAIN" if name == "dangling.example" else "NOERROR")
    assert not answer.from_cache


async def test_a_name_that_does_not_exist_is_an_answer_and_kept_as_long_as_its_soa_says() -> None:
    async with FakeDns(RECORDS, zones=ZONES) as server, resolving(server) as resolver:
        first = await resolver.query("no.example", "A", Budget(5))
        second = await resolver.query("no.example", "A", Budget(5))
    assert first == Answer(rcode="NXDOMAIN", ttl_s=30)
    assert second.from_cache
    assert second.ttl_s in {29, 30}
    assert server.count("no.example") == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.SERVFAIL, ServfailError),
        (Fault.REFUSED, RefusedError),
        (Fault.REFUSED_BARE, RefusedError),
        (Fault.FORMERR, MalformedAnswerError),
        (Fault.SILENT, DnsTimeoutError),
        (Fault.WRONG_ID, DnsTimeoutError),
        (Fault.WRONG_QUESTION, MalformedAnswerError),
        (Fault.GARBAGE, MalformedAnswerError),
        (Fault.LOOP, MalformedAnswerError),
        (Fault.ALWAYS_TRUNCATED, MalformedAnswerError),
        (Fault.CLOSED_TCP, DnsTimeoutError),
    ],
)
async def test_each_fault_has_its_error(fault: Fault, error: type[ResolverError]) -> None:
    name = "a-rather-long-name-with-many-letters.example"
    async with (
        FakeDns({name: {"A": ["192.0.2.1"]}}, faults={name: fault}) as server,
        resolving(server, timeout_s=0.1) as resolver,
    ):
        assert type(await failure_of(resolver, name)) is error


async def test_what_does_not_fit_a_datagram_comes_over_tcp() -> None:
    many = [f"192.0.2.{i}" for i in range(200)]
    async with (
        FakeDns({"many.example": {"A": many}}, faults={"many.example": Fault.TRUNCATED}) as server,
        resolving(server) as resolver,
    ):
        answer = await resolver.query("many.example", "A", Budget(5))
    assert sorted(answer.records) == sorted(many)
    assert [asked.transport for asked in server.asked] == ["udp", "tcp"]


async def test_a_server_that_spells_the_question_anew_is_asked_over_tcp() -> None:
    faults = {"mail.example": Fault.WRONG_CASE}
    async with FakeDns(RECORDS, faults=faults) as server, resolving(server) as resolver:
        answer = await resolver.query("mail.example", "A", Budget(5))
        assert resolver._upstreams[0].mismatches == 1
    assert sorted(answer.records) == BOTH
    assert [asked.transport for asked in server.asked] == ["udp", "tcp"]


async def test_a_closed_resolver_asks_nobody() -> None:
    async with FakeDns(RECORDS, faults={"mail.example": Fault.SILENT}) as server:
        async with resolving(server) as resolver:
            waiting = asyncio.ensure_future(resolver.query("mail.example", "A", Budget(5)))
            await _until(lambda: server.count("mail.example"))
        with pytest.raises(NoServerError):
            await waiting
        assert type(await failure_of(resolver, "example", "MX")) is NoServerError
    assert [asked.name for asked in server.asked] == ["mail.example"]


async def test_the_same_question_of_many_mails_is_sent_once() -> None:
    async with (
        FakeDns(RECORDS, faults={"mail.example": Fault.SLOW}, slow_s=0.05) as server,
        resolving(server) as resolver,
    ):
        answers = await asyncio.gather(
            *(resolver.query("mail.example", "A", Budget(5)) for _ in range(20))
        )
    assert [sorted(answer.records) for answer in answers] == [BOTH] * 20
    assert server.count("mail.example") == 1


async def test_a_mail_that_goes_away_does_not_take_the_answer_from_the_others() -> None:
    async with (
        FakeDns(RECORDS, faults={"mail.example": Fault.SLOW}, slow_s=0.05) as server,
        resolving(server) as resolver,
    ):
        gone = asyncio.ensure_future(resolver.query("mail.example", "A", Budget(5)))
        stays = asyncio.ensure_future(resolver.query("mail.example", "A", Budget(5)))
        await asyncio.sleep(0.01)
        gone.cancel()
        assert sorted((await stays).records) == BOTH


async def test_the_next_server_answers_when_the_first_is_silent_or_refuses() -> None:
    for fault in (Fault.SILENT, Fault.REFUSED, Fault.SERVFAIL):
        async with FakeDns() as first, FakeDns(RECORDS) as second:
            first.everything = fault
            async with resolving(first, second, timeout_s=0.2) as resolver:
                answer = await resolver.query("mail.example", "A", Budget(5))
        assert sorted(answer.records) == BOTH


async def test_a_dead_server_is_passed_over_and_taken_back_when_it_answers() -> None:
    changes: list[tuple[str, bool]] = []
    async with FakeDns(RECORDS) as server:
        server.everything = Fault.SILENT
        async with resolving(
            server, timeout_s=0.03, on_availability=lambda name, up: changes.append((name, up))
        ) as resolver:
            assert type(await failure_of(resolver, "a.example")) is DnsTimeoutError
            await _until(lambda: changes == [(server.address, False)])
            sent = len(server.asked)
            assert type(await failure_of(resolver, "b.example")) is NoServerError
            assert len(server.asked) == sent
            server.everything = None
            await _until(lambda: len(changes) == 2)
            assert changes[1] == (server.address, True)
            answer = await resolver.query("mail.example", "A", Budget(5))
    assert sorted(answer.records) == BOTH


async def test_one_dead_zone_does_not_make_the_server_count_as_dead() -> None:
    changes: list[tuple[str, bool]] = []
    faults = {"dead.example": Fault.SILENT}
    async with (
        FakeDns(RECORDS, faults=faults) as server,
        resolving(
            server, timeout_s=0.15, on_availability=lambda name, up: changes.append((name, up))
        ) as resolver,
    ):
        for turn in range(3):
            assert type(await failure_of(resolver, f"{turn}.dead.example")) is DnsTimeoutError
        await _until(lambda: server.count(".") >= 1)
        assert (await resolver.query("mail.example", "A", Budget(5))).records
    assert changes == []


async def test_where_nothing_listens_it_says_so_without_waiting() -> None:
    server = FakeDns(RECORDS)
    await server.start()
    await server.stop()
    async with resolving(server, timeout_s=60) as resolver:
        assert type(await failure_of(resolver, "mail.example")) is DnsTimeoutError
        await _until(lambda: not resolver._upstreams[0].up)
        await server.start()
        try:
            await _until(lambda: resolver._upstreams[0].up)
            assert (await resolver.query("example", "MX", Budget(5))).records
        finally:
            await server.stop()


async def test_a_spent_budget_asks_nothing_but_the_cache() -> None:
    async with FakeDns(RECORDS) as server, resolving(server) as resolver:
        budget = Budget(5, queries=1)
        await resolver.query("mail.example", "A", budget)
        with pytest.raises(BudgetSpentError):
            await resolver.query("example", "MX", budget)
        again = await resolver.query("mail.example", "A", budget)
        with pytest.raises(BudgetSpentError):
            await resolver.query("example", "MX", Budget(0))
    assert again.from_cache
    assert [asked.name for asked in server.asked] == ["mail.example"]


async def test_a_budget_ends_before_the_server_does() -> None:
    async with FakeDns(RECORDS) as server:
        server.everything = Fault.SILENT
        async with resolving(server, timeout_s=60) as resolver:
            with pytest.raises(DnsTimeoutError):
                await resolver.query("mail.example", "A", Budget(0.05))


async def test_a_failure_is_kept_for_a_moment() -> None:
    async with (
        FakeDns(RECORDS, faults={"mail.example": Fault.SERVFAIL}) as server,
        resolving(server) as resolver,
    ):
        for _ in range(3):
            assert type(await failure_of(resolver, "mail.example")) is ServfailError
    assert server.count("mail.example") == 1


async def test_ports_change_and_no_question_is_lost_by_it() -> None:
    names = [f"{i}.wild.example" for i in range(2100)]
    async with (
        FakeDns({"*.wild.example": {"A": ["192.0.2.9"]}}) as server,
        resolving(server, timeout_s=5) as resolver,
    ):
        ports = set()
        for first in range(0, len(names), 100):
            answers = await asyncio.gather(
                *(resolver.query(name, "A", Budget(5)) for name in names[first : first + 100])
            )
            assert {answer.records for answer in answers} == {("192.0.2.9",)}
            source = resolver._upstreams[0]._socket
            assert source is not None
            ports.add(source.getsockname()[1])
    assert len(ports) == 3


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example", "ex ample", "bücher.de"])
async def test_names_that_dns_cannot_carry_are_not_asked(name: str) -> None:
    async with FakeDns() as server, resolving(server) as resolver:
        assert type(await failure_of(resolver, name)) is MalformedNameError
    assert server.asked == []


def test_it_runs_on_uvloop() -> None:
    async def ask() -> tuple[Answer, ResolverError]:
        async with FakeDns(RECORDS, zones=ZONES) as server, resolving(server) as resolver:
            answer = await resolver.query("mail.example", "A", Budget(5))
        async with resolving(server, timeout_s=60) as resolver:
            return answer, await failure_of(resolver, "mail.example")

    answer, error = uvloop.run(ask())
    assert sorted(answer.records) == BOTH
    assert type(error) is DnsTimeoutError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("[::1]", ("::1", 53)),
    ],
)
def test_servers_are_written_as_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_server(text) == expected


@pytest.mark.parametrize("text", ["dns.example", "127.0.0.1:", "127.0.0.1:0", "1.2.3.4:99999", ""])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1"):
        make_resolver(DnsSettings(servers=(text,)))


def test_without_settings_the_machine_s_servers_are_asked(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("# comment\nsearch x\nnameserver 192.0.2.53\nnameserver\nnameserver ::1\n")
    assert machine_servers(conf) == ("192.0.2.53", "::1")
    assert machine_servers(tmp_path / "none") == ("127.0.0.1",)


async def _until(condition: object) -> None:
    """Wait for something that is bound to happen; the test's own time limit ends it."""
    assert callable(condition)
    while not condition():
        await asyncio.sleep(0.01)


async def test_whatever_goes_wrong_every_question_ends_and_nothing_is_left_behind() -> None:
    kinds = list(Fault)
    names = [f"{turn}.{kinds[turn % len(kinds)].name.lower()}.example" for turn in range(280)]
    faults = {f"{kind.name.lower()}.example": kind for kind in kinds}
    async with (
        FakeDns({"*.example": {"A": ["192.0.2.9"]}}, faults=faults, slow_s=0.02) as server,
        resolving(server, timeout_s=0.3) as resolver,
    ):
        found = await asyncio.gather(
            *(resolver.query(name, "A", Budget(5)) for name in names), return_exceptions=True
        )
        assert {type(one) for one in found if not isinstance(one, Answer)} == {
            DnsTimeoutError,
            MalformedAnswerError,
            RefusedError,
            ServfailError,
        }
        answered = [name for name, one in zip(names, found, strict=True) if isinstance(one, Answer)]
        assert {name.split(".")[1] for name in answered} == {"slow", "truncated", "wrong_case"}
        await _until(lambda: not resolver._upstreams[0]._in_flight)
        assert resolver._lookups == {}
        assert resolver._tasks == set()
