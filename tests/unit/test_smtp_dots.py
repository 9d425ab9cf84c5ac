"""The end of mail data and its dots, against a plain reference, wherever the chunks are cut."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.smtp.answers import BAD_LINE_ENDS, LONG_LINES, TOO_BIG
from gateway.smtp.dots import PIECE_BYTES, DotDecoder

_PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b".",
        b"..",
        b"\0",
        b"a",
        b"text",
        b"\r\n.",
        b"\r\n..",
        b"\r\n.\r",
        b" ",
    ]
)
_WIRE = st.lists(_PIECES, max_size=40).map(b"".join)
_CLEAN_LINES = st.lists(
    st.binary(max_size=30).map(lambda line: bytes(c for c in line if c not in b"\r\n\0")),
    max_size=20,
)


def _decode(chunks: list[bytes], max_bytes: int = 10_000, max_line: int = 1000) -> DotDecoder:
    return _run(chunks, max_bytes, max_line)[0]


def _run(
    chunks: list[bytes], max_bytes: int = 10_000, max_line: int = 1000
) -> tuple[DotDecoder, bytes]:
    decoder = DotDecoder(max_bytes=max_bytes, max_line_bytes=max_line)
    content = b""
    left = iter(chunks)
    for chunk in left:
        content += decoder.decode(chunk)
        if decoder.rest is not None:
            decoder.rest += b"".join(left)
    return decoder, content


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def _reference(wire: bytes) -> tuple[bytes, bytes] | None:
    """Content and rest by splitting into lines; None without an end."""
    lines = wire.split(b"\r\n")
    for number, line in enumerate(lines[:-1]):
        if line == b".":
            kept = [each.removeprefix(b".") + b"\r\n" for each in lines[:number]]
            return b"".join(kept), b"\r\n".join(lines[number + 1 :])
    return None


@given(_WIRE, st.lists(st.integers(0, 200), max_size=12))
def test_chunk_borders_do_not_matter(wire: bytes, cuts: list[int]) -> None:
    whole, content = _run([wire + b"\r\n.\r\nREST"])
    pieces, content_of_pieces = _run(_cut(wire + b"\r\n.\r\nREST", cuts))
    assert pieces.rest == whole.rest
    assert pieces.flaw == whole.flaw
    assert pieces.raw_bytes == whole.raw_bytes
    if whole.flaw is None:
        assert content_of_pieces == content
        assert pieces.size_bytes == whole.size_bytes == len(content)


@given(_WIRE)
def test_every_single_cut_gives_the_same(wire: bytes) -> None:
    data = wire + b"\r\n.\r\nQUIT\r\n"
    whole, content = _run([data])
    for at in range(len(data)):
        pieces, other = _run([data[:at], data[at:]])
        assert (pieces.rest, pieces.flaw) == (whole.rest, whole.flaw)
        if whole.flaw is None:
            assert other == content


@given(_WIRE)
def test_it_agrees_with_splitting_into_lines(wire: bytes) -> None:
    decoder, content = _run([wire])
    expected = _reference(wire)
    if expected is None:
        assert decoder.rest is None
        return
    assert decoder.rest == expected[1]
    before_end = wire[: len(wire) - len(expected[1])]
    bare = before_end.replace(b"\r\n", b"")
    if b"\r" in bare or b"\n" in bare or b"\0" in bare:
        assert decoder.flaw == BAD_LINE_ENDS
    else:
        assert decoder.flaw is None
        assert content == expected[0]


@given(_CLEAN_LINES, st.lists(st.integers(0, 1000), max_size=8))
@settings(max_examples=200)
def test_what_a_client_stuffs_comes_out_as_it_was(lines: list[bytes], cuts: list[int]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    wire = b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines) + b".\r\n"
    decoder, found = _run(_cut(wire, cuts))
    assert decoder.flaw is None
    assert decoder.rest == b""
    assert found == content


@pytest.mark.parametrize(
    "wire", [b"", b".", b".\r", b"\r\n.\r", b"a\r\n..\r\n", b"a.\r\n", b"\n.\n"]
)
def test_no_end_yet(wire: bytes) -> None:
    assert _decode([wire]).rest is None


@pytest.mark.parametrize(
    ("line", "flaw"), [(b"x" * 50, None), (b"x" * 51, LONG_LINES), (b"." + b"x" * 60, LONG_LINES)]
)
@pytest.mark.parametrize("size", [1, 7, 49, 1000])
def test_lines_have_a_cap(line: bytes, flaw: object, size: int) -> None:
    wire = b"short\r\n" * 9 + line + b"\r\nshort\r\n.\r\n"
    chunks = [wire[at : at + size] for at in range(0, len(wire), size)]
    decoder = _decode(chunks, max_line=50)
    assert decoder.flaw == flaw
    assert decoder.rest == b""


@pytest.mark.parametrize(("size", "flaw"), [(100, None), (102, TOO_BIG)])
def test_the_size_is_that_of_the_content_without_stuffing(size: int, flaw: object) -> None:
    wire = b"..\r\n" * ((size - 1) // 3) + b"x" * ((size - 1) % 3) + b"\r\n.\r\n"
    decoder, content = _run([wire], max_bytes=101)
    assert decoder.flaw == flaw
    if flaw is None:
        assert len(content) == decoder.size_bytes == 101


def test_a_refused_message_is_hopeless_only_after_twice_its_size() -> None:
    decoder = DotDecoder(max_bytes=1000, max_line_bytes=5000)
    decoder.decode(b"x" * 1500)
    assert decoder.flaw == TOO_BIG
    assert not decoder.hopeless
    for _ in range(3):
        assert decoder.decode(b"x" * PIECE_BYTES) == b""
    assert decoder.hopeless


def test_nothing_but_a_few_bytes_is_kept_between_calls() -> None:
    """Memory and time must not grow with what looks like an end again and again."""
    decoder = DotDecoder(max_bytes=10**9, max_line_bytes=10**6)
    given_out = sum(len(decoder.decode(b"\r\n.\r")) for _ in range(10_000))
    assert decoder.flaw is BAD_LINE_ENDS
    assert given_out <= 40_000
    assert len(decoder._carry) <= 4
