"""Header text: encoded words, 8-bit text, and the mailbox a message says it is from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.addresses import Mailbox, first_mailbox
from models.limits import ScanLimits
from models.message import scan
from models.mime_headers import HeaderBlock, _read_odd_block, read_header_block


def subject(raw: bytes) -> str:
    header = scan(b"Subject: " + raw + b"\n\n").header("subject")
    assert header is not None
    return header.text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?Q?Gr=C3=BC=C3=9Fe_an_alle?=", "Grüße an alle"),
        (b"=?UTF-8?b?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?iso-8859-1?q?Gr=FC=DFe?= und mehr", "Grüße und mehr"),
        (b"Re: =?iso-8859-1?q?Gr=FC=DFe?=", "Re: Grüße"),
        # White space between encoded words is not shown (RFC 2047 section 6.2), elsewhere it is.
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=\n =?iso-8859-1?q?b?=", "ab"),
        (b"=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
        (b"=?utf-8?q?a?==?utf-8?q?b?=", "ab"),
        # A character split over two words.
        (b"=?utf-8?q?Gr=C3?= =?utf-8?q?=BC=C3=9Fe?=", "Grüße"),
        (b"=?utf-8?b?R3LD?= =?utf-8?b?vMOfZQ==?=", "Grüße"),
        # What senders get wrong.
        (b"=?utf-8?q?two words?=", "two words"),
        (b"=?utf-8?q?Fragen??=", "Fragen?"),
        (b"=?utf-8?b?R3LDvMOfZQ?=", "Grüße"),
        (b"=?utf-8?b?R3LD*vMOfZQ==?=", "Grüße"),
        (b"=?x-no-such?q?abc?=", "abc"),
        (b"=?utf-8?q?Gr=FC=DFe?=", "Grüße"),
        (b"=?iso-8859-1?q?=80uro?=", "€uro"),
        (b"=?utf-8*de?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        # What is no encoded word stays.
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?abc", "=?utf-8?q?abc"),
        (b"=?utf-8?=", "=?utf-8?="),
        (b"=?", "=?"),
        (b"1 =? 2", "1 =? 2"),
        # 8-bit text.
        (b"Gr\xc3\xbc\xc3\x9fe", "Grüße"),
        (b"Gr\xfc\xdfe", "Grüße"),
        (b"Discover\xae Card", "Discover® Card"),
        (b"Gr\xfc\xdfe =?utf-8?q?=C3=BC?=", "Grüße ü"),
        (b"Gr\xc3\xbc\xc3\x9fe =? 8-bit", "Grüße =? 8-bit"),
    ],
)
def test_header_text(raw: bytes, text: str) -> None:
    assert subject(raw) == text


def test_header_text_is_on_one_line_even_if_an_encoded_word_is_not() -> None:
    assert subject(b"=?utf-8?q?a=0D=0Ab=0Ac?=") == "a  b c"


def test_header_text_holds_no_surrogates() -> None:
    for raw in (bytes(range(128, 256)), b"=?utf-8?q?=ED=A0=80?=", b"=?utf-7?q?+2AA-?=", b"\xff"):
        subject(raw).encode("utf-8")


def test_header_text_is_bounded_and_its_bytes_are_not() -> None:
    mail = scan(b"Subject: " + b"x" * 10_000 + b"\n\n", ScanLimits(max_header_text_bytes=100))

    assert len(mail.subject) == 100
    assert len(mail.headers[0].raw) == 10_000


@pytest.mark.parametrize(
    ("raw", "name", "address"),
    [
        (b"a@b.example", "", "a@b.example"),
        (b"<a@b.example>", "", "a@b.example"),
        (b"Anna A <a@b.example>", "Anna A", "a@b.example"),
        (b'"A, Anna" <a@b.example>', "A, Anna", "a@b.example"),
        (b"A, Anna <a@b.example>", "A, Anna", "a@b.example"),
        (b'"Anna \\"A\\"" <a@b.example>', 'Anna "A"', "a@b.example"),
        (b"a@b.example (Anna (A) A)", "Anna A A", "a@b.example"),
        (b"a@b.example, c@d.example", "", "a@b.example"),
        (b"Anna <a@b.example>, <c@d.example>", "Anna", "a@b.example"),
        # A display name that looks like another address.
        (b'"bank@bank.example" <x@y.example>', "bank@bank.example", "x@y.example"),
        (b'"<bank@bank.example>" <x@y.example>', "<bank@bank.example>", "x@y.example"),
        (
            b"=?utf-8?q?=3Cbank=40bank.example=3E?= <x@y.example>",
            "<bank@bank.example>",
            "x@y.example",
        ),
        (b"=?utf-8?q?J=C3=BCrgen?= <j@b.example>", "Jürgen", "j@b.example"),
        (b"J\xfcrgen <j@b.example>", "Jürgen", "j@b.example"),
        (b'<"odd name"@b.example>', "", '"odd name"@b.example'),
        (b"< a@b.example >", "", "a@b.example"),
        (b"<<a@b.example>>", "", "a@b.example"),
        (b"only a name", "only a name", ""),
        (b"<>", "", ""),
        (b"", "", ""),
        (b"<", "", ""),
        (b'"', "", ""),
        (b"(" * 900, "", ""),
        (b"undisclosed-recipients:;", "undisclosed-recipients:;", ""),
    ],
)
def test_first_mailbox(raw: bytes, name: str, address: str) -> None:
    assert first_mailbox(raw) == Mailbox(name=name, address=address)


_LINES = st.sampled_from(
    [
        b"Subject: a", b"X-Y:b", b"To : c", b" folded", b"\tfolded", b"From x@y.example", b":", b"",
        b" ", b"words without", b"N\0L: d", b"A:", b">From z", b"B: e\r", b"\r",
    ]
)  # fmt: skip


@given(st.lists(_LINES, max_size=12), st.sampled_from([b"\n", b"\r\n"]), st.integers(3, 90))
@settings(max_examples=600, deadline=None)
def test_the_header_read_at_once_is_the_header_read_field_by_field(
    lines: list[bytes], line_end: bytes, max_bytes: int
) -> None:
    def told(block: HeaderBlock) -> object:
        return (
            [(one.name, one.key, one.raw) for one in block.fields],
            block.body_start,
            block.defects,
        )

    raw = line_end.join(lines) + line_end + b"text"
    limits = ScanLimits(max_header_bytes=max_bytes, max_headers=6)
    slow = _read_odd_block(raw, 0, len(raw), raw[:max_bytes], limits)
    assert told(read_header_block(raw, 0, len(raw), limits)) == told(slow)
