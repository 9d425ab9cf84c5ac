"""Clients that hammer, guess, or talk too early; and load balancers that speak for clients."""

import asyncio
import struct
from pathlib import Path

import pytest

from gateway.core.clock import SystemClock
from gateway.settings import SmtpSettings
from gateway.telemetry.greeted import Greeted
from gateway.telemetry.slots import SLOTS, Slots
from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.sink import sink
from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService, on_uvloop

_V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def _settings(**chosen: object) -> SmtpSettings:
    values = {"unlimited_networks": (), "greet_delay_s": 0, "unknown_delay_s": 0, **chosen}
    return SmtpSettings(hostname="mx.example.org", **values)  # type: ignore[arg-type]


async def _ready(client: RawClient) -> None:
    assert (await client.reply()).startswith("220 ")
    assert (await client.ask("EHLO client.example")).startswith("250")


@pytest.mark.parametrize("early", [b"EHLO x\r\n", b"\x16\x03\x01", b"PROXY TCP4 1.2.3.4 "])
@on_uvloop
async def test_who_talks_before_the_greeting_is_refused(early: bytes, tmp_path: Path) -> None:
    async with SmtpService(tmp_path, settings=_settings(greet_delay_s=5)) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            await client.send(early)
            assert (await client.reply()).startswith("554 5.5.1 ")
            assert await client.rest() == b""
        await service.settled()
        assert service.server.counts.early_talkers == 1


