"""Never an open relay: forms of recipients through the real server and the real recipient policy.

For a form that is taken, the table names the mailbox it means; ``test_smtp_relay_wire`` follows it
to the next hop.
"""

from pathlib import Path

import pytest

from gateway.app.routing import ServedRecipients
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from tests.fakes.recipient_forms import FORMS
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


def test_the_table_is_long_enough() -> None:
    assert len(FORMS) >= 40


@pytest.mark.parametrize(("form", "expected"), FORMS.items(), ids=[ascii(f)[:60] for f in FORMS])
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
