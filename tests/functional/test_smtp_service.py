"""The server as a whole: errors inside, facts and ids, drain."""

import asyncio
from pathlib import Path

import pytest
import structlog

from gateway.core.errors import ScanFailedError, StorageFullError
from gateway.core.mail import Mail, Session
from gateway.core.reply import ACCEPTED, Reply
from gateway.smtp.wire import Wire
from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import Facts, SmtpService, on_uvloop


async def _ready(client: RawClient) -> None:
    await client.reply()
    assert (await client.ask("EHLO client.example")).startswith("250")


# Errors inside


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("secret detail"), "451 4.3.0 Temporary problem here"),
        (ScanFailedError("secret detail"), "451 4.3.0 Temporary problem here"),
        (StorageFullError("secret detail"), "452 4.3.1 No room to store mail now"),
        (TimeoutError("secret detail"), "451 4.3.0 Temporary problem here"),
        (asyncio.CancelledError("secret detail"), "451 4.3.0 Temporary problem here"),
    ],
)
@on_uvloop
async def test_an_exception_is_temporary_and_tells_nothing(
    error: BaseException, expected: str, tmp_path: Path
) -> None:
    async def fail(mail: Mail) -> Reply:
        raise error

    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        service.intake.answer = fail
        await _ready(client)
        with structlog.testing.capture_logs() as logs:
            reply = await client.transaction(b"x\r\n")
        mail_id = service.intake.mails[0].id
        assert reply.startswith(expected)
        assert reply.endswith(f"(id {mail_id})")
        assert "secret" not in reply
        (entry,) = [entry for entry in logs if entry["event"] == "smtp_error"]
        assert entry["mail_id"] == mail_id
        assert error in (entry["exc_info"], entry["exc_info"].__cause__)
        # The session goes on, and a second message does not inherit the first one's fate.
        service.intake.answer = None
        assert (await client.transaction(b"y\r\n")).startswith("250")