@on_uvloop
async def test_who_waits_is_greeted(tmp_path: Path) -> None:
    async with (
        SmtpService(tmp_path, settings=_settings(greet_delay_s=0.3)) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        assert await client.silent_for(0.1)
        await _ready(client)
        assert (await client.transaction(b"x\r\n")).startswith("250")


@on_uvloop
async def test_who_waited_once_is_greeted_at_once_by_every_worker(tmp_path: Path) -> None:
    settings = _settings(greet_delay_s=0.5)
    spool = tmp_path / "spool"
    spool.mkdir()
    for expected in (False, True):  # the second is another worker, on the same memory
        memory = Greeted.open(tmp_path / "greeted", SystemClock())
        async with SmtpService(spool, settings=settings, greeted=memory) as service:
            for known in (expected, True):
                started = service.server._service.clock.monotonic_s()
                async with RawClient("127.0.0.1", service.port) as client:
                    assert (await client.reply()).startswith("220 ")
                    waited_s = service.server._service.clock.monotonic_s() - started
                    assert known or waited_s >= 0.5
                    assert memory.knows(b"127.0.0.1")


@on_uvloop
async def test_who_talks_early_is_not_remembered(tmp_path: Path) -> None:
    memory = Greeted.open(tmp_path / "greeted", SystemClock())
    spool = tmp_path / "spool"
    spool.mkdir()
    settings = _settings(greet_delay_s=5)
    async with (
        SmtpService(spool, settings=settings, greeted=memory) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await client.send(b"EHLO x\r\n")
        assert (await client.reply()).startswith("554 5.5.1 ")
        assert not memory.knows(b"127.0.0.1")


@on_uvloop
async def test_who_is_unlimited_does_not_wait(tmp_path: Path) -> None:
    settings = _settings(greet_delay_s=30, unlimited_networks=("127.0.0.0/8",))
    async with (
        SmtpService(tmp_path, settings=settings) as service,
        RawClient("127.0.0.1", service.port, patience_s=5) as client,
    ):
        await _ready(client)


@on_uvloop
async def test_too_many_connections_a_minute(tmp_path: Path) -> None:
    async with SmtpService(tmp_path, settings=_settings(connection_rate_per_min=3)) as service:
        codes = []
        for _ in range(5):
            async with RawClient("127.0.0.1", service.port) as client:
                codes.append((await client.reply())[:9])
        assert codes[:3] == ["220 mx.ex"] * 3
        assert set(codes[3:]) == {"421 4.3.2"}


@on_uvloop
async def test_too_many_messages_a_minute(tmp_path: Path) -> None:
    async with (
        SmtpService(tmp_path, settings=_settings(message_rate_per_min=2)) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await _ready(client)
        for _ in range(2):
            assert (await client.transaction(b"x\r\n")).startswith("250")
        assert (await client.transaction(b"x\r\n")).startswith("451 4.7.1 ")
        assert len(service.intake.mails) == 2


@on_uvloop
async def test_who_guesses_learns_nothing_any_more(tmp_path: Path) -> None:
    async with (
        SmtpService(tmp_path, settings=_settings(unknown_rate_per_min=3)) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await _ready(client)
        await client.ask("MAIL FROM:<>")
        assert (await client.ask("RCPT TO:<anna@example.org>")).startswith("250")
        for _ in range(4):
            assert (await client.ask("RCPT TO:<nobody@example.org>")).startswith("550 5.1.1 ")
        answers = [
            await client.ask(f"RCPT TO:<{name}@example.org>") for name in ("anna", "bert", "nobody")
        ]
        assert len(set(answers)) == 1
        assert answers[0].startswith("450 4.2.0 ")
        assert (await client.ask("RCPT TO:<no address>")).startswith("553")


@on_uvloop
async def test_who_guesses_waits_longer_and_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("gateway.smtp.protocol.asyncio.sleep", pause)
    async with (
        SmtpService(tmp_path, settings=_settings(unknown_delay_s=1.2)) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await _ready(client)
        await client.ask("MAIL FROM:<>")
        for _ in range(9):
            assert (await client.ask("RCPT TO:<nobody@example.org>")).startswith("550 5.1.1 ")
        assert (await client.ask("RCPT TO:<anna@example.org>")).startswith("250")
    assert [one for one in pauses if one in {0.5, 1.0, 1.2}] == [0.5, 1.0, 1.2, 1.2]


def _v2(body: bytes, *, command: int = 0x21, family: int = 0x11, tlvs: bytes = b"") -> bytes:
    return _V2 + struct.pack("!BBH", command, family, len(body + tlvs)) + body + tlvs


_V4_BODY = bytes([192, 0, 2, 7]) + bytes([10, 0, 0, 1]) + struct.pack("!HH", 4711, 25)
_V6_BODY = bytes.fromhex("20010db8" + "00" * 11 + "07") * 2 + struct.pack("!HH", 4711, 25)
_MAPPED = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 9])
_TLV = b"\x04" + struct.pack("!H", 300) + bytes(300)

_TAKEN: dict[str, tuple[bytes, str]] = {
    "v1": (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 25\r\n", "192.0.2.7"),
    "v1 ipv6": (b"PROXY TCP6 2001:DB8::7 2001:db8::1 4711 25\r\n", "2001:db8::7"),
    "v1 mapped": (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 25\r\n", "192.0.2.7"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1 unknown with words": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    "v2": (_v2(_V4_BODY), "192.0.2.7"),
    "v2 ipv6": (_v2(_V6_BODY, family=0x21), "2001:db8::7"),
    "v2 mapped": (_v2(_MAPPED * 2 + bytes(4), family=0x21), "192.0.2.9"),
    "v2 with tlvs": (_v2(_V4_BODY, tlvs=_TLV), "192.0.2.7"),
    "v2 local": (_v2(b"", command=0x20, family=0), "127.0.0.1"),
    "v2 local with address": (_v2(_V4_BODY, command=0x20), "127.0.0.1"),
    "v2 unspecified": (_v2(b"", family=0), "127.0.0.1"),
}

_REFUSED: dict[str, bytes] = {
    "no header": b"EHLO client.example\r\n",
    "v1 bad family": b"PROXY TCP5 192.0.2.7 10.0.0.1 4711 25\r\n",
    "v1 lower case": b"proxy TCP4 192.0.2.7 10.0.0.1 4711 25\r\n",
    "v1 no port": b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
    "v1 big port": b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 25\r\n",
    "v1 wrong kind": b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 25\r\n",
    "v1 name": b"PROXY TCP4 client.example 10.0.0.1 4711 25\r\n",
    "v1 blanks": b"PROXY  TCP4 192.0.2.7 10.0.0.1 4711 25\r\n",
    "v1 overlong": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    "v1 endless": b"PROXY TCP4 " + b"1" * 2000,
    "v1 bare lf": b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 25\n" + b"x" * 100,
    "v2 version": _v2(_V4_BODY, command=0x11),
    "v2 command": _v2(_V4_BODY, command=0x22),
    "v2 datagram": _v2(_V4_BODY, family=0x12),
    "v2 unix": _v2(bytes(216), family=0x31),
    "v2 short": _v2(_V4_BODY[:-1]),
    "v2 overlong": _v2(_V4_BODY, tlvs=bytes(5000)),
}


def _behind_proxy() -> SmtpSettings:
    return _settings(proxy_networks=("127.0.0.1/32",), connections_per_network=1)


@pytest.mark.parametrize("name", _TAKEN)
@pytest.mark.parametrize("in_pieces", [False, True])
@on_uvloop
async def test_the_client_that_a_proxy_names(name: str, in_pieces: bool, tmp_path: Path) -> None:
    header, ip = _TAKEN[name]
    async with SmtpService(tmp_path, settings=_behind_proxy()) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            for at in range(0, len(header), 7 if in_pieces else len(header)):
                await client.send(header[at : at + (7 if in_pieces else len(header))])
                await asyncio.sleep(0.002 if in_pieces else 0)
            await _ready(client)
            assert (await client.transaction(b"x\r\n")).startswith("250")
        await service.settled()
        (mail,) = service.intake.mails
        assert mail.session.ip == ip
        assert [facts.session.ip for facts in service.connects] == [ip]


@pytest.mark.parametrize("name", _REFUSED)
@on_uvloop
async def test_a_header_that_is_none_gets_no_word(name: str, tmp_path: Path) -> None:
    async with SmtpService(tmp_path, settings=_behind_proxy()) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            await client.send(_REFUSED[name])
            assert await client.rest() == b""
        await service.settled()
        assert service.connects == []


@on_uvloop
async def test_a_proxy_that_says_nothing_is_dropped(tmp_path: Path) -> None:
    async with SmtpService(tmp_path, settings=_behind_proxy(), proxy_timeout_s=0.2) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            assert await client.rest() == b""
        await service.settled()


@on_uvloop
async def test_limits_are_those_of_the_client_behind_the_proxy(tmp_path: Path) -> None:
    async with SmtpService(tmp_path, settings=_behind_proxy()) as service:
        async with (
            RawClient("127.0.0.1", service.port) as one,
            RawClient("127.0.0.1", service.port) as same,
            RawClient("127.0.0.1", service.port) as other,
        ):
            await one.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 25\r\n")
            assert (await one.reply()).startswith("220 ")
            await same.send(b"PROXY TCP4 192.0.2.8 10.0.0.1 4711 25\r\n")
            assert (await same.reply()).startswith("421 4.3.2 ")
            await other.send(b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 25\r\n")
            assert (await other.reply()).startswith("220 ")
        await service.settled()


@on_uvloop
async def test_nobody_else_may_name_a_client(tmp_path: Path) -> None:
    settings = _settings(proxy_networks=("192.0.2.0/24",))
    async with (
        SmtpService(tmp_path, settings=settings) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        assert (await client.reply()).startswith("220 ")
        assert (await client.ask("PROXY TCP4 10.0.0.1 10.0.0.1 1 25")).startswith("500 ")
        await client.ask("EHLO client.example")
        assert (await client.transaction(b"x\r\n")).startswith("250")
        assert service.intake.mails[0].session.ip == "127.0.0.1"


async def _greeted(port: int, tries: int) -> list[RawClient]:
    """The clients, still connected, that heard a greeting."""
    welcome = []
    for _ in range(tries):
        client = await RawClient("127.0.0.1", port).__aenter__()
        if (await client.reply()).startswith("220 "):
            welcome.append(client)
        else:
            await client.__aexit__(None, None, None)
    return welcome


async def test_a_network_is_counted_over_all_workers_and_outlives_their_death(
    tmp_path: Path,
) -> None:
    async with sink() as to:
        gateway = Gateway(tmp_path, f"127.0.0.1:{to.port}", workers=2)
        gateway.environment |= {
            "SCHWAMM_SMTP__UNLIMITED_NETWORKS": "[]",
            "SCHWAMM_SMTP__CONNECTIONS_PER_NETWORK": "6",
            "SCHWAMM_SMTP__GREET_DELAY_S": "0",
        }
        try:
            await asyncio.to_thread(gateway.init)
            await asyncio.to_thread(gateway.start)
            first = await _greeted(gateway.smtp_port, 20)
            assert len(first) == 6
            for worker in gateway.children()["smtp"]:
                worker.kill()
            for client in first:
                assert await client.rest() == b""
            slots = Slots.open(gateway.state / "run" / "slots")

            def both_serve() -> bool:
                workers = {worker.pid for worker in gateway.children().get("smtp", [])}
                beating = {slots.pid(slot) for slot in range(SLOTS)}
                return len(workers) == 2 and workers <= beating

            await asyncio.to_thread(wait_until, both_serve, "two workers")
            await asyncio.sleep(1.5)  # until the new ones have seen each other
            again = await _greeted(gateway.smtp_port, 20)
            assert len(again) == 6
            for client in [*first, *again]:
                await client.__aexit__(None, None, None)
        finally:
            gateway.kill_everything()
