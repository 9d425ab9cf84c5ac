"""Many clients, greedy clients, slow clients: each has its share, and nobody else's."""

import asyncio
import email.message
from pathlib import Path

import aiosmtplib
import pytest

from gateway.core.mail import Mail
from gateway.core.reply import ACCEPTED, Reply
from gateway.settings import SmtpSettings
from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService, on_uvloop


async def _ready(client: RawClient) -> None:
    await client.reply()
    assert (await client.ask("EHLO client.example")).startswith("250")


@on_uvloop
async def test_one_connection_too_many_is_told_so_instead_of_a_greeting(tmp_path: Path) -> None:
    async with SmtpService(tmp_path, max_connections=2) as service:
        async with RawClient("127.0.0.1", service.port) as first:
            assert (await first.reply()).startswith("220 ")
            async with RawClient("127.0.0.1", service.port) as second:
                assert (await second.reply()).startswith("220 ")
                async with RawClient("127.0.0.1", service.port) as third:
                    assert (await third.reply()).startswith("421 4.3.2 ")
                    assert await third.rest() == b""
                    assert len(service.connects) == 2  # no look-ups for who is turned away
                assert (await second.ask("NOOP")).startswith("250")
        await service.settled()
        async with RawClient("127.0.0.1", service.port) as again:
            assert (await again.reply()).startswith("220 ")


@on_uvloop
async def test_one_client_cannot_take_all_connections(tmp_path: Path) -> None:
    settings = SmtpSettings(
        hostname="mx.example.org",
        connections_per_network=1,
        unlimited_networks=(),
        greet_delay_s=0,
    )
    async with SmtpService(tmp_path, settings=settings) as service:
        async with (
            RawClient("127.0.0.1", service.port) as first,
            RawClient("127.0.0.1", service.port) as second,
        ):
            assert (await first.reply()).startswith("220 ")
            assert (await second.reply()).startswith("421 4.3.2 ")
        await service.settled()
        async with RawClient("127.0.0.1", service.port) as again:
            assert (await again.reply()).startswith("220 ")


async def _flood(client: RawClient) -> None:
    for _ in range(1000):  # 30 MB: more than the sockets' buffers hold
        await client.send(b"NOOP\r\n" * 5000)


@on_uvloop
async def test_a_client_that_never_reads_is_dropped(tmp_path: Path) -> None:
    """Its replies must not pile up in our memory, nor hold the socket for ever."""
    async with SmtpService(
        tmp_path, command_timeout_s=0.5, linger_s=0.3, max_commands_without_mail=10**9
    ) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            with pytest.raises(ConnectionError):
                await _flood(client)
            client.reset()
        await service.settled()


@on_uvloop
async def test_a_client_that_sends_ahead_is_slowed_down(tmp_path: Path) -> None:
    """While its message is being taken, what it pipelines stays in the network, not in memory."""
    release = asyncio.Event()

    async def wait(mail: Mail) -> Reply:
        await release.wait()
        return ACCEPTED

    async with SmtpService(tmp_path, max_commands_without_mail=10**9) as service:
        service.intake.answer = wait
        async with RawClient("127.0.0.1", service.port) as client:
            await _ready(client)
            for command in ("MAIL FROM:<>", "RCPT TO:<anna@example.org>", "DATA"):
                await client.ask(command)
            ahead = 10_000
            sending = asyncio.create_task(
                client.send(b"x\r\n.\r\n" + (b"NOOP " + b"x" * 400 + b"\r\n") * ahead)
            )
            async with asyncio.timeout(5):
                while not service.intake.mails:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.3)
            (connection,) = service.server._service.connections
            assert len(connection._inbox) < 1_000_000
            release.set()
            # Nothing of it is lost: every command is answered in the end.
            assert (await client.reply()).startswith("250 2.0.0 OK: taken")
            for _ in range(ahead):
                assert await client.reply() == "250 2.0.0 OK"
            await sending


@on_uvloop
async def test_who_is_hung_up_on_can_still_read_why(tmp_path: Path) -> None:
    """Closing with unread input would reset the connection, and the reply might be lost with it."""
    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        await _ready(client)
        await client.send(
            b"MAIL FROM:<>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n" + b"too early\r\n" * 50_000
        )
        assert (await client.reply()).startswith("250 2.1.0 ")
        assert (await client.reply()).startswith("250 2.1.5 ")
        assert (await client.reply()).startswith("503 5.5.0 ")
        assert await client.ended_without_reset()
        assert service.intake.mails == []


@on_uvloop
async def test_fifty_clients_at_once(tmp_path: Path) -> None:
    async def deliver(number: int, port: int) -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, timeout=30) as smtp:
            for part in range(3):
                message = email.message.EmailMessage()
                message["Subject"] = f"{number}.{part}"
                message.set_content(f"client {number}\n.\n" * (1 + 200 * part))
                errors, reply = await smtp.sendmail(
                    f"sender{number}@client.example",
                    [f"user{number}@example.org", f"user{part}@example.org"],
                    message.as_bytes(policy=email.policy.SMTP),
                )
                assert errors == {}
                assert "(id " in reply

    async with SmtpService(tmp_path) as service:
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(deliver(number, service.port))
        mails = zip(service.intake.mails, service.intake.contents, strict=True)
        found = {content.partition(b"\r\n")[0]: (mail, content) for mail, content in mails}
        assert len(service.intake.mails) == len(found) == 150
        for number in range(50):
            for part in range(3):
                mail, content = found[f"Subject: {number}.{part}".encode()]
                assert mail.envelope.mail_from == f"sender{number}@client.example"
                assert content.count(f"client {number}\r\n.\r\n".encode()) == 1 + 200 * part
                wanted = dict.fromkeys([f"user{number}@example.org", f"user{part}@example.org"])
                assert [each.key for each in mail.envelope.rcpt_to] == list(wanted)
        assert len({mail.id for mail in service.intake.mails}) == 150
