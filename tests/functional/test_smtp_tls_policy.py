"""What a next hop's TLS policy allows: each policy against each way TLS can be offered."""

import asyncio
import smtplib
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from gateway.core.clock import SystemClock
from gateway.core.errors import ConfigError
from gateway.core.routing import NextHop, NextHopKind, TlsPolicy, parse_next_hop
from gateway.net.nexthop import Recipient, Transaction
from gateway.net.pool import Pool
from gateway.net.smtp_client import SmtpConnection
from gateway.settings import DeliverySettings
from gateway.store.codec import next_hop_from_json, next_hop_to_json
from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.sink import Fault, Script, sink
from tests.fakes.smtp_client import RawClient

_SETTINGS = DeliverySettings(connect_timeout_s=2, command_timeout_s=2, final_timeout_s=2)
_MESSAGE = (
    b"From: Bert <bert@client.example>\r\nSubject: Hello\r\nMessage-ID: <1@client.example>\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nHello Anna.\r\n"
)


class _Content:
    size_bytes = len(_MESSAGE)

    def chunks(self):
        yield _MESSAGE

    def header_is_ascii(self) -> bool:
        return True


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def _server(ca: trustme.CA, *names: str, until: datetime | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names, not_after=until).configure_cert(context)
    return context


_YESTERDAY = datetime.now(UTC) - timedelta(days=1)
_OFFERS: dict[str, Callable[[trustme.CA], Script]] = {
    "none": lambda _: Script(),
    "good": lambda ca: Script(tls=_server(ca, "127.0.0.1")),
    "other name": lambda ca: Script(tls=_server(ca, "other.example")),
    "unknown authority": lambda _: Script(tls=_server(trustme.CA(), "127.0.0.1")),
    "expired": lambda ca: Script(tls=_server(ca, "127.0.0.1", until=_YESTERDAY)),
    "refused": lambda ca: Script(tls=_server(ca, "127.0.0.1"), answers={"starttls": "454 no"}),
    "broken": lambda ca: Script(tls=_server(ca, "127.0.0.1"), answers={"starttls": Fault.CLOSE}),
}
# what becomes of the message: it arrives by TLS (t), in plain text (p), or not at all (-)
_TABLE: dict[TlsPolicy, dict[str, str]] = {
    TlsPolicy.NONE: {
        "none": "p",
        "good": "p",
        "other name": "p",
        "unknown authority": "p",
        "expired": "p",
        "refused": "p",
        "broken": "p",
    },
    TlsPolicy.MAY: {
        "none": "p",
        "good": "t",
        "other name": "t",
        "unknown authority": "t",
        "expired": "t",
        "refused": "p",
        "broken": "-",
    },
    TlsPolicy.MUST: {
        "none": "-",
        "good": "t",
        "other name": "t",
        "unknown authority": "t",
        "expired": "t",
        "refused": "-",
        "broken": "-",
    },
    TlsPolicy.VERIFY: {
        "none": "-",
        "good": "t",
        "other name": "-",
        "unknown authority": "-",
        "expired": "-",
        "refused": "-",
        "broken": "-",
    },
}


