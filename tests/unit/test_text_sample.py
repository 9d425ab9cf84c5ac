"""Text of large messages: beginning, end and last part are read, whatever stands between."""

import base64
import quopri

import pytest

from models.limits import ScanLimits
from models.message import Defect, scan
from models.sample import allot, excerpt, spans

HARMLESS = b"Der Bericht vom Montag liegt bei, viele Gr\xc3\xbc\xc3\x9fe an alle.\n"
SPAM = b"\nCheap watches at http://spam.example/buy now\n"


def filler(size: int) -> bytes:
    return HARMLESS * (size // len(HARMLESS))


def body(encoding: str, data: bytes) -> bytes:
    match encoding:
        case "base64":
            return base64.encodebytes(data)
        case "quoted-printable":
            return quopri.encodestring(data)
    return data


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("size", [64 * 1024, 3_000_000])
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_spam_behind_harmless_text_is_seen(kind: str, size: int, encoding: str) -> None:
    raw = (
        f"Content-Type: text/{kind}; charset=utf-8\n"
        f"Content-Transfer-Encoding: {encoding}\n\n".encode()
        + body(encoding, filler(size) + SPAM)
    )
    mail = scan(raw)

    assert mail.text.startswith("Der Bericht vom Montag")
    assert "Cheap watches at http://spam.example/buy now" in mail.text
    assert "Grüße" in mail.text[-2000:]
    assert len(mail.text) <= 64 * 1024
    assert mail.truncated is (size > 100_000)
    if kind == "plain":
        assert [link.url for link in mail.links] == ["http://spam.example/buy"]


def test_base64_that_is_not_in_lines_of_four_is_read_from_the_middle() -> None:
    encoded = base64.b64encode(filler(2_000_000) + SPAM)
    lines = b"\n".join(encoded[at : at + 75] for at in range(0, len(encoded), 75))
    mail = scan(b"Content-Transfer-Encoding: base64\n\n" + lines.rstrip(b"="))

    assert "Cheap watches" in mail.text


@pytest.mark.parametrize("size", [64 * 1024, 2_000_000])
def test_spam_in_the_last_part_is_seen(size: int) -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n"
        + filler(size)
        + b"\n--b\n\n"
        + filler(size)
        + b"\n--b\nContent-Type: text/html\n\n<p>Cheap <a href='http://spam.example/'>watches</a>"
        b"\n--b--\n"
    )
    mail = scan(raw)

    assert mail.text.startswith("Der Bericht")
    assert mail.text.endswith("Cheap watches")
    assert mail.links[-1].url == "http://spam.example/"


def test_spam_in_the_last_of_many_large_parts_is_seen() -> None:
    part = b"--b\n\n" + filler(20_000) + b"\n"
    mail = scan(
        b"Content-Type: multipart/mixed; boundary=b\n\n"
        + part * 300
        + b"--b\n\n"
        + SPAM
        + b"\n--b--"
    )

    assert "Cheap watches" in mail.text[-100:]
    assert len(mail.text) <= 64 * 1024


@pytest.mark.parametrize(
    ("opening", "closing"),
    [(b"<!--", b"-->"), (b"<style>", b"</style>"), (b"<script>", b"</script>")],
)
def test_html_that_hides_its_length_does_not_hide_its_text(opening: bytes, closing: bytes) -> None:
    raw = (
        b"Content-Type: text/html\n\n<p>first</p>"
        + opening
        + filler(1_000_000)
        + closing
        + b"<p>last"
    )
    mail = scan(raw)

    assert mail.text == "first\nlast"


def test_small_messages_are_read_whole() -> None:
    mail = scan(b"\n" + filler(60_000))

    assert mail.text == filler(60_000).decode()
    assert not mail.truncated


def test_every_reading_is_the_same() -> None:
    raw = b"Content-Type: text/html\n\n" + filler(500_000)

    assert scan(raw).text == scan(raw).text


def test_cr_is_no_text() -> None:
    assert scan(b"\r\na\r\nb\r\n").text == "a\nb\n"


@pytest.mark.parametrize(
    ("sizes", "budget", "shares"),
    [
        ([], 10, []),
        ([3, 4], 10, [3, 4]),
        ([100], 10, [10]),
        ([100, 100], 10, [5, 5]),
        ([100, 1, 100], 10, [5, 1, 4]),
        ([100] * 3, 100, [42, 17, 41]),
        ([1, 1000, 1], 100, [1, 98, 1]),
        ([0, 0], 0, [0, 0]),
        ([5, 5], 1, [1, 0]),
    ],
)
def test_allot(sizes: list[int], budget: int, shares: list[int]) -> None:
    allotted = allot(sizes, budget)

    assert sum(allotted) <= budget
    assert sorted(allotted) == sorted(shares)


def test_first_and_last_part_get_a_quarter_each() -> None:
    shares = allot([10_000] * 1000, 1000)

    assert shares[0] >= 250
    assert shares[-1] >= 250
    assert sum(shares) <= 1000


