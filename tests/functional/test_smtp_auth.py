"""SMTP AUTH: only under TLS, only for people of the directory, and nothing learned by guessing."""

import asyncio
import base64
import os
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import argon2
import pytest
import structlog
import trustme

from gateway.app.routing import Routing
from gateway.app.submission import Submission
from gateway.core.errors import SmtpError
from gateway.core.identities import Identities, Identity, Scopes
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from gateway.settings import SmtpSettings
from gateway.store import generations, identities
from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService, on_uvloop

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "sesam öffne dich"
SECRET = CHEAP.hash(PASSWORD)
HOP = NextHop(kind=NextHopKind.SMTP, host="192.0.2.1", port=25)


class CountingHasher(argon2.PasswordHasher):
    """Cheap, and knows how often it was asked."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.checked: list[str] = []

    def verify(self, secret: str | bytes, password: str | bytes) -> bool:
        self.checked.append(str(secret))
        return super().verify(secret, password)


class StuckHasher(CountingHasher):
    """Every digest takes until ``let_go``; knows who made them, and how many at once."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.priorities: set[int] = set()
        self._under_way = 0
        self.most = 0

    def verify(self, secret: str | bytes, password: str | bytes) -> bool:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        self.priorities.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        assert self.let_go.wait(30)
        self._under_way -= 1
        return super().verify(secret, password)


def person(login: str, **scopes: object) -> Identity:
    return Identity(login=login, secret=SECRET, scopes=Scopes(**scopes))  # type: ignore[arg-type]


PEOPLE = Identities(
    (
        person("anna@example.org", addresses=frozenset({"anna@example.org"})),
        person("boss", domains=frozenset({"example.org"})),
        person("office", customers=frozenset({"acme"})),
        person("root", everywhere=True),
    )
)


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    folder = tmp_path / "generations"
    served = (
        Domain(name="example.org", next_hops=(HOP,), aliases=("example.net",), customer="o"),
        Domain(name="acme.example", next_hops=(HOP,), customer="acme"),
    )
    generations.publish(folder, Generation(number=1, created_at_ms=1, domains=served))
    identities.publish(folder, PEOPLE)
    return Submission(folder, Routing(folder), CountingHasher())


class GivenTls:
    def __init__(self) -> None:
        self.ca = trustme.CA()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("mx.example.org").configure_cert(self._context)

    def current(self) -> ssl.SSLContext:
        return self._context


TLS = GivenTls()


def plain(login: str, password: str = PASSWORD, acting_for: str = "") -> str:
    return base64.b64encode(f"{acting_for}\0{login}\0{password}".encode()).decode()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@asynccontextmanager
async def secured(service: SmtpService) -> AsyncIterator[RawClient]:
    """A client under TLS that said EHLO."""
    trusting = ssl.create_default_context()
    TLS.ca.configure_trust(trusting)
    async with RawClient("127.0.0.1", service.port) as client:
        await client.reply()
        await client.ask("EHLO client.example")
        await client.ask("STARTTLS")
        await client.start_tls(trusting)
        assert "250-AUTH PLAIN LOGIN" in await client.ask("EHLO client.example")
        yield client


def serving(tmp_path: Path, submission: Submission, **chosen: object) -> SmtpService:
    values = {"hostname": "mx.example.org", "unknown_delay_s": 0, **chosen}
    spool = tmp_path / "spool"
    spool.mkdir()
    settings = SmtpSettings(**values)
    return SmtpService(spool, tls=TLS, submission=submission, settings=settings)


