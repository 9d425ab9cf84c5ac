"""Our client beside others' work: aiosmtplib against the same sink, aiosmtpd as next hop."""

import asyncio
import re

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from gateway.core.routing import NextHop, NextHopKind
from gateway.net.smtp_client import SmtpConnection
from tests.fakes.sink import Script, Sink, sink
from tests.functional.test_nexthop import PATIENT, connected, fates, hand_off, transaction

NAMES = ("a@trial.example", "b@trial.example")
SCRIPTS = {
    "all well": {},
    "mail 4yz": {"answers": {"mail": "451 4.3.0 later"}},
    "mail 5yz": {"answers": {"mail": "550 5.7.1 never"}},
    "rcpt 4yz": {"answers": {"rcpt": "450 4.2.1 later"}},
    "rcpt 5yz": {"answers": {"rcpt": "550 5.1.1 who?"}},
    "one refused": {"by_rcpt": {"b@trial.example": "550 5.1.1 who?"}},
    "one later": {"by_rcpt": {"a@trial.example": "451 4.2.0 busy"}},
    "each its own": {
        "by_rcpt": {"a@trial.example": "451 4.2.0 busy", "b@trial.example": "550 5.1.1 who?"}
    },
    "data 4yz": {"answers": {"data": "451 4.3.0 later"}},
    "data 5yz": {"answers": {"data": "554 5.7.1 never"}},
    "final 4yz": {"answers": {"final": "452 4.3.1 full"}},
    "final 5yz": {"answers": {"final": "554 5.6.0 never"}},
}
CONTENTS = [
    b"Subject: x\r\n\r\nbody\r\n",
    b"Subject: x\r\n\r\n.\r\n..\r\n.dot\r\nend.\r\n",
    b".dot\r\n\r\n",
    b"Subject: x\r\n\r\nno line end",
    b"Subject: x\r\n\r\n" + b"long" * 5000 + b"\r\n",
    b"Subject: x\r\n\r\n\xe4\xf6\xfc\r\n",
]


async def aiosmtplib_fates(target: Sink, content: bytes) -> list[str]:
    client = aiosmtplib.SMTP(
        hostname="127.0.0.1", port=target.port, use_tls=False, start_tls=False, timeout=5
    )
    await client.connect()
    try:
        refused, reply = await client.sendmail("from@example.org", list(NAMES), content)
    except aiosmtplib.SMTPRecipientsRefused as error:
        refused = {one.recipient: (one.code, one.message) for one in error.recipients}
        return [str(refused[name][0]) for name in NAMES]
    except aiosmtplib.SMTPResponseException as error:
        return [str(error.code)] * len(NAMES)
    finally:
        client.close()
    assert reply
    codes = {name: str(code) for name, (code, _) in refused.items()}
    return [codes.get(name, "250") for name in NAMES]


@pytest.mark.parametrize("name", SCRIPTS)
async def test_the_same_fates(name: str) -> None:
    content = CONTENTS[0]
    async with sink(Script(**SCRIPTS[name])) as target:
        expected = await aiosmtplib_fates(target, content)
    async with sink(Script(**SCRIPTS[name])) as target:
        assert fates(await hand_off(target, transaction(content, *NAMES))) == expected


@pytest.mark.parametrize("number", range(len(CONTENTS)))
async def test_the_same_bytes(number: int) -> None:
    content = CONTENTS[number]
    async with sink() as target:
        assert await aiosmtplib_fates(target, content) == ["250", "250"]
        result = await hand_off(target, transaction(content, *NAMES))
    assert fates(result) == ["250", "250"]
    theirs, ours = target.messages
    assert ours.raw == theirs.raw
    assert (ours.mail_from, ours.rcpt_to) == (theirs.mail_from, theirs.rcpt_to)
    assert re.search(rb"(?<!\r)\n", ours.raw) is None


class Keeps:
    """An aiosmtpd handler that keeps what it gets, and refuses one recipient."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("no"):
            return "550 5.1.1 who?"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self.envelopes.append(envelope)
        return "250 2.0.0 taken"


async def test_aiosmtpd_gets_what_was_meant() -> None:
    """A server that shares no line with our sink: contents, null sender, SMTPUTF8, RSET."""
    handler = Keeps()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, enable_SMTPUTF8=True, decode_data=False, loop=loop), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    connection = await connected(
        NextHop(kind=NextHopKind.SMTP, host="127.0.0.1", port=port), PATIENT
    )
    assert isinstance(connection, SmtpConnection)
    short = [content for content in CONTENTS if len(content) < 1000]  # its limit of 1001 a line
    for content in short:
        result = await connection.transact(
            transaction(content, "a@trial.example", "no@trial.example", mail_from="")
        )
        assert fates(result) == ["250", "550"]
    result = await connection.transact(transaction(CONTENTS[0], "no@trial.example"))
    assert fates(result) == ["550"]
    result = await connection.transact(
        transaction("Subject: ä\r\n\r\nü\r\n".encode(), "jörg@trial.example", smtputf8=True)
    )
    assert fates(result) == ["250"]
    connection.quit()
    await connection.wait_closed(5)
    server.close()
    await server.wait_closed()
    kept = [envelope.content for envelope in handler.envelopes]
    assert kept == [
        *(one if one.endswith(b"\r\n") else one + b"\r\n" for one in short),
        "Subject: ä\r\n\r\nü\r\n".encode(),
    ]
    assert handler.envelopes[-1].smtp_utf8
    assert handler.envelopes[-1].rcpt_tos == ["jörg@trial.example"]
    assert handler.envelopes[0].mail_from in {"", "<>"}