def test_spans_and_excerpts_keep_both_ends() -> None:
    assert spans(5, 10, 5) == [(5, 10)]
    assert spans(0, 100, 10) == [(0, 6), (96, 100)]
    assert excerpt("abcdef", 6) == "abcdef"
    assert excerpt("a" * 50 + "b" * 50, 11) == "aaaaaa\nbbbb"
    assert len(excerpt("a" * 100, 1)) <= 1
    assert excerpt("abc", 0) == ""


def test_text_limits_hold_with_many_parts() -> None:
    part = b"--b\n\n" + b"x" * 1000 + b"\n"
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n" + part * 100 + b"--b--"
    for max_text_chars in (0, 1, 10, 99, 100, 101, 5000):
        mail = scan(raw, ScanLimits(max_text_chars=max_text_chars))
        assert len(mail.text) <= max_text_chars


@pytest.mark.parametrize(
    ("charset", "data", "text", "defects"),
    [
        ("utf-8", "Grüße".encode(), "Grüße", ()),
        ("iso-8859-1", b"Gr\xfc\xdfe \x80", "Grüße €", ()),
        ("windows-1252", b"\x84x\x93", "„x“", ()),
        ("ISO-8859-15", b"\xa4", "€", ()),
        ("koi8-r", "Привет".encode("koi8-r"), "Привет", ()),
        ("gb2312", "你好".encode("gb18030"), "你好", ()),
        ("shift_jis", "こんにちは".encode("cp932"), "こんにちは", ()),
        ("iso-2022-jp", "こんにちは".encode("iso2022_jp"), "こんにちは", ()),
        ("utf-7", b"+AOQ-", "ä", ()),
        ("us-ascii", "Grüße".encode(), "Grüße", (Defect.CHARSET_WRONG,)),
        ("utf-8", b"Gr\xfc\xdfe aus K\xf6ln", "Grüße aus Köln", (Defect.CHARSET_WRONG,)),
        ("iso-8859-1", "Grüße".encode(), "GrÃ¼ÃŸe", ()),
        ("x-no-such", "Grüße".encode(), "Grüße", (Defect.CHARSET_UNKNOWN,)),
        ("base64", "Grüße".encode(), "Grüße", (Defect.CHARSET_UNKNOWN,)),
        ("unicode_escape", rb"\u00e4", r"\u00e4", (Defect.CHARSET_UNKNOWN,)),
        ("undefined", b"a", "a", (Defect.CHARSET_UNKNOWN,)),
        ("x" * 500, b"a", "a", (Defect.CHARSET_UNKNOWN,)),
        ('"utf-8"', "ü".encode(), "ü", ()),
    ],
)
def test_charsets(charset: str, data: bytes, text: str, defects: tuple[Defect, ...]) -> None:
    mail = scan(f"Content-Type: text/plain; charset={charset}\n\n".encode() + data)

    assert mail.text == text
    assert mail.defects == defects


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Уважаемые господа, просим вас ответить на наше письмо как можно скорее.", "cp1251"),
        ("Die Größe der Tür läßt sich ändern, schöne Grüße aus München und Köln.", "cp1252"),
        ("お世話になっております。先日の件についてご連絡いたします。", "euc_jp"),
        ("Die Größe der Tür läßt sich ändern, schöne Grüße aus München.", "utf-8"),
    ],
)
def test_text_without_a_label_is_guessed(text: str, codec: str) -> None:
    assert scan(b"\n" + text.encode(codec)).text == text


def test_slightly_damaged_utf8_is_still_utf8() -> None:
    data = ("äöü" * 100).encode() + b"\xff" + "äöü".encode()
    mail = scan(b"Content-Type: text/plain; charset=utf-8\n\n" + data)

    assert mail.text == "äöü" * 100 + "\ufffd" + "äöü"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see http://a.example/x?y=1&z=2.", ["http://a.example/x?y=1&z=2"]),
        ("<https://a.example/> (HTTP://B.example/c)", ["https://a.example/", "http://B.example/c"]),
        ("www.a.example, and www.b.example!", ["http://www.a.example", "http://www.b.example"]),
        ("http://www.a.example/", ["http://www.a.example/"]),
        ("ftp://a.example/f", ["ftp://a.example/f"]),
        ("x://y ://z http:// www. awww.b", []),
        ("http://a.example/http://b.example/", ["http://a.example/http://b.example/"]),
        ("http://ä.example/ü x", ["http://ä.example/ü"]),
    ],
)
def test_plain_links(text: str, urls: list[str]) -> None:
    mail = scan(b"\n" + text.encode())

    assert [link.url for link in mail.links] == urls
    assert {link.source for link in mail.links} <= {"plain"}


def test_a_flood_of_plain_links_keeps_the_last_one() -> None:
    mail = scan(b"\n" + b"http://harmless.example/ " * 5000 + b"http://spam.example/")

    assert len(mail.links) <= 250
    assert mail.links[0].url == "http://harmless.example/"
    assert mail.links[-1].url == "http://spam.example/"
