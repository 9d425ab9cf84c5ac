"""STARTTLS with real handshakes."""

import asyncio
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import aiosmtplib
import pytest
import trustme
import uvloop

from gateway.core.clock import SystemClock
from gateway.smtp.received import received_field
from gateway.smtp.tls import CertificateFiles, TlsStore
from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService, on_uvloop


def _issue(ca: trustme.CA, directory: Path) -> CertificateFiles:
    directory.mkdir(exist_ok=True)
    files = CertificateFiles(certificate=directory / "cert.pem", key=directory / "key.pem")
    issued = ca.issue_cert("mx.example.org")
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.key.write_bytes(issued.private_key_pem.bytes())
    return files


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


def _trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


async def _ready_for_tls(client: RawClient) -> None:
    await client.reply()
    assert "250-STARTTLS" in await client.ask("EHLO client.example")
    assert (await client.ask("STARTTLS")).startswith("220 2.0.0 ")


@on_uvloop
async def test_a_client_library_sends_mail_under_tls(tmp_path: Path, spool: Path) -> None:
    ca = trustme.CA()
    store = TlsStore(
        hostname="mx.example.org",
        directory=tmp_path,
        clock=SystemClock(),
        given=_issue(ca, tmp_path / "given"),
    )
    content = b"Subject: secret\r\n\r\n" + b"line\r\n" * 200_000
    async with SmtpService(spool, tls=store) as service:
        smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=service.port, start_tls=False, timeout=30)
        async with smtp:
            await smtp.starttls(server_hostname="mx.example.org", tls_context=_trusting(ca))
            for _ in range(2):
                await smtp.sendmail("a@client.example", ["anna@example.org"], content)
        assert service.intake.contents == [content, content]
        session = service.intake.mails[0].session
        assert session.tls_version == "TLSv1.3"
        assert session.tls_cipher.startswith("TLS_")
        field = received_field(service.intake.mails[0], hostname="mx.example.org")
        assert f"with ESMTPS (TLSv1.3 {session.tls_cipher})" in field
        assert service.server.counts.tls_sessions == 1


@on_uvloop
async def test_without_a_certificate_a_self_made_one_encrypts(tmp_path: Path, spool: Path) -> None:
    store = TlsStore(hostname="mx.example.org", directory=tmp_path / "tls", clock=SystemClock())
    anyone = ssl.create_default_context()
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    async with (
        SmtpService(spool, tls=store) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await _ready_for_tls(client)
        await client.start_tls(anyone)
        assert "250-STARTTLS" not in await client.ask("EHLO client.example")
        assert (await client.transaction(b"x\r\n")).startswith("250")
        assert service.intake.mails[0].session.tls_version
        assert (await client.ask("QUIT")).startswith("221")
        assert await client.rest() == b""


@on_uvloop
async def test_a_new_certificate_serves_new_handshakes(tmp_path: Path, spool: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    files = _issue(old, tmp_path / "given")
    store = TlsStore(hostname="x", directory=tmp_path, clock=SystemClock(), given=files)
    async with (
        SmtpService(spool, tls=store) as service,
        RawClient("127.0.0.1", service.port) as before,
    ):
        await _ready_for_tls(before)
        await before.start_tls(_trusting(old))
        _issue(new, tmp_path / "given")
        assert store.refresh()
        async with RawClient("127.0.0.1", service.port) as after:
            await _ready_for_tls(after)
            await after.start_tls(_trusting(new))
            assert (await after.ask("EHLO c")).startswith("250-")
        # The one that is open stays open.
        assert (await before.ask("EHLO c")).startswith("250-")
        assert (await before.transaction(b"x\r\n")).startswith("250")


@on_uvloop
async def test_old_protocol_versions_are_refused(tmp_path: Path, spool: Path) -> None:
    store = TlsStore(hostname="mx.example.org", directory=tmp_path / "tls", clock=SystemClock())
    ancient = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ancient.check_hostname = False
    ancient.verify_mode = ssl.CERT_NONE
    ancient.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        ancient.minimum_version = ssl.TLSVersion.TLSv1
        ancient.maximum_version = ssl.TLSVersion.TLSv1_1
    async with SmtpService(spool, tls=store) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            await _ready_for_tls(client)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await client.start_tls(ancient)
        await service.settled()
        assert service.server.counts.failed_handshakes == 1


@pytest.mark.parametrize("first_bytes", [b"", b"\x16\x03\x01", b"QUIT\r\n"])
@on_uvloop
async def test_a_handshake_that_never_ends_is_dropped(
    first_bytes: bytes, tmp_path: Path, spool: Path
) -> None:
    store = TlsStore(hostname="mx.example.org", directory=tmp_path / "tls", clock=SystemClock())
    async with SmtpService(spool, tls=store, handshake_timeout_s=0.2) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            await _ready_for_tls(client)
            await client.send(first_bytes)
            answer = await client.rest()
            assert b"250" not in answer
        await service.settled()
        assert service.server.counts.failed_handshakes == 1
        assert service.intake.mails == []


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("first_bytes", [b"", b"\x16\x03\x01"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_client_that_vanishes_in_the_handshake(
    loop: Callable[[], asyncio.AbstractEventLoop],
    first_bytes: bytes,
    reset: bool,
    tmp_path: Path,
    spool: Path,
) -> None:
    """Event loops may not tell a protocol that its connection was lost there; it counts."""

    async def vanish() -> None:
        store = TlsStore(hostname="mx.example.org", directory=tmp_path / "t", clock=SystemClock())
        async with SmtpService(spool, tls=store) as service:
            async with RawClient("127.0.0.1", service.port) as client:
                await _ready_for_tls(client)
                await client.send(first_bytes)
                await asyncio.sleep(0.02)
                if reset:
                    client.reset()
            await service.settled()
            assert service.server.counts.failed_handshakes == 1

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(vanish())


@pytest.mark.parametrize("reset", [False, True])
@on_uvloop
async def test_a_client_that_vanishes_under_tls(reset: bool, tmp_path: Path, spool: Path) -> None:
    store = TlsStore(hostname="mx.example.org", directory=tmp_path / "tls", clock=SystemClock())
    anyone = ssl.create_default_context()
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    async with SmtpService(spool, tls=store) as service:
        async with RawClient("127.0.0.1", service.port) as client:
            await _ready_for_tls(client)
            await client.start_tls(anyone)
            await client.ask("EHLO client.example")
            await client.ask("MAIL FROM:<>")
            await client.ask("RCPT TO:<anna@example.org>")
            await client.ask("DATA")
            await client.send(b"Subject: half\r\n" * 20_000)
            await asyncio.sleep(0.02)
            if reset:
                client.reset()
        await service.settled()
        assert service.intake.mails == []