@on_uvloop
async def test_an_intake_that_never_ends_is_cancelled_and_deferred(tmp_path: Path) -> None:
    cancelled = asyncio.Event()

    async def hang(mail: Mail) -> Reply:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return ACCEPTED

    async with (
        SmtpService(tmp_path, intake_timeout_s=0.1) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        service.intake.answer = hang
        await _ready(client)
        assert (await client.transaction(b"x\r\n")).startswith("451 4.3.0 ")
        assert cancelled.is_set()


@on_uvloop
async def test_a_long_intake_is_not_cut_by_the_command_timer(tmp_path: Path) -> None:
    async def slow(mail: Mail) -> Reply:
        await asyncio.sleep(1.5)
        return ACCEPTED

    async with (
        SmtpService(
            tmp_path,
            command_timeout_s=1.0,
            session_timeout_s=1.2,
            data_timeout_s=1.0,
            data_grace_s=0.8,
            data_min_bytes_per_s=1000,
        ) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        service.intake.answer = slow
        await _ready(client)
        assert (await client.transaction(b"x\r\n")).startswith("250")


@on_uvloop
async def test_a_refusal_of_the_intake_is_passed_on_with_the_id(tmp_path: Path) -> None:
    async def refuse(mail: Mail) -> Reply:
        return Reply(code=550, enhanced="5.7.1", text="Message refused\r\n250 by policy ü")

    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        service.intake.answer = refuse
        await _ready(client)
        reply = await client.transaction(b"x\r\n")
        mail_id = service.intake.mails[0].id
        # One line of ASCII, whatever the text was made from.
        assert reply == f"550 5.7.1 Message refused  250 by policy ? (id {mail_id})"
        assert (await client.ask("NOOP")) == "250 2.0.0 OK"


@on_uvloop
async def test_look_ups_that_cannot_start_turn_the_client_away_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SmtpService(tmp_path) as service:
        with monkeypatch.context() as patched:

            def fail(session: Session) -> Facts:
                raise OSError("secret detail")

            patched.setattr(service.server._service, "on_connect", fail)
            async with RawClient("127.0.0.1", service.port) as client:
                reply = await client.reply()
                assert reply.startswith("421 4.3.0 ")
                assert "secret" not in reply
                assert await client.rest() == b""
        async with RawClient("127.0.0.1", service.port) as client:
            assert (await client.reply()).startswith("220 ")


@on_uvloop
async def test_an_error_between_commands_ends_the_connection_and_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(wire: Wire, deadline: float) -> bytes:
        raise ValueError("secret detail")

    async with SmtpService(tmp_path) as service:
        monkeypatch.setattr(Wire, "read_line", fail)
        async with RawClient("127.0.0.1", service.port) as client:
            assert (await client.reply()).startswith("220 ")
            assert (await client.reply()).startswith("451 4.3.0 Temporary problem here")
            assert await client.rest() == b""


# Facts and ids


@on_uvloop
async def test_facts_start_at_connect_and_come_with_each_mail(tmp_path: Path) -> None:
    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        await client.reply()
        (facts,) = service.connects
        assert (facts.session.ip, facts.session.port) == ("127.0.0.1", client.local_port)
        assert facts.session.helo == ""
        await client.ask("EHLO client.example")
        await client.transaction(b"x\r\n")
        await client.transaction(b"y\r\n")
        assert service.intake.facts == [facts, facts]
        first, second = service.intake.mails
        assert first.id != second.id
        assert first.session.helo == "client.example"
        assert first.session.connected_at_ms <= first.received_at_ms


@on_uvloop
async def test_one_id_in_every_reply_of_a_transaction(tmp_path: Path) -> None:
    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        await _ready(client)
        replies = [
            await client.ask(command)
            for command in (
                "MAIL FROM:<a@client.example>",
                "RCPT TO:<nobody@example.org>",
                "RCPT TO:<@relay.example:anna@example.org>",
                "RCPT TO:<anna@example.org>",
                "FROBNICATE",
            )
        ]
        await client.ask("DATA")
        await client.send(b"x\r\n.\r\n")
        replies.append(await client.reply())
        mail_id = service.intake.mails[0].id
        assert [reply.endswith(f"(id {mail_id})") for reply in replies] == [True] * 6
        assert (await client.ask("NOOP")) == "250 2.0.0 OK"


# Drain


@on_uvloop
async def test_drain_ends_idle_clients_and_lets_messages_finish(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def wait(mail: Mail) -> Reply:
        await release.wait()
        return ACCEPTED

    async with SmtpService(tmp_path) as service:
        service.intake.answer = wait
        async with (
            RawClient("127.0.0.1", service.port) as idle,
            RawClient("127.0.0.1", service.port) as between,
            RawClient("127.0.0.1", service.port) as in_data,
            RawClient("127.0.0.1", service.port) as in_intake,
        ):
            for client in (idle, between, in_data, in_intake):
                await _ready(client)
            await between.ask("MAIL FROM:<>")
            for client in (in_data, in_intake):
                await client.ask("MAIL FROM:<>")
                await client.ask("RCPT TO:<anna@example.org>")
                await client.ask("DATA")
            await in_data.send(b"Subject: half\r\n")
            await in_intake.send(b"whole\r\n.\r\n")
            async with asyncio.timeout(5):
                while not service.intake.mails:
                    await asyncio.sleep(0.005)
            drain = asyncio.create_task(service.server.drain(10))
            for client in (idle, between):
                assert (await client.reply()).startswith("421 4.3.2 ")
                assert await client.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", service.port)
            await in_data.send(b"\r\nother half\r\n.\r\n")
            release.set()
            for client in (in_data, in_intake):
                assert (await client.reply()).startswith("250 ")
                assert (await client.reply()).startswith("421 4.3.2 ")
                assert await client.rest() == b""
            assert await drain == 0
            assert service.server.counts.open == 0  # the last words have left this process
        assert sorted(service.intake.contents) == [
            b"Subject: half\r\n\r\nother half\r\n",
            b"whole\r\n",
        ]


@on_uvloop
async def test_drain_cuts_off_who_takes_too_long(tmp_path: Path) -> None:
    async with SmtpService(tmp_path) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            await _ready(client)
            await client.ask("MAIL FROM:<>")
            await client.ask("RCPT TO:<anna@example.org>")
            await client.ask("DATA")
            await client.send(b"Subject: half\r\n")
            assert await service.server.drain(0.1) == 1
            assert await client.rest() == b""
            await service.settled()
        assert service.intake.mails == []


@on_uvloop
async def test_drain_leaves_the_queue_to_the_other_workers(tmp_path: Path) -> None:
    """Two servers share one listening socket; when one stops, the other takes all new clients."""
    async with SmtpService(tmp_path) as first:
        (tmp_path / "second").mkdir()
        async with SmtpService(tmp_path / "second", share=first.socket.dup()) as second:
            assert await second.server.drain(1) == 0
            for _ in range(5):
                async with RawClient("127.0.0.1", first.port) as client:
                    await _ready(client)
                    assert (await client.transaction(b"x\r\n")).startswith("250")
        (tmp_path / "second").rmdir()
        assert len(first.intake.mails) == 5
        assert second.intake.mails == []
