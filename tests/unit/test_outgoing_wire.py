"""Dot stuffing, whatever the message and however it is cut."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.net.smtp_client_content import DotStuffer

OCTETS = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"x", b"\r\n.\r\n", b"\x00", b"\xff"]),
    max_size=40,
).map(b"".join)


def stuffed(pieces: list[bytes]) -> bytes:
    stuffer = DotStuffer()
    return b"".join([*map(stuffer.feed, pieces), stuffer.finish()])


@given(OCTETS, st.lists(st.integers(min_value=0, max_value=80), max_size=8))
def test_a_receiver_gets_the_message_and_only_the_message(content: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(content)]
    pieces = [content[a:b] for a, b in pairwise(places)]
    wire = stuffed(pieces)
    assert wire == stuffed([content])
    lines = wire.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2]  # the final dot is the only one
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", wire) is None
    received = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])
    expected = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    assert received == expected
