"""What the server says: codes that agree, and texts that tell a stranger nothing."""

import re

import pytest

from gateway.core.reply import Reply
from gateway.smtp import answers
from gateway.smtp.answers import wire

_ALL = {name: value for name, value in vars(answers).items() if isinstance(value, Reply)}


def test_there_is_something_to_look_at() -> None:
    assert len(_ALL) > 20


@pytest.mark.parametrize("reply", _ALL.values(), ids=_ALL.keys())
def test_codes_agree_and_texts_give_nothing_away(reply: Reply) -> None:
    """RFC 2034 §4: the enhanced code's class is that of the reply code."""
    assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", reply.enhanced)
    assert reply.enhanced[0] == str(reply.code)[0]
    assert reply.text.isascii()
    assert reply.text.isprintable()
    assert not re.search(
        r"schwamm|aiosmtpd|python|spam|\d+\.\d|valid user", reply.text, re.IGNORECASE
    )
    assert len(wire(reply, "1jd8m3q7k-n1-4h2k0a9")) <= 512  # RFC 5321 §4.5.3.1.5


def test_a_reply_is_one_line_of_ascii() -> None:
    reply = Reply(code=550, enhanced="5.7.1", text="a\r\n250 grüße\n")
    assert wire(reply) == b"550 5.7.1 a  250 gr??e \r\n"


def test_an_id_is_told_once() -> None:
    reply = Reply(code=250, enhanced="2.0.0", text="OK")
    assert wire(reply, "id1") == wire(reply.with_id("id1"), "id1") == b"250 2.0.0 OK (id id1)\r\n"
