"""Never an open relay: forms of recipients through the real server and the real recipient policy.

For a form that is taken, the table names the mailbox it means. What becomes of it behind the intake
is told by the tests of delivery.
"""

from pathlib import Path

import pytest

from gateway.app.routing import ServedRecipients
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService, on_uvloop

_HOP = NextHop(kind=NextHopKind.SMTP, host="127.0.0.1", port=1)
_SERVED = Generation(
    number=1,
    created_at_ms=0,
    domains=(
        Domain(name="example.org", next_hops=(_HOP,), aliases=("example.net",)),
        Domain(name="xn--mller-kva.example", next_hops=(_HOP,)),
    ),
)


class _Routing:
    current = _SERVED


# what stands between the brackets -> the mailbox it is taken for, or the reply that refuses it
_FORMS: dict[str, str] = {
    "anna@example.org": "anna@example.org",
    "ANNA@EXAMPLE.ORG": "anna@example.org",
    "anna@example.org.": "anna@example.org",
    "anna@example.net": "anna@example.net",
    '"anna"@example.org': "anna@example.org",
    '"an\\na"@example.org': "anna@example.org",
    '"a b"@example.org': "a b@example.org",
    '"a>b"@example.org': "a>b@example.org",
    "anna+list@example.org": "anna+list@example.org",
    "o'brien@example.org": "o'brien@example.org",
    "a/b=c@example.org": "a/b=c@example.org",
    "postmaster": "postmaster@example.org",
    "POSTMASTER": "postmaster@example.org",
    "postmaster@example.org": "postmaster@example.org",
    "abuse@example.org": "abuse@example.org",
    "anna@müller.example": "anna@xn--mller-kva.example",
    "anna@MÜLLER.example": "anna@xn--mller-kva.example",
    "anna@xn--mller-kva.example": "anna@xn--mller-kva.example",
    "jürgen@example.org": "jürgen@example.org",
    # elsewhere
    "anna@elsewhere.example": "550 5.7.1",
    "anna@sub.example.org": "550 5.7.1",
    "anna@example.org.elsewhere.example": "550 5.7.1",
    "anna@xexample.org": "550 5.7.1",
    "anna@example": "550 5.7.1",
    "anna@localhost": "550 5.7.1",
    # routes
    "@elsewhere.example:anna@example.org": "553 5.1.3",
    "@example.org:anna@elsewhere.example": "553 5.1.3",
    "@example.org,@elsewhere.example:anna@example.org": "553 5.1.3",
    "anna%elsewhere.example@example.org": "553 5.1.3",
    "anna%elsewhere.example%example.org@example.org": "553 5.1.3",
    '"anna%elsewhere.example"@example.org': "553 5.1.3",
    "elsewhere.example!anna@example.org": "553 5.1.3",
    '"elsewhere.example!anna"@example.org': "553 5.1.3",
    "example.org!elsewhere.example!anna": "553 5.1.3",
    '"anna@elsewhere.example"@example.org': "553 5.1.3",
    '"anna\\@elsewhere.example"@example.org': "553 5.1.3",
    "anna@elsewhere.example@example.org": "553 5.1.3",
    "anna@example.org@elsewhere.example": "553 5.1.3",
    '"anna@elsewhere.example': "501 5.5.4",
    '"anna"@elsewhere.example"@example.org': "501 5.5.4",
    # literals and numbers
    "anna@[127.0.0.1]": "553 5.1.3",
    "anna@[IPv6:::1]": "553 5.1.3",
    "anna@[example.org]": "553 5.1.3",
    "anna@127.0.0.1": "553 5.1.3",
    "anna@2130706433": "550 5.7.1",
    # broken
    "": "553 5.1.3",
    "anna": "553 5.1.3",
    "anna@": "553 5.1.3",
    "@example.org": "553 5.1.3",
    "@": "553 5.1.3",
    '""@example.org': "553 5.1.3",
    "anna@.example.org": "553 5.1.3",
    "anna@example..org": "553 5.1.3",
    "anna@-example.org": "553 5.1.3",
    "an..na@example.org": "553 5.1.3",
    ".anna@example.org": "553 5.1.3",
    "an na@example.org": "553 5.1.3",
    "an(comment)na@example.org": "553 5.1.3",
    "anna@example.org,bert@example.org": "553 5.1.3",
    "anna@exa mple.org": "553 5.1.3",
    "an\\na@example.org": "553 5.1.3",
    "x" * 65 + "@example.org": "553 5.1.3",
    "x@" + "y" * 64 + ".example.org": "553 5.1.3",
    "x@" + "y." * 150 + "example.org": "553 5.1.3",
    "anna@example.org\0": "500 5.5.2",
    "anna\0@example.org": "500 5.5.2",
    "anna\r@example.org": "500 5.5.2",
    "anna\x7f@example.org": "500 5.5.2",
    "anna\t@example.org": "500 5.5.2",
    # letters that a server behind us may take for others: full width at and per cent, dots
    "anna\uff20elsewhere.example@example.org": "553 5.1.3",
    "anna\uff05elsewhere.example@example.org": "553 5.1.3",
    "anna@example\u3002org": "anna@example.org",
    "anna@elsewhere\uff0eexample": "550 5.7.1",
}


def test_the_table_is_long_enough() -> None:
    assert len(_FORMS) >= 40


@pytest.mark.parametrize(("form", "expected"), _FORMS.items(), ids=[ascii(f)[:60] for f in _FORMS])
@on_uvloop
async def test_form(form: str, expected: str, tmp_path: Path) -> None:
    policy = ServedRecipients(_Routing())  # type: ignore[arg-type]
    async with (
        SmtpService(tmp_path, recipients=policy) as service,
        RawClient("127.0.0.1", service.port) as client,
    ):
        await client.reply()
        await client.ask("EHLO client.example")
        assert (await client.ask("MAIL FROM:<> SMTPUTF8")).startswith("250")
        reply = await client.ask(f"RCPT TO:<{form}>")
        if expected[:1].isdigit():
            assert reply.startswith(expected)
            assert (await client.ask("DATA")).startswith(("554 5.5.1", "503 5.5.1"))
            assert service.intake.mails == []
            return
        assert reply.startswith("250 2.1.5 ")
        assert (await client.ask("DATA")).startswith("354")
        await client.send(b"x\r\n.\r\n")
        assert (await client.reply()).startswith("250")
        (mail,) = service.intake.mails
        assert [each.key for each in mail.envelope.rcpt_to] == [expected]
        assert _SERVED.domain(mail.envelope.rcpt_to[0].domain) is not None
