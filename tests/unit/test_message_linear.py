"""Hostile messages: work grows with the message at most, and stays below fixed caps.

No clocks. Three things are counted, each at a size and at twice that size: bytes that searches in
the message visit, Python lines that run, and (by not hanging: a quadratic search over these
megabytes would outlast the test session) what regular expressions do in C.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from models.limits import MIB, ScanLimits
from models.message import ParsedMail, scan

MODELS = str(Path(__file__).parents[2] / "models")
HEAD = b"From: a@b.example\nMIME-Version: 1.0\n"
HTML = HEAD + b"Content-Type: text/html\n\n"
UUENCODED = b"Content-Transfer-Encoding: uue\n\nbegin 644 x\n"
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n"
UNLIMITED = ScanLimits(
    max_header_bytes=64 * MIB,
    max_headers=10**9,
    max_header_text_bytes=64 * MIB,
    max_parts=10**9,
    max_sample_bytes=64 * MIB,
    max_text_chars=64 * MIB,
    max_tags=10**9,
    max_links=10**9,
)
"""So that linear means linear, not only capped. Depth stays: it multiplies by design."""


def nested(size: int) -> bytes:
    heads = (
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
        for level in range(size // 60)
    )
    return HEAD + b"".join(heads)


def alternating(size: int) -> bytes:
    """Two containers that look for each other's delimiter in the whole message."""
    return (
        MIXED
        + b"--b\nContent-Type: multipart/mixed; boundary=c\n\n"
        + b"--c\n\nx\n--b\n\ny\n" * (size // 18)
    )


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "content type of semicolons": lambda n: HEAD + b"Content-Type: text/plain" + b";" * n + b"\n\n",
    "from of semicolons": lambda n: b"From: " + b";" * n + b"\n\n",
    "from of commas": lambda n: b"From: " + b"a," * (n // 2) + b"\n\n",
    "from of parentheses": lambda n: b"From: " + b"(" * n + b"\n\n",
    "from of quotes": lambda n: b"From: " + b'"\\' * (n // 2) + b"\n\n",
    "quoted pairs": lambda n: b'Content-Type: text/plain; a="' + b'\\"' * (n // 2) + b"\n\n",
    "parameters": lambda n: b"Content-Type: text/plain" + b"; a*0*=x" * (n // 8) + b"\n\n",
    "blanks before an equals sign": lambda n: b"Content-Type: a/b; x" + b" " * n + b"\n\n",
    "nested boundaries": nested,
    "alternating boundaries": alternating,
    "empty lines": lambda n: HEAD + b"\n" * n,
    "empty lines with cr": lambda n: HEAD + b"\r\n" * (n // 2),
    "boundaries": lambda n: MIXED + b"--b\n\nx\n" * (n // 7),
    "boundaries in a row": lambda n: MIXED + b"--b\n" * (n // 4),
    "boundary look-alikes": lambda n: MIXED + b"--bx\n" * (n // 5),
    "beginnings of boundaries": lambda n: MIXED + b"\n--" * (n // 3),
    "closing boundaries": lambda n: MIXED + b"--b--\n" * (n // 6),
    "padding": lambda n: MIXED + b"--b" + b" " * n,
    "digest": lambda n: MIXED.replace(b"mixed", b"digest") + b"--b\n\nS: x\n\nx\n" * (n // 14),
    "messages in messages": lambda n: b"Content-Type: message/rfc822\n\n" * (n // 30),
    "encoded words": lambda n: b"Subject: " + b"=?utf-8?q?=41?= " * (n // 16) + b"\n\n",
    "open encoded words": lambda n: b"Subject: " + b"=?utf-8?q?a " * (n // 12) + b"\n\n",
    "half encoded words": lambda n: b"Subject: " + b"=?" * (n // 2) + b"\n\n",
    "changing charsets": lambda n: b"Subject: " + b"=?a?q?a?= =?b?q?b?= " * (n // 20) + b"\n\n",
    "folding": lambda n: b"Subject: x" + b"\n x" * (n // 3) + b"\n\n",
    "folding of blanks": lambda n: b"Subject: x" + b"\n " * (n // 2) + b"\n\n",
    "fields": lambda n: b"X: y\n" * (n // 5) + b"\n",
    "fields of one byte": lambda n: b"a:" * (n // 2),
    "stray lines": lambda n: b"From: x\n" + b":x\n" * (n // 3),
    "from lines": lambda n: b"From x\n" * (n // 7),
    "nul": lambda n: b"\0" * n,
    "one long line": lambda n: b"x" * n,
    "less than": lambda n: HTML + b"<" * n,
    "tags": lambda n: HTML + b"<b>" * (n // 3),
    "breaks": lambda n: HTML + b"<br>" * (n // 4),
    "end tags": lambda n: HTML + b"</p>" * (n // 4),
    "hidden elements": lambda n: HTML + b"<div style='display:none'>" * (n // 26),
    "hidden siblings": lambda n: HTML + b"<p hidden>x<i></i>" * (n // 18),
    "hidden and stray ends": lambda n: HTML + b"<p hidden>" + b"<b></i>" * (n // 7),
    "open quotes": lambda n: HTML + b"<a b=\"<a b='" * (n // 12),
    "comments": lambda n: HTML + b"<!--" * (n // 4),
    "dashes": lambda n: HTML + b"<!--" + b"-" * n,
    "scripts": lambda n: HTML + b"<script " * (n // 8),
    "nearly ended scripts": lambda n: HTML + b"<script></scrip" * (n // 15),
    "equals signs": lambda n: HTML + b"<a " + b"= " * (n // 2),
    "blanks in a tag": lambda n: HTML + b"<a =" + b" " * n,
    "ampersands": lambda n: HTML + b"&" * n,
    "digits": lambda n: HTML + b"&#" + b"9" * n,
    "unknown references": lambda n: HTML + (b"&" + b"a" * 32) * (n // 33),
    "anchors": lambda n: HTML + b"<a href=http://x>" * (n // 17),
    "one long anchor": lambda n: HTML + b"<a href=x>" + b"a<i>" * (n // 4),
    "href without a value": lambda n: HTML + b"<a " + b"href " * (n // 5) + b">",
    "styles": lambda n: HTML + b"<b style='font-size:0" + b"." * n + b"'>",
    "images": lambda n: HTML + b"<img src=//x width=1>" * (n // 21),
    "links in plain text": lambda n: HEAD + b"\n" + b"http://" * (n // 7),
    "hosts in plain text": lambda n: HEAD + b"\n" + b"www." * (n // 4),
    "colons in plain text": lambda n: HEAD + b"\n" + b"://" * (n // 3),
    "dots behind a link": lambda n: HEAD + b"\nhttp://x" + b"." * n,
    "padding in base64": lambda n: b"Content-Transfer-Encoding: base64\n\n" + b"QQ==\n" * (n // 5),
    "only padding": lambda n: b"Content-Transfer-Encoding: base64\n\n" + b"=" * n,
    "soft breaks": lambda n: b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=" * n,
    "blanks in qp": lambda n: b"Content-Transfer-Encoding: quoted-printable\n\n" + b" " * n,
    "uuencode": lambda n: UUENCODED + b"!AAAA\n" * (n // 6),
    "begin lines": lambda n: b"Content-Transfer-Encoding: uue\n\n" + b"begin 644 " * (n // 10),
    "8-bit noise": lambda n: HEAD + b"\n" + bytes(range(128, 256)) * (n // 128),
    "broken utf-8": lambda n: b"Content-Type: text/plain; charset=utf-8\n\n" + b"\xff" * n,
    "utf-7": lambda n: b"Content-Type: text/plain; charset=utf-7\n\n" + b"+" * n,
    "gb18030": lambda n: b"Content-Type: text/plain; charset=gb2312\n\n" + b"\x81\xff" * (n // 2),
    "hz": lambda n: b"Content-Type: text/plain; charset=hz\n\n" + b"~{" * (n // 2),
    "escapes": lambda n: b"Content-Type: a/b; charset=iso-2022-jp\n\n" + b"\x1b$B" * (n // 3),
}
hostile = pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())


def use_everything(mail: ParsedMail) -> None:
    for header in mail.headers:
        assert isinstance(header.text, str)
    for part in mail.parts:
        assert len(part.payload()) <= part.size_bytes
    assert isinstance(mail.text + mail.hidden_text + mail.subject + mail.from_name, str)
    assert isinstance((mail.links, mail.defects, mail.html, mail.truncated), tuple)


def use_text(mail: ParsedMail) -> None:
    assert isinstance(mail.text + mail.subject + mail.from_name, str)
    assert isinstance((mail.links, mail.defects), tuple)


class CountingBytes(bytes):
    """Bytes that count how many of them searches and slices visit."""

    visited = 0

    def find(self, needle: bytes, start: int = 0, end: int | None = None) -> int:
        end = len(self) if end is None else end
        hit = super().find(needle, start, end)
        self.visited += (hit if hit >= 0 else end) - start + len(needle)
        return hit

    def rfind(self, needle: bytes, start: int = 0, end: int | None = None) -> int:
        end = len(self) if end is None else end
        hit = super().rfind(needle, start, end)
        self.visited += end - (hit if hit >= 0 else start)
        return hit

    def __getitem__(self, key):
        got = super().__getitem__(key)
        self.visited += len(got) if isinstance(got, bytes) else 1
        return got


def visited_bytes(raw: bytes, limits: ScanLimits) -> int:
    counting = CountingBytes(raw)
    use_everything(scan(counting, limits))
    return counting.visited


def lines_run(
    raw: bytes, limits: ScanLimits, use: Callable[[ParsedMail], None] = use_everything
) -> int:
    lines = 0

    def trace_line(_frame: FrameType, event: str, _argument: object) -> object:
        nonlocal lines
        lines += event == "line"
        return trace_line

    def trace_call(frame: FrameType, _event: str, _argument: object) -> object:
        return trace_line if frame.f_code.co_filename.startswith(MODELS) else None

    before = sys.gettrace()
    sys.settrace(trace_call)
    try:
        use(scan(raw, limits))
    finally:
        sys.settrace(before)
    return lines


@hostile
def test_twice_the_message_is_at_most_twice_the_bytes_visited(
    make: Callable[[int], bytes],
) -> None:
    once, twice = make(20_000), make(40_000)

    assert visited_bytes(twice, UNLIMITED) <= 2.1 * visited_bytes(once, UNLIMITED) + 1000


@hostile
def test_twice_the_message_is_at_most_twice_the_lines_run(make: Callable[[int], bytes]) -> None:
    once, twice = make(6_000), make(12_000)

    assert lines_run(twice, UNLIMITED) <= 2.1 * lines_run(once, UNLIMITED) + 200


@hostile
def test_a_megabyte_ends_without_caps(make: Callable[[int], bytes]) -> None:
    use_everything(scan(make(1_000_000), UNLIMITED))


@hostile
def test_beyond_the_caps_no_more_lines_are_run(make: Callable[[int], bytes]) -> None:
    """With the default caps twice the message runs about the same number of lines.

    Payloads have no such cap: they are as long as the message lets them be.
    """
    once, twice = make(500_000), make(1_000_000)
    limits = ScanLimits()

    assert lines_run(twice, limits, use_text) <= 1.1 * lines_run(once, limits, use_text) + 200


def test_the_counters_would_notice() -> None:
    """The two counters see quadratic work where there is some."""

    def quadratic(raw: bytes) -> None:
        position = 0
        while (position := raw.find(b"x", position)) >= 0:
            raw.find(b"y", position)
            position += 1

    once, twice = CountingBytes(b"x" * 1000), CountingBytes(b"x" * 2000)
    quadratic(once)
    quadratic(twice)

    assert twice.visited > 3 * once.visited
    assert lines_run(b"X: y\n" * 2000, UNLIMITED) > 1.9 * lines_run(b"X: y\n" * 1000, UNLIMITED)
