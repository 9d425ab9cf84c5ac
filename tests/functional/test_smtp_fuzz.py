"""Whatever a client sends: well-formed replies, no exception inside, nothing left behind."""

import asyncio
import re
import tempfile
from pathlib import Path

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService

_REPLY = re.compile(rb"[2-5]\d\d[ -][ -~]*")
_WORDS = st.sampled_from(
    [
        b"EHLO client.example",
        b"HELO x",
        b"MAIL FROM:<a@client.example>",
        b"MAIL FROM:<> SIZE=10 BODY=8BITMIME SMTPUTF8",
        b"RCPT TO:<anna@example.org>",
        b"RCPT TO:<nobody@example.org>",
        b"RCPT TO:<\xff@example.org>",
        b'RCPT TO:<"',
        b"DATA",
        b"RSET",
        b"NOOP",
        b"VRFY x",
        b"HELP",
        b"STARTTLS",
        b"AUTH PLAIN AA==",
        b"QUIT",
        b"GET / HTTP/1.1",
        b"Subject: x",
        b"Received: x",
        b".",
        b"..",
        b"",
        b"x" * 2000,
    ]
)
_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\0\r\n", b"", b"\r\n.\r\n"])
_LINES = st.tuples(st.one_of(_WORDS, st.binary(max_size=40)), _ENDS).map(b"".join)
_OPENING = [
    b"EHLO client.example\r\n",
    b"MAIL FROM:<a@client.example>\r\n",
    b"RCPT TO:<anna@example.org>\r\n",
    b"DATA\r\n",
]


@given(st.integers(0, len(_OPENING)), st.lists(_LINES, max_size=12), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_client(opening: int, lines: list[bytes], in_one_write: bool) -> None:
    async def talk() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with SmtpService(
                Path(folder), max_message_bytes=3000, max_line_bytes=1500
            ) as service:
                async with RawClient("127.0.0.1", service.port) as client:
                    await client.reply()
                    for command in _OPENING[:opening]:
                        await client.ask(command.decode().strip())
                    for piece in [b"".join(lines)] if in_one_write else lines:
                        try:
                            await client.send(piece)
                        except ConnectionError:
                            break
                        await asyncio.sleep(0)
                    answers = await client.finish()
                await service.settled()
            _check(answers, service)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(talk())


def _check(answers: bytes, service: SmtpService) -> None:
    assert answers.endswith(b"\r\n") or not answers
    for line in answers.removesuffix(b"\r\n").split(b"\r\n"):
        assert not answers or _REPLY.fullmatch(line), line
    assert service.server.counts.errors == 0
    for mail, content in zip(service.intake.mails, service.intake.contents, strict=True):
        bare = content.replace(b"\r\n", b"")
        assert not {b"\r", b"\n", b"\0"} & {bytes([octet]) for octet in bare}
        assert content == b"" or content.endswith(b"\r\n")
        assert len(content) <= 3000
        assert {each.domain for each in mail.envelope.rcpt_to} == {"example.org"}
