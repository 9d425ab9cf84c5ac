"""Requests for delivery status notifications (RFC 3461): taken strictly, passed on unchanged."""

import asyncio
from pathlib import Path

import pytest

from gateway.app.routing import all_pass_dsn_on
from gateway.core.mail import DsnRequest
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from tests.fakes.gateway import Gateway
from tests.fakes.sink import Script, Sink, sink
from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService, on_uvloop

_MESSAGE = (
    b"From: Bert <bert@client.example>\r\nSubject: Hello\r\nMessage-ID: <1@client.example>\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nHello Anna.\r\n.\r\n"
)
_WITH_DSN = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN")


async def _ready(client: RawClient) -> str:
    assert (await client.reply()).startswith("220 ")
    return await client.ask("EHLO client.example")


@on_uvloop
async def test_requests_are_in_the_envelope(tmp_path: Path) -> None:
    async with (
        SmtpService(tmp_path) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        assert "DSN" not in await _ready(client)
        await client.ask("MAIL FROM:<a@client.example> ret=hdrs ENVID=QQ+2B1")
        await client.ask("RCPT TO:<ANNA@example.org> NOTIFY=delay,SUCCESS ORCPT=rfc822;x+40y@b.c")
        await client.ask("RCPT TO:<bert@example.org>")
        await client.ask("RCPT TO:<cora@example.org> NOTIFY=NEVER")
        await client.ask("DATA")
        await client.send(b"x\r\n.\r\n")
        assert (await client.reply()).startswith("250")
        envelope = service.intake.mails[0].envelope
        assert (envelope.ret, envelope.envid) == ("HDRS", "QQ+2B1")
        assert envelope.dsn == (
            DsnRequest(
                recipient="anna@example.org", notify="SUCCESS,DELAY", orcpt="rfc822;x+40y@b.c"
            ),
            DsnRequest(recipient="cora@example.org", notify="NEVER"),
        )


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("NOTIFY=", "501"),
        ("NOTIFY", "501"),
        ("NOTIFY=ALWAYS", "501"),
        ("NOTIFY=NEVER,SUCCESS", "501"),
        ("NOTIFY=SUCCESS,", "501"),
        ("NOTIFY=SUCCESS NOTIFY=SUCCESS", "501"),
        ("NOTIFY=SUCCESS,FAILURE,DELAY", "250"),
        ("ORCPT", "501"),
        ("ORCPT=rfc822", "501"),
        ("ORCPT=rfc822;", "501"),
        ("ORCPT=;a@b.c", "501"),
        ("ORCPT=rf/c822;a@b.c", "501"),
        ("ORCPT=rfc822;a+b@b.c", "501"),
        ("ORCPT=rfc822;a+2Bb@b.c", "250"),
        ("ORCPT=rfc822;a\u00fc@b.c", "501"),
        ("ORCPT=utf-8;a\u00fc@b.c", "250"),
        ("ORCPT=utf-8;a\\x{FC}@b.c", "250"),
        ("ORCPT=utf-8;a\\x{fc}@b.c", "501"),
        ("ORCPT=rfc822;" + "a" * 493, "250"),
        ("ORCPT=rfc822;" + "a" * 494, "501"),
    ],
)
@on_uvloop
async def test_parameters_of_rcpt(parameters: str, code: str, tmp_path: Path) -> None:
    async with (
        SmtpService(tmp_path) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await _ready(client)
        await client.ask("MAIL FROM:<> SMTPUTF8")
        assert (await client.ask(f"RCPT TO:<anna@example.org> {parameters}")).startswith(code)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("RET=FULL", "250"),
        ("RET", "501"),
        ("RET=SOME", "501"),
        ("ENVID=", "501"),
        ("ENVID=a=b", "501"),
        ("ENVID=a+3Db", "250"),
        ("ENVID=a+3db", "501"),
        ("ENVID=" + "x" * 100, "250"),
        ("ENVID=" + "x" * 101, "501"),
    ],
)
@on_uvloop
async def test_parameters_of_mail(parameters: str, code: str, tmp_path: Path) -> None:
    async with (
        SmtpService(tmp_path) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await _ready(client)
        assert (await client.ask(f"MAIL FROM:<a@b.example> {parameters}")).startswith(code)


async def _send(gateway: Gateway) -> None:
    async with RawClient("127.0.0.1", gateway.smtp_port) as client:
        await _ready(client)
        await client.ask("MAIL FROM:<a@client.example> RET=FULL ENVID=QQ1")
        await client.ask("RCPT TO:<anna@trial.example> NOTIFY=SUCCESS ORCPT=rfc822;an@old.example")
        await client.ask("RCPT TO:<bert@trial.example>")
        await client.ask("DATA")
        await client.send(_MESSAGE)
        assert (await client.reply()).startswith("250")


async def _announces(gateway: Gateway) -> bool:
    async with RawClient("127.0.0.1", gateway.smtp_port) as client:
        return "250-DSN" in await _ready(client)


async def _through_a_gateway(folder: Path, to: Sink) -> bool:
    """Two messages; whether DSN was announced once the next hop was known."""
    gateway = Gateway(folder, f"127.0.0.1:{to.port}")
    try:
        await asyncio.to_thread(gateway.init)
        await asyncio.to_thread(gateway.start)
        assert not await _announces(gateway)  # nobody knows yet what the next hop takes
        await _send(gateway)
        await asyncio.sleep(1.5)  # the worker looks once a second
        return await _announces(gateway)
    finally:
        gateway.kill_everything()


async def test_requests_reach_a_next_hop_that_takes_them(tmp_path: Path) -> None:
    async with sink(Script(offers=_WITH_DSN)) as to:
        assert await _through_a_gateway(tmp_path, to)
        commands = [one for one in to.commands if one.startswith(("MAIL", "RCPT"))]
    assert commands[0].startswith("MAIL FROM:<a@client.example> ")
    assert commands[0].endswith(" RET=FULL ENVID=QQ1")
    assert commands[1:] == [
        "RCPT TO:<anna@trial.example> NOTIFY=SUCCESS ORCPT=rfc822;an@old.example",
        "RCPT TO:<bert@trial.example>",
    ]


async def test_a_next_hop_without_dsn_hears_nothing_of_it(tmp_path: Path) -> None:
    async with sink() as to:
        assert not await _through_a_gateway(tmp_path, to)
        commands = [one for one in to.commands if one.startswith(("MAIL", "RCPT"))]
    assert commands[1:] == ["RCPT TO:<anna@trial.example>", "RCPT TO:<bert@trial.example>"]
    assert not {"RET", "ENVID"} & {word.partition("=")[0] for word in commands[0].split()}


def test_announced_only_where_every_next_hop_takes_it() -> None:
    one, two = (NextHop(kind=NextHopKind.SMTP, host="a.example", port=port) for port in (25, 26))
    folder = NextHop(kind=NextHopKind.MAILDIR, path="/srv/mail")

    def kept(*hops: NextHop, offering: tuple[NextHop, ...]) -> bool:
        domains = tuple(
            Domain(name=f"d{n}.example", next_hops=(hop,)) for n, hop in enumerate(hops)
        )
        generation = Generation(number=1, created_at_ms=0, domains=domains)
        return all_pass_dsn_on(generation, offering.__contains__)

    assert kept(one, two, offering=(one, two))
    assert not kept(one, two, offering=(one,))
    assert not kept(one, folder, offering=(one, folder))
    assert not kept(offering=())
