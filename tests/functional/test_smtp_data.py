"""DATA: large messages, the memory budget, a full disk, and a client that goes away."""

import asyncio
import hashlib
import mmap
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from gateway.core.mail import Mail
from gateway.core.reply import ACCEPTED, Reply
from gateway.smtp.body import Body
from gateway.smtp.limits import WINDOW_BYTES
from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService, on_uvloop

_LINE = b"0123456789" * 9 + b"abcdef\r\n"


async def _hello(client: RawClient) -> None:
    await client.reply()
    assert (await client.ask("EHLO client.example")).startswith("250")


async def _start_data(client: RawClient) -> str:
    await _hello(client)
    assert (await client.ask("MAIL FROM:<>")).startswith("250")
    assert (await client.ask("RCPT TO:<anna@example.org>")).startswith("250")
    return await client.ask("DATA")


async def _used(service: SmtpService, expected: Callable[[int], bool]) -> None:
    async with asyncio.timeout(5):
        while not expected(service.server.memory_used_bytes):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("size", [0, 1, 3000, 200_000, 3_000_000])
@on_uvloop
async def test_every_size_arrives_unchanged(size: int, tmp_path: Path) -> None:
    content = (b"Subject: big\r\n\r\n" + _LINE * (size // len(_LINE) + 1))[:size]
    content = content.rstrip(b"\r") + b"\r\n" if size else b""
    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        await _hello(client)
        assert (await client.transaction(content)).startswith("250")
        (mail,) = service.intake.mails
        assert service.intake.contents == [content]
        assert mail.sha256 == hashlib.sha256(content).hexdigest()
        assert mail.size_bytes == len(content)
        spilled = size > 1024 * 1024
        assert isinstance(mail.content, mmap.mmap) == spilled
        # The file has no name: a killed worker leaves nothing behind.
        assert list(tmp_path.iterdir()) == []


@on_uvloop
async def test_budget_used_up_is_452_before_the_body(tmp_path: Path) -> None:
    async with (
        SmtpService(tmp_path, memory_budget_bytes=2 * WINDOW_BYTES) as service,
        RawClient("127.0.0.1", service.port) as first,
        RawClient("127.0.0.1", service.port) as second,
        RawClient("127.0.0.1", service.port) as third,
    ):
        assert (await _start_data(first)).startswith("354")
        assert (await _start_data(second)).startswith("354")
        assert service.server.memory_used_bytes == 2 * WINDOW_BYTES
        assert (await _start_data(third)).startswith("452 4.3.1 ")
        await first.send(b"one\r\n.\r\n")
        assert (await first.reply()).startswith("250")
        assert service.server.memory_used_bytes == WINDOW_BYTES
        # The transaction is still open: room again means it can go on.
        assert (await third.ask("DATA")).startswith("354")
        await third.send(b"three\r\n.\r\n")
        assert (await third.reply()).startswith("250")
        await second.send(b"two\r\n.\r\n")
        assert (await second.reply()).startswith("250")
        assert service.intake.contents == [b"one\r\n", b"three\r\n", b"two\r\n"]


@on_uvloop
async def test_beyond_its_window_a_message_takes_from_the_budget_then_the_disk(
    tmp_path: Path,
) -> None:
    """A message that memory has no room for goes to disk long before ``spill_bytes``."""
    content = _LINE * (6 * WINDOW_BYTES // len(_LINE))
    async with SmtpService(
        tmp_path, memory_budget_bytes=3 * WINDOW_BYTES, spill_bytes=100 * WINDOW_BYTES
    ) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            assert (await _start_data(client)).startswith("354")
            await client.send(content[: 2 * WINDOW_BYTES])
            await _used(service, lambda used: used > WINDOW_BYTES)
            await client.send(content[2 * WINDOW_BYTES :])
            await _used(service, lambda used: used == WINDOW_BYTES)
            await client.send(b".\r\n")
            assert (await client.reply()).startswith("250")
        assert service.intake.contents == [content]
        assert isinstance(service.intake.mails[0].content, mmap.mmap)


@on_uvloop
async def test_a_message_keeps_its_memory_until_it_is_answered(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def wait(mail: Mail) -> Reply:
        await release.wait()
        return ACCEPTED

    async with SmtpService(tmp_path, memory_budget_bytes=WINDOW_BYTES) as service:
        service.intake.answer = wait
        async with (
            RawClient("127.0.0.1", service.port) as first,
            RawClient("127.0.0.1", service.port) as second,
        ):
            assert (await _start_data(first)).startswith("354")
            await first.send(b"x\r\n.\r\n")
            assert (await _start_data(second)).startswith("452 4.3.1 ")
            release.set()
            assert (await first.reply()).startswith("250")
            assert (await second.ask("DATA")).startswith("354")


def _on_full_disk(*args: object, **kwargs: object) -> IO[bytes]:
    return Path("/dev/full").open("w+b")  # writes really fail with ENOSPC


def _on_broken_disk(*args: object, **kwargs: object) -> IO[bytes]:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("disk", "code"), [(_on_full_disk, "452 4.3.1 "), (_on_broken_disk, "451 4.3.0 ")]
)
@on_uvloop
async def test_a_disk_that_fails_defers_after_the_real_end(
    disk: Callable[..., Any], code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _LINE * 40_000
    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        await _hello(client)
        with monkeypatch.context() as patched:
            patched.setattr(tempfile, "TemporaryFile", disk)
            assert (await client.transaction(content)).startswith(code)
        assert service.intake.mails == []
        # The disk is well again, and so is the same session.
        assert (await client.transaction(content)).startswith("250")
        assert service.intake.contents == [content]


@on_uvloop
async def test_a_refused_message_is_forgotten_before_its_end(tmp_path: Path) -> None:
    content = _LINE * (3 * WINDOW_BYTES // len(_LINE))
    async with (
        SmtpService(tmp_path, spill_bytes=100 * WINDOW_BYTES) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        assert (await _start_data(client)).startswith("354")
        await client.send(content)
        await _used(service, lambda used: used > 2 * WINDOW_BYTES)
        await client.send(b"bare\nline feed\r\n")
        await _used(service, lambda used: used == WINDOW_BYTES)
        await client.send(content + b".\r\n")
        assert (await client.reply()).startswith("554 5.6.11 ")
        assert service.intake.mails == []


@on_uvloop
async def test_large_messages_leave_the_last_of_the_disk_to_small_ones(tmp_path: Path) -> None:
    async with (
        SmtpService(tmp_path, disk_reserve_bytes=2**62) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await _hello(client)
        assert (await client.transaction(_LINE * 40_000)).startswith("452 4.3.1 ")
        assert (await client.transaction(_LINE * 400)).startswith("250")
        assert [len(content) for content in service.intake.contents] == [len(_LINE) * 400]


@on_uvloop
async def test_endless_sender_of_a_refused_message_is_cut_off(tmp_path: Path) -> None:
    async with (
        SmtpService(tmp_path, max_message_bytes=10_000) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        assert (await _start_data(client)).startswith("354")
        for _ in range(20):
            await client.send(_LINE * 100)
        assert (await client.reply()).startswith("552 5.3.4 ")
        assert await client.rest() == b""
        assert service.intake.mails == []


async def _drop(client: RawClient, how: str) -> None:
    if how == "reset":
        client.reset()
    else:
        client.half_close()


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("steps", range(7))
@on_uvloop
async def test_a_client_that_goes_away_leaves_nothing_behind(
    steps: int, how: str, tmp_path: Path
) -> None:
    """In every phase: memory is given back, facts are ended, no message appears."""
    phases: list[bytes] = [
        b"",
        b"EHLO client.example\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<anna@example.org>\r\n",
        b"DATA\r\n",
        b"Subject: half\r\n",
        _LINE * 30_000,  # by now in a file
    ]
    async with SmtpService(tmp_path) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            await client.reply()
            for phase in phases[: steps + 1]:
                await client.send(phase)
                if 0 < len(phase) < 50 and not phase.startswith(b"Subject"):
                    await client.reply()
            await _drop(client, how)
            await service.settled()
        assert service.intake.mails == []
        # The control: another client is served as ever.
        async with RawClient("127.0.0.1", service.port) as client:
            await _hello(client)
            assert (await client.transaction(b"x\r\n")).startswith("250")


@pytest.mark.parametrize("how", ["reset", "close"])
@on_uvloop
async def test_going_away_after_the_dot_does_not_cancel_the_intake(
    how: str, tmp_path: Path
) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def wait(mail: Mail) -> Reply:
        arrived.set()
        await release.wait()
        return ACCEPTED

    async with SmtpService(tmp_path) as service:
        service.intake.answer = wait
        async with RawClient("127.0.0.1", service.port) as client:
            assert (await _start_data(client)).startswith("354")
            await client.send(b"x\r\n.\r\n")
            await arrived.wait()
            await _drop(client, how)
            await asyncio.sleep(0.05)
            assert service.connects[0].cancelled == 0  # its facts are still in use
            release.set()
            if how == "close":
                assert (await client.rest()).startswith(b"250 2.0.0 ")
            await service.settled()
        assert service.intake.finished == 1


@on_uvloop
async def test_a_message_of_a_client_that_is_gone_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never heard a reply and will send again: taking this one too would make two."""
    writing, go_on = threading.Event(), threading.Event()
    write = Body._write

    def slow_disk(body: Body, block: bytearray) -> None:
        writing.set()
        assert go_on.wait(10)
        write(body, block)

    monkeypatch.setattr(Body, "_write", slow_disk)
    content = _LINE * (2 * WINDOW_BYTES // len(_LINE))
    async with SmtpService(tmp_path, spill_bytes=WINDOW_BYTES) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            assert (await _start_data(client)).startswith("354")
            await client.send(content + b".\r\n")
            await asyncio.to_thread(writing.wait, 10)
            await asyncio.sleep(0.1)  # the rest arrives meanwhile
            client.reset()
            async with asyncio.timeout(5):
                while service.server.counts.open:
                    await asyncio.sleep(0.005)
            go_on.set()
            await service.settled()
        assert service.intake.mails == []


@on_uvloop
async def test_real_mail_arrives_octet_for_octet(tmp_path: Path, mail_data: Path) -> None:
    messages = [path.read_bytes() for path in sorted(mail_data.glob("*/*.eml"))]
    contents = [b"".join(line + b"\r\n" for line in each.splitlines()) for each in messages]
    assert len(contents) > 50
    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        await _hello(client)
        for content in contents:
            stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
            assert (await client.transaction(stuffed)).startswith("250")
        assert service.intake.contents == contents
        assert sum(b"\r\n." in content for content in contents) > 0  # the stuffing was at work