@on_uvloop
async def test_never_in_plain_text(tmp_path: Path, submission: Submission) -> None:
    async with (
        serving(tmp_path, submission) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await client.reply()
        assert "AUTH" not in await client.ask("EHLO client.example")
        refused = await client.ask(f"AUTH PLAIN {plain('anna@example.org')}")
        assert refused.startswith("538 5.7.11 ")
        assert (await client.ask("MAIL FROM:<a@b.example> AUTH=<>")).startswith("555 ")
        assert submission.hasher.checked == []


@pytest.mark.parametrize(
    "lines",
    [
        [f"AUTH PLAIN {plain('anna@example.org')}"],
        [f"auth plain {plain('ANNA@example.org', acting_for='ANNA@example.org')}"],
        ["AUTH PLAIN", plain("anna@example.org")],
        ["AUTH LOGIN", b64("Anna@Example.org"), b64(PASSWORD)],
        [f"AUTH LOGIN {b64('anna@example.org')}", b64(PASSWORD)],
    ],
)
@on_uvloop
async def test_a_person_logs_in_and_sends(
    lines: list[str], tmp_path: Path, submission: Submission
) -> None:
    async with serving(tmp_path, submission) as service, secured(service) as client:
        for line in lines[:-1]:
            assert (await client.ask(line)).startswith("334 ")
        assert (await client.ask(lines[-1])).startswith("235 2.7.0 ")
        assert (await client.ask(lines[0])).startswith("503 ")  # once only
        await client.ask("EHLO client.example")  # forgets no login
        for command, reply in (
            ("MAIL FROM:<boss@example.org>", "553 5.7.1 "),
            ("MAIL FROM:<anna@elsewhere.example>", "553 5.7.1 "),
            ("MAIL FROM:<anna@example.org> AUTH=anna+40example.org", "250 "),
            (f"AUTH PLAIN {plain('root')}", "503 "),
            ("RCPT TO:<somebody@elsewhere.example>", "550 5.7.1 "),
            ("RCPT TO:<bert@example.org>", "250 "),
            ("DATA", "354 "),
            ("Subject: hi\r\n\r\nhello\r\n.", "250 "),
            ("MAIL FROM:<>", "250 "),
        ):
            assert (await client.ask(command)).startswith(reply), command
        assert service.intake.mails[0].session.authenticated_as == "anna@example.org"


@on_uvloop
async def test_refusals_are_all_alike(tmp_path: Path, submission: Submission) -> None:
    heard = set()
    with structlog.testing.capture_logs() as logged:
        async with serving(tmp_path, submission) as service:
            for line in (
                plain("anna@example.org", "wrong"),
                plain("stranger", PASSWORD),
                plain("stranger", "x" * 1500),
                plain("anna@example.org", acting_for="root"),
                b64("no zero octets"),
                plain(""),
                base64.b64encode(b"\0anna\0\xff\xfe").decode(),
            ):
                async with secured(service) as client:
                    heard.add(await client.ask(f"AUTH PLAIN {line}"))
                    assert (await client.ask("MAIL FROM:<a@b.example>")).startswith("250 ")
            assert service.server.counts.refused_logins == 7
    assert heard == {"535 5.7.8 Authentication failed"}
    assert len(submission.hasher.checked) == 3  # a stranger costs a digest like everybody
    assert len({secret.split("$")[3] for secret in submission.hasher.checked}) == 1  # same cost
    for secret in ("anna", "stranger", "wrong", PASSWORD, plain("stranger")):
        assert secret not in repr(logged)


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        (["AUTH"], "501 5.5.4 "),
        (["AUTH CRAM-MD5"], "504 5.5.4 "),
        (["AUTH PLAIN !!!"], "501 5.5.4 "),
        (["AUTH PLAIN", "AHh4"], "535 5.7.8 "),
        (["AUTH PLAIN", "*"], "501 5.7.0 "),
        (["AUTH LOGIN", "*"], "501 5.7.0 "),
        (["AUTH LOGIN", b64("anna"), "*"], "501 5.7.0 "),
        (["AUTH PLAIN ="], "535 5.7.8 "),
        (["AUTH PLAIN", "A" * 4100], "501 5.5.4 "),
        (["AUTH PLAIN " + "A" * 4100], "500 5.5.2 "),
        (["MAIL FROM:<>", "AUTH PLAIN"], "503 5.5.1 "),
    ],
)
@on_uvloop
async def test_malformed(
    lines: list[str], reply: str, tmp_path: Path, submission: Submission
) -> None:
    async with serving(tmp_path, submission) as service, secured(service) as client:
        heard = [await client.ask(line) for line in lines]
        assert heard[-1].startswith(reply)
        await client.ask("RSET")
        right = await client.ask(f"AUTH PLAIN {plain('anna@example.org')}")
        assert right.startswith("235 ")


@on_uvloop
async def test_who_does_not_wait_is_hung_up_on(tmp_path: Path, submission: Submission) -> None:
    async with serving(tmp_path, submission) as service, secured(service) as client:
        command = f"AUTH PLAIN {plain('anna@example.org')}\r\nMAIL FROM:<anna@example.org>\r\n"
        await client.send(command.encode())
        assert (await client.reply()).startswith("503 5.5.0 ")
        assert await client.rest() == b""
        assert submission.hasher.checked == []


@on_uvloop
async def test_three_guesses_a_connection(tmp_path: Path, submission: Submission) -> None:
    async with serving(tmp_path, submission) as service, secured(service) as client:
        for _ in range(3):
            assert (await client.ask(f"AUTH PLAIN {plain('root', 'no')}")).startswith("535 ")
        assert (await client.reply()).startswith("421 4.7.0 ")
        assert await client.rest() == b""


@on_uvloop
async def test_a_network_that_guesses_learns_nothing_any_more(
    tmp_path: Path, submission: Submission
) -> None:
    chosen = {"unlimited_networks": (), "login_failures_per_min": 2, "greet_delay_s": 0}
    async with serving(tmp_path, submission, **chosen) as service:
        for expected in ("535 ", "535 ", "535 ", "454 4.7.0 "):
            async with secured(service) as client:
                assert (await client.ask(f"AUTH PLAIN {plain('root', 'no')}")).startswith(expected)
        async with secured(service) as client:
            assert (await client.ask(f"AUTH PLAIN {plain('root')}")).startswith("454 4.7.0 ")
        assert len(submission.hasher.checked) == 3


