"""A message taken apart: line ends, header ends, types, encodings, and what is said of oddities."""

import mmap
from pathlib import Path

import pytest

from models.message import Defect, scan

MAILS = Path(__file__).parents[1] / "data" / "mail"
MAIL = (
    b"From: Anna <anna@absender.example>\n"
    b"Subject: Hallo\n"
    b"MIME-Version: 1.0\n"
    b"Content-Type: text/plain; charset=utf-8\n"
    b"\n"
    b"Gr\xc3\xbc\xc3\x9fe\n"
)


@pytest.mark.parametrize(
    "raw",
    [
        MAIL,
        MAIL.replace(b"\n", b"\r\n"),
        MAIL.replace(b"\n", b"\r\n", 3),
        b"From anna@absender.example Mon Nov 23 10:00:00 2026\n" + MAIL,
        b">From anna@absender.example Mon Nov 23 10:00:00 2026\r\n" + MAIL,
    ],
    ids=["lf", "crlf", "mixed", "mbox", "quoted mbox"],
)
def test_line_ends_and_mbox_lines_make_no_difference(raw: bytes) -> None:
    mail = scan(raw)

    assert [header.key for header in mail.headers] == [
        "from",
        "subject",
        "mime-version",
        "content-type",
    ]
    assert (mail.subject, mail.from_name, mail.from_address) == (
        "Hallo",
        "Anna",
        "anna@absender.example",
    )
    assert mail.text.rstrip() == "Grüße"
    assert mail.defects == ()
    assert mail.size_bytes == len(raw)
    assert not mail.truncated


def test_every_kind_of_buffer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mail.eml"
    path.write_bytes(MAIL)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        from_map = scan(mapped)
        assert (from_map.subject, from_map.text) == ("Hallo", "Grüße\n")
        assert type(from_map.parts[0].payload()) is bytes
        del from_map
    from_view = scan(memoryview(MAIL))
    assert (from_view.subject, from_view.text) == ("Hallo", "Grüße\n")


@pytest.mark.parametrize("folder", ["ham", "spam", "german"])
def test_a_mapped_file_reads_like_its_bytes(folder: str) -> None:
    paths = sorted((MAILS / folder).glob("*.eml"))
    assert len(paths) >= 10
    for path in paths:
        expected = scan(path.read_bytes())
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            mail = scan(mapped)
            assert [(header.name, header.text) for header in mail.headers] == [
                (header.name, header.text) for header in expected.headers
            ]
            assert [part.payload() for part in mail.parts] == [
                part.payload() for part in expected.parts
            ]
            assert (mail.text, mail.links, mail.defects) == (
                expected.text,
                expected.links,
                expected.defects,
            )
            del mail


def test_empty_input_is_a_message_without_anything() -> None:
    mail = scan(b"")

    assert mail.headers == ()
    assert [part.content_type for part in mail.parts] == ["text/plain"]
    assert (mail.text, mail.subject, mail.from_address, mail.links) == ("", "", "", ())


def test_headers_only() -> None:
    mail = scan(b"Subject: x\nTo: y@z.example")

    assert [(header.name, header.raw) for header in mail.headers] == [
        ("Subject", b"x"),
        ("To", b"y@z.example"),
    ]
    assert mail.text == ""


def test_missing_empty_line_starts_the_body_at_the_first_line_that_is_no_field() -> None:
    mail = scan(b"Subject: x\nDies ist der Text.\nNoch: eine Zeile\n")

    assert [header.key for header in mail.headers] == ["subject"]
    assert mail.text == "Dies ist der Text.\nNoch: eine Zeile\n"
    assert mail.defects == (Defect.HEADER_END_MISSING,)


def test_a_text_that_begins_with_a_word_and_a_colon_after_a_space_is_no_header() -> None:
    mail = scan(b"Hallo : ich bin es\n")

    assert mail.headers == ()
    assert mail.text == "Hallo : ich bin es\n"


def test_space_before_the_colon_is_taken_inside_a_header() -> None:
    mail = scan(b"From: a@b.example\nSubject : x\n\ntext")

    assert mail.subject == "x"
    assert mail.defects == (Defect.HEADER_NAME_SPACE,)


def test_junk_in_the_header_is_skipped_and_named() -> None:
    mail = scan(b" stray\nFrom: a@b.example\n: no name\nFrom x Mon\nSubject: x\n\ntext")

    assert [header.key for header in mail.headers] == ["from", "subject"]
    assert mail.defects == (Defect.HEADER_JUNK,)
    assert mail.text == "text"


def test_folded_fields_are_unfolded() -> None:
    mail = scan(b"Subject: a\r\n b\r\n\tc\r\nX: d\n  e\n\n")

    assert [header.raw for header in mail.headers] == [b"a b\tc", b"d  e"]


