"""Never an open relay, to the end: each form of recipient through a running gateway.

Three next hops listen: one for each served domain, and one that nobody is served at. For a form
that is taken, exactly one copy has reached exactly the mailbox that the table names, as the RCPT of
its own next hop; for a refused form there is the code, and no next hop has heard of it.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.gateway import Gateway
from tests.fakes.recipient_forms import FORMS
from tests.fakes.sink import Sink, sink
from tests.fakes.smtp_client import RawClient

# taken form -> next hop, and what its RCPT must say; the domain part is never another one
_REACHED: dict[str, tuple[str, str]] = {
    "anna@example.org": ("org", "anna@example.org"),
    "ANNA@EXAMPLE.ORG": ("org", "ANNA@EXAMPLE.ORG"),
    "anna@example.org.": ("org", "anna@example.org."),
    "anna@example.net": ("org", "anna@example.net"),
    '"anna"@example.org': ("org", '"anna"@example.org'),
    '"an\\na"@example.org': ("org", '"an\\na"@example.org'),
    '"a b"@example.org': ("org", '"a b"@example.org'),
    '"a>b"@example.org': ("org", '"a>b"@example.org'),
    "anna+list@example.org": ("org", "anna+list@example.org"),
    "o'brien@example.org": ("org", "o'brien@example.org"),
    "a/b=c@example.org": ("org", "a/b=c@example.org"),
    "postmaster": ("org", "postmaster@example.org"),
    "POSTMASTER": ("org", "POSTMASTER@example.org"),
    "postmaster@example.org": ("org", "postmaster@example.org"),
    "abuse@example.org": ("org", "abuse@example.org"),
    "anna@müller.example": ("idn", "anna@xn--mller-kva.example"),
    "anna@MÜLLER.example": ("idn", "anna@xn--mller-kva.example"),
    "anna@xn--mller-kva.example": ("idn", "anna@xn--mller-kva.example"),
    "jürgen@example.org": ("org", "jürgen@example.org"),
    "anna@example\u3002org": ("org", "anna@example.org"),
    "anna@exam\u00adple.org": ("org", "anna@example.org"),
    "anna@\uff45xample.org": ("org", "anna@example.org"),
    "anna@example.org\u200b": ("org", "anna@example.org"),
    "jürgen@müller.example": ("idn", "jürgen@xn--mller-kva.example"),
    "x" * 64 + "@example.org": ("org", "x" * 64 + "@example.org"),
    "Abuse@Example.Org.": ("org", "Abuse@Example.Org."),
}
_PATIENCE_S = 20.0


@dataclass
class _Tried:
    refused: dict[str, str] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)


async def _try(gateway: Gateway) -> _Tried:
    tried = _Tried()
    for number, form in enumerate(FORMS):
        async with RawClient("127.0.0.1", gateway.smtp_port) as client:
            await client.reply()
            await client.ask("EHLO client.example")
            assert (await client.ask("MAIL FROM:<> SMTPUTF8")).startswith("250")
            reply = await client.ask(f"RCPT TO:<{form}>")
            if not reply.startswith("250 2.1.5 "):
                tried.refused[form] = reply
                assert (await client.ask("DATA")).startswith(("554 5.5.1", "503 5.5.1"))
                continue
            assert (await client.ask("DATA")).startswith("354")
            await client.send(_message(number))
            tried.taken[form] = await client.reply()
    return tried


def _message(number: int) -> bytes:
    head = f"From: Bert <bert@client.example>\r\nSubject: Form {number}\r\n"
    head += f"Message-ID: <{number}@client.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    return f"{head}\r\nForm number {number}.\r\n.\r\n".encode()


def _arrived(hops: dict[str, Sink]) -> dict[int, list[tuple[str, str]]]:
    """By number of the form: every next hop and RCPT its message came with."""
    found: dict[int, list[tuple[str, str]]] = {}
    for name, hop in hops.items():
        for message in hop.messages:
            number = int(message.content.rpartition(b"Form number ")[2].partition(b".")[0])
            found.setdefault(number, []).extend((name, one) for one in message.rcpt_to)
    return found


def _commands(hops: dict[str, Sink]) -> str:
    return "\n".join(command for hop in hops.values() for command in hop.commands).lower()


def _prepare(gateway: Gateway, idn: Sink) -> None:
    gateway.init()
    gateway.run("domain", "set", "example.org", "--alias", "example.net")
    gateway.run("domain", "add", "xn--mller-kva.example", "--next-hop", f"127.0.0.1:{idn.port}")
    gateway.start()


async def test_each_form_reaches_its_mailbox_or_nothing(tmp_path: Path) -> None:
    async with sink() as org, sink() as idn, sink() as stranger:
        hops = {"org": org, "idn": idn, "stranger": stranger}
        gateway = Gateway(tmp_path, f"127.0.0.1:{org.port}", domain="example.org")
        try:
            await asyncio.to_thread(_prepare, gateway, idn)
            tried = await _try(gateway)
            async with asyncio.timeout(_PATIENCE_S):
                while sum(len(hop.messages) for hop in hops.values()) < len(_REACHED):
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(gateway.stop)  # nothing is under way any more
        finally:
            gateway.kill_everything()

    assert len(FORMS) >= 40
    expected_refusals = {form: code for form, code in FORMS.items() if code[:1].isdigit()}
    assert {form: reply[:9] for form, reply in tried.refused.items()} == expected_refusals
    assert {form: reply[:9] for form, reply in tried.taken.items()} == dict.fromkeys(
        _REACHED, "250 2.0.0"
    )
    numbers = {form: number for number, form in enumerate(FORMS)}
    assert _arrived(hops) == {numbers[form]: [where] for form, where in _REACHED.items()}
    assert "elsewhere" not in _commands(hops)
    assert stranger.connections == 0