@pytest.mark.parametrize("offer", _OFFERS)
@pytest.mark.parametrize("policy", TlsPolicy)
async def test_policy(policy: TlsPolicy, offer: str, ca: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    pool = Pool(_SETTINGS, hostname="gw.example.org", clock=SystemClock(), verifying=trusting)
    async with sink(_OFFERS[offer](ca)) as to:
        hop = NextHop(kind=NextHopKind.SMTP, host="127.0.0.1", port=to.port, tls=policy)
        transaction = Transaction(
            mail_from="",
            recipients=(Recipient(key="anna@example.org", rcpt_to="anna@example.org"),),
            content=_Content(),
        )
        result = await pool.hand_off(hop, transaction)
        await pool.close()
    expected = _TABLE[policy][offer]
    assert ["t" if message.tls else "p" for message in to.messages] == [
        *(expected if expected != "-" else "")
    ]
    (reply,) = result.replies
    assert reply.code == (0 if expected == "-" else 250)
    if expected == "-" and policy is not TlsPolicy.MAY:
        assert not any(command.startswith("MAIL") for command in to.commands)


@pytest.mark.parametrize("policy", TlsPolicy)
@pytest.mark.parametrize("target", ["mail.example.org:25", "[2001:db8::1]:25", "lmtp:127.0.0.1:24"])
def test_spelling(policy: TlsPolicy, target: str) -> None:
    hop = parse_next_hop(f"{target}?tls={policy}")
    assert hop.tls is policy
    assert parse_next_hop(str(hop)) == hop
    assert next_hop_from_json(next_hop_to_json(hop)) == hop
    assert str(hop) == (target if policy is TlsPolicy.MAY else f"{target}?tls={policy}")


@pytest.mark.parametrize("text", ["a:25?tls=", "a:25?tls=yes", "a:25?tls=MUST", "a?tls=must:25"])
def test_bad_spelling(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_next_hop(text)


async def test_a_host_with_a_trailing_dot_has_the_same_certificate(
    ca: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6066 §3 wants names without it, and no certificate has one."""

    async def found(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    async with sink(Script(tls=_server(ca, "mail.example"))) as to:
        hop = NextHop(
            kind=NextHopKind.SMTP, host="mail.example.", port=to.port, tls=TlsPolicy.VERIFY
        )
        made = await SmtpConnection.connect(
            hop, hostname="gw.example.org", settings=_SETTINGS, tls=trusting
        )
        assert isinstance(made, SmtpConnection), made
        assert made.tls_version
        made.abort()


async def _send(gateway: Gateway) -> str:
    async with RawClient("127.0.0.1", gateway.smtp_port) as client:
        await client.reply()
        await client.ask("EHLO client.example")
        return await client.transaction(_MESSAGE, to="anna@trial.example")


async def test_through_a_running_gateway(tmp_path: Path, ca: trustme.CA) -> None:
    """A next hop that cannot prove itself gets nothing; the mail waits until it can."""
    authority = tmp_path / "authority.pem"
    ca.cert_pem.write_to_path(authority)
    async with sink(Script(tls=_server(trustme.CA(), "127.0.0.1"))) as to:
        gateway = Gateway(tmp_path / "gw", f"127.0.0.1:{to.port}?tls=verify")
        gateway.environment["SSL_CERT_FILE"] = str(authority)
        gateway.environment["SCHWAMM_DELIVERY__FIRST_RETRY_S"] = "1"
        try:
            await asyncio.to_thread(gateway.init)
            await asyncio.to_thread(gateway.start)
            assert (await _send(gateway)).startswith("250")
            assert to.messages == []
            to.script = Script(tls=_server(ca, "127.0.0.1"))
            await asyncio.to_thread(wait_until, lambda: to.messages, "the delivery")
            assert [message.tls for message in to.messages] == [True]
        finally:
            gateway.kill_everything()


def _write(issued: trustme.LeafCert, directory: Path) -> None:
    for name, blob in (
        ("key.pem", issued.private_key_pem.bytes()),
        ("cert.pem", b"".join(one.bytes() for one in issued.cert_chain_pems)),
    ):
        new = directory / f"{name}.new"
        new.write_bytes(blob)
        new.replace(directory / name)


async def _greets_under(gateway: Gateway, context: ssl.SSLContext) -> bool:
    def try_it() -> bool:
        with smtplib.SMTP("127.0.0.1", gateway.smtp_port, timeout=10) as client:
            client._host = "mx.example.org"  # the name that the certificate has to have
            try:
                client.starttls(context=context)
            except ssl.SSLCertVerificationError:
                client.close()
                return False
            return client.ehlo("client.example")[0] == 250

    return await asyncio.to_thread(try_it)


async def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    by_old, by_new = ssl.create_default_context(), ssl.create_default_context()
    old.configure_trust(by_old)
    new.configure_trust(by_new)
    _write(old.issue_cert("mx.example.org"), tmp_path)
    async with sink() as to:
        gateway = Gateway(tmp_path / "gw", f"127.0.0.1:{to.port}")
        gateway.environment |= {
            "SCHWAMM_SMTP__TLS_CERTIFICATE": str(tmp_path / "cert.pem"),
            "SCHWAMM_SMTP__TLS_KEY": str(tmp_path / "key.pem"),
        }
        try:
            await asyncio.to_thread(gateway.init)
            await asyncio.to_thread(gateway.start)
            (worker,) = gateway.children()["smtp"]
            assert not await _greets_under(gateway, by_new)
            async with RawClient("127.0.0.1", gateway.smtp_port) as client:
                await client.reply()
                await client.ask("EHLO client.example")
                await client.ask("STARTTLS")
                await client.start_tls(by_old)
                await client.ask("EHLO client.example")
                _write(new.issue_cert("mx.example.org"), tmp_path)
                async with asyncio.timeout(30):
                    while not await _greets_under(gateway, by_new):
                        await asyncio.sleep(0.5)
                assert not await _greets_under(gateway, by_old)
                # who came before stays, under what it agreed on
                reply = await client.transaction(_MESSAGE, to="anna@trial.example")
                assert reply.startswith("250")
            assert [one.pid for one in gateway.children()["smtp"]] == [worker.pid]
            assert b"with ESMTPS (TLSv1.3" in to.messages[0].content
        finally:
            gateway.kill_everything()
