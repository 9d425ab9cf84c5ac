"""SMTP smuggling: what reaches the intake when a message's end is forged, with a control each.

A control is the same message with the forgery replaced by what a well-behaved client sends; it must
arrive whole. Without it a server that refuses everything would pass.
"""

from pathlib import Path

import pytest

from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService, on_uvloop

_INNER = (
    b"MAIL FROM:<evil@client.example>\r\nRCPT TO:<bert@example.org>\r\nDATA\r\n"
    b"From: <boss@example.org>\r\n\r\nsmuggled\r\n.\r\n"
)
_HEAD = b"Subject: outer\r\n\r\nfirst"
_FORGED_ENDS = {
    "LF . LF": b"\n.\n",
    "LF . CRLF": b"\n.\r\n",
    "CRLF . LF": b"\r\n.\n",
    "CR . CR": b"\r.\r",
    "CR . CRLF": b"\r.\r\n",
    "CRLF . CR": b"\r\n.\r",
    "CR . LF": b"\r.\n",
    "LF . CR": b"\n.\r",
    "LF CR . CRLF": b"\n\r.\r\n",
    "CRLF . CR CRLF": b"\r\n.\r\r\n",
    "CR CRLF . CRLF CR": b"\r\r\n.\r\r\n",
    "CRLF NUL . CRLF": b"\r\n\0.\r\n",
    "CRLF . NUL CRLF": b"\r\n.\0\r\n",
    "CRLF LF . LF": b"\r\n\n.\n",
}


async def _begin(client: RawClient) -> None:
    await client.reply()
    for command in (
        "EHLO client.example",
        "MAIL FROM:<sender@client.example>",
        "RCPT TO:<anna@example.org>",
    ):
        assert (await client.ask(command)).startswith("250")
    assert (await client.ask("DATA")).startswith("354")


@pytest.mark.parametrize("end", _FORGED_ENDS.values(), ids=_FORGED_ENDS.keys())
@pytest.mark.parametrize("split", [False, True], ids=["one write", "split at the dot"])
@on_uvloop
async def test_a_forged_end_ends_nothing(end: bytes, split: bool, tmp_path: Path) -> None:
    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        await _begin(client)
        data = _HEAD + end + _INNER
        at = data.index(b".", len(_HEAD))
        for piece in (data[: at + 1], data[at + 1 :]) if split else (data,):
            await client.send(piece)
        # The first real end is the one inside the smuggled message: one message, refused whole.
        assert (await client.reply()).startswith("554 5.6.11 ")
        assert await client.finish() == b""
        assert service.intake.contents == []


@pytest.mark.parametrize("end", _FORGED_ENDS.values(), ids=_FORGED_ENDS.keys())
@on_uvloop
async def test_the_control_arrives_whole(end: bytes, tmp_path: Path) -> None:
    """The same bytes with clean line ends and stuffed dots are one message, and only that."""
    text = (_HEAD + end + _INNER).removesuffix(b".\r\n").replace(b"\0", b"")
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    clean = b"\r\n".join(lines)
    stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)
    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        await _begin(client)
        await client.send(stuffed + b".\r\n")
        assert (await client.reply()).startswith("250 2.0.0 ")
        assert await client.finish() == b""
        assert service.intake.contents == [clean]


@on_uvloop
async def test_a_real_end_is_one(tmp_path: Path) -> None:
    """Two messages in one write are two only because CR LF . CR LF stands between them."""
    async with SmtpService(tmp_path) as service, RawClient("127.0.0.1", service.port) as client:
        await _begin(client)
        await client.send(_HEAD + b"\r\n.\r\n" + _INNER.partition(b"From:")[0])
        replies = [await client.reply() for _ in range(4)]
        assert [reply[:3] for reply in replies] == ["250", "250", "250", "354"]
        await client.send(b"second\r\n.\r\n")
        assert (await client.reply()).startswith("250 ")
        assert service.intake.contents == [_HEAD + b"\r\n", b"second\r\n"]
        assert [str(each.envelope.rcpt_to[0].key) for each in service.intake.mails] == [
            "anna@example.org",
            "bert@example.org",
        ]