async def test_too_many_at_once_are_told_to_come_back(submission: Submission) -> None:
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(submission.verify("root", PASSWORD)) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(SmtpError) as refused:
            await submission.verify("root", PASSWORD)
    assert refused.value.reply.code == 454
    assert {one.result() for one in tries} == {"root"}
    assert await submission.verify("root", PASSWORD) == "root"


def stuck(submission: Submission) -> tuple[Submission, StuckHasher]:
    hasher = StuckHasher()
    return Submission(submission.directory, submission.routing, hasher), hasher


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_digests_give_way_to_mail_and_are_made_one_at_a_time(submission: Submission) -> None:
    slow, hasher = stuck(submission)
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(slow.verify("root", PASSWORD)) for _ in range(8)]
        await until(lambda: hasher.most)
        hasher.let_go.set()
    assert {one.result() for one in tries} == {"root"}
    assert hasher.most == 1
    (priority,) = hasher.priorities
    assert priority >= os.getpriority(os.PRIO_PROCESS, 0) + 10


@on_uvloop
async def test_a_flood_of_guesses_holds_up_no_mail(tmp_path: Path, submission: Submission) -> None:
    """All places for digests are taken, and none is ever given back."""
    slow, hasher = stuck(submission)
    with structlog.testing.capture_logs() as logged:
        async with serving(tmp_path, slow) as service, AsyncExitStack() as crowd:
            guesses = []
            for _ in range(8):
                client = await crowd.enter_async_context(secured(service))
                await client.send(f"AUTH PLAIN {plain('root', 'no')}\r\n".encode())
                guesses.append(client)
            await until(lambda: slow._strangers.inside == 8)
            async with secured(service) as client:
                for _ in range(3):
                    one_more = await client.ask(f"AUTH PLAIN {plain('root')}")
                    assert one_more.startswith("454 4.7.0 ")
                assert (await client.reply()).startswith("421 4.7.0 ")
            for _ in range(20):
                async with RawClient("127.0.0.1", service.port) as client:
                    await client.reply()
                    await client.ask("EHLO client.example")
                    assert (await client.transaction(b"Subject: x\r\n\r\n")).startswith("250 ")
            assert len(service.intake.mails) == 20
            hasher.let_go.set()
            for client in guesses:
                assert (await client.reply()).startswith("535 ")
    assert [one for one in logged if one["log_level"] in {"error", "warning"}] == []


@on_uvloop
async def test_who_logged_in_before_finds_a_place_in_a_flood(
    tmp_path: Path, submission: Submission
) -> None:
    slow, hasher = stuck(submission)
    async with serving(tmp_path, slow) as service:
        hasher.let_go.set()
        async with secured(service) as client:
            assert (await client.ask(f"AUTH PLAIN {plain('root')}")).startswith("235 ")
        hasher.let_go.clear()
        strangers = [asyncio.create_task(slow.verify("root", "no")) for _ in range(8)]
        async with secured(service) as client:
            await client.send(f"AUTH PLAIN {plain('root')}\r\n".encode())
            await until(lambda: hasher.most == 2)  # it is being looked at: nobody is before it
            hasher.let_go.set()
            assert (await client.reply()).startswith("235 ")
        assert await asyncio.gather(*strangers) == [None] * 8


@pytest.mark.parametrize(
    ("login", "address", "allowed"),
    [
        ("anna@example.org", "anna@example.org", True),
        ("anna@example.org", "ANNA@Example.ORG.", True),
        ("anna@example.org", "anna+shop@example.org", True),
        ("anna@example.org", "bert@example.org", False),
        ("anna@example.org", "anna@example.org@elsewhere.example", False),
        ("boss", "bert@example.org", True),
        ("boss", "bert@example.net", True),
        ("boss", "bert@acme.example", False),
        ("boss", "bert@sub.example.org", False),
        ("office", "bert@acme.example", True),
        ("office", "bert@example.org", False),
        ("root", "bert@acme.example", True),
        ("root", "bert@elsewhere.example", False),
        ("stranger", "anna@example.org", False),
    ],
)
async def test_whose_address_it_is(
    login: str, address: str, allowed: bool, submission: Submission
) -> None:
    assert submission.may_send_as(login, address) is allowed


async def test_changes_are_followed_and_damage_is_survived(submission: Submission) -> None:
    path = submission.directory / identities.NAME
    assert path.stat().st_mode & 0o777 == 0o600
    identities.publish(submission.directory, Identities(PEOPLE.people[1:]))
    submission.refresh()
    assert await submission.verify("anna@example.org", PASSWORD) is None
    assert await submission.verify("boss", PASSWORD) == "boss"
    path.write_bytes(path.read_bytes().replace(b"boss", b"b0ss"))
    submission.refresh()
    assert await submission.verify("boss", PASSWORD) == "boss"
    path.unlink()
    submission.refresh()
    assert await submission.verify("boss", PASSWORD) is None
    assert SECRET not in repr(PEOPLE)