def test_headers_are_found_by_lower_case_name() -> None:
    mail = scan(b"RECEIVED: one\nReceived: two\n\n")

    assert [header.raw for header in mail.headers_of("received")] == [b"one", b"two"]
    first = mail.header("received")
    assert first is not None
    assert (first.name, first.raw) == ("RECEIVED", b"one")
    assert mail.header("subject") is None
    assert mail.headers_of("subject") == ()


def test_nul_in_the_header_is_named() -> None:
    assert scan(b"Subject: a\0b\n\n").defects == (Defect.NUL_BYTE,)


@pytest.mark.parametrize(
    ("value", "content_type", "charset"),
    [
        (b"text/plain; charset=UTF-8", "text/plain", "utf-8"),
        (b'TEXT/HTML ; Charset="iso-8859-1" ; x=y', "text/html", "iso-8859-1"),
        (b"text/plain (a comment); charset=utf-8", "text/plain", "utf-8"),
        (b"text/plain;charset=us-ascii;format=flowed", "text/plain", "us-ascii"),
        (b"text/plain; charset*=utf-8''koi8-r", "text/plain", "koi8-r"),
        (b"text", "text/plain", None),
        (b"", "text/plain", None),
        (b"/", "text/plain", None),
        (b"a/b/c", "text/plain", None),
        (b'text/html; charset="utf-8', "text/html", "utf-8"),
    ],
)
def test_content_types(value: bytes, content_type: str, charset: str | None) -> None:
    part = scan(b"Content-Type: " + value + b"\n\nx").parts[0]

    assert (part.content_type, part.charset) == (content_type, charset)


@pytest.mark.parametrize(
    ("field", "filename"),
    [
        (b"Content-Disposition: attachment; filename=a.pdf", "a.pdf"),
        (b'Content-Disposition: attachment; filename="a;b \\"c\\".pdf"', 'a;b "c".pdf'),
        (b"Content-Disposition: attachment; filename*=utf-8''gr%C3%BC%C3%9Fe.pdf", "grüße.pdf"),
        (
            b"Content-Disposition: inline; filename*1*=%9Fe.p;\n filename*0*=utf-8'de'gr%C3%BC%C3",
            "grüße.p",
        ),
        (b'Content-Disposition: attachment; filename*0="a"; filename*1="b.exe"', "ab.exe"),
        (
            b'Content-Disposition: attachment; filename="=?utf-8?Q?gr=C3=BC=C3=9Fe.pdf?="',
            "grüße.pdf",
        ),
        (b"Content-Disposition: attachment; filename=gr\xc3\xbc\xc3\x9fe.pdf", "grüße.pdf"),
        (b"Content-Disposition: attachment; filename=a.pdf; filename*=utf-8''b.exe", "b.exe"),
        (b"Content-Type: image/png; name=c.png", "c.png"),
        (b"Content-Disposition: inline", None),
    ],
)
def test_file_names(field: bytes, filename: str | None) -> None:
    assert scan(field + b"\n\nx").parts[0].filename == filename


@pytest.mark.parametrize(
    ("encoding", "body", "payload"),
    [
        (b"7bit", b"a=41", b"a=41"),
        (b"x-unknown", b"a=41", b"a=41"),
        (b"Quoted-Printable", b"a=41=\nb=3", b"aAb=3"),
        (b"base64", b"aGFs\nbG8=\n", b"hallo"),
        (b"base64 (really)", b"aGFsbG8", b"hallo"),
        (b"base64", b"aG*Fs bG8", b"hallo"),
        (b"base64", b"aGFsbG8g\nZQ==\naGFsbG8=\n", b"hallo ehallo"),
        (b"base64", b"aGFsbG8=\n_______________\nThis is a list\n", b"hallo"),
        (b"base64", b"aGFsb", b"hal"),
        (b"base64", b"", b""),
        (b"base64", b"====", b""),
        (b"x-uuencode", b"begin 644 x.txt\n%:&%L;&\\\n`\nend\n", b"hallo"),
        (b"x-uuencode", b"no file at all", b"no file at all"),
    ],
)
def test_transfer_encodings(encoding: bytes, body: bytes, payload: bytes) -> None:
    raw = b"Content-Transfer-Encoding: " + encoding + b"\n\n" + body

    assert scan(raw).parts[0].payload() == payload


def test_broken_base64_in_a_text_is_named() -> None:
    raw = b"Content-Transfer-Encoding: base64\n\naGFsbG8g\nZQ==\naGFsbG8=\n"

    assert scan(raw).defects == (Defect.BAD_BASE64,)
