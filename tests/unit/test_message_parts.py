"""Multiparts and attached messages: which bytes are which part, and what limits keep."""

import base64

import pytest

from models.message import Defect, ParsedMail, ScanLimits, scan


def multipart(body: bytes, kind: bytes = b'multipart/mixed; boundary="b"') -> bytes:
    return b"From: a@b.example\nMIME-Version: 1.0\nContent-Type: " + kind + b"\n\n" + body


def types(mail: ParsedMail) -> list[str]:
    return [part.content_type for part in mail.parts]


def payloads(mail: ParsedMail) -> list[bytes]:
    return [part.payload() for part in mail.parts]


def test_parts_come_in_order_with_path_depth_and_size() -> None:
    raw = multipart(
        b"preamble\n"
        b"--b\nContent-Type: multipart/alternative; boundary=c\n\n"
        b"--c\n\nplain\n--c\nContent-Type: text/html\n\n<b>html</b>\n--c--\nepilogue\n"
        b"--b\nContent-Type: image/png; name=a.png\n"
        b"Content-Transfer-Encoding: BASE64\nContent-Disposition: Attachment\n\niVBO\n"
        b"--b--\nepilogue\n"
    )
    mail = scan(raw)

    assert [(part.content_type, part.path, part.depth) for part in mail.parts] == [
        ("text/plain", (1, 1), 2),
        ("text/html", (1, 2), 2),
        ("image/png", (2,), 1),
    ]
    assert payloads(mail) == [b"plain", b"<b>html</b>", b"\x89PN"]
    image = mail.parts[2]
    assert (image.filename, image.disposition, image.transfer_encoding, image.size_bytes) == (
        "a.png",
        "attachment",
        "base64",
        4,
    )
    assert mail.text == "plain\nhtml"
    assert mail.parts[1].text() == "html"
    assert mail.parts[2].text() == ""
    assert mail.defects == ()


def test_crlf_before_a_delimiter_belongs_to_the_delimiter() -> None:
    mail = scan(multipart(b"--b\n\none\r\n\r\n--b\r\n\r\ntwo\r\n--b--\r\n"))

    assert payloads(mail) == [b"one\r\n", b"two"]


def test_delimiter_lines_may_be_padded_but_not_longer() -> None:
    mail = scan(multipart(b"--b  \t\n\none\n--bc\n--b-\n--b-- x\n--b\t\r\n\ntwo\n--b--   "))

    assert payloads(mail) == [b"one\n--bc\n--b-\n--b-- x", b"two"]
    assert mail.defects == ()


def test_no_part_lies_between_delimiters_in_a_row() -> None:
    mail = scan(multipart(b"--b\n--b\n\none\n--b--"))

    assert payloads(mail) == [b"one"]


def test_unclosed_multipart_keeps_its_last_part() -> None:
    mail = scan(multipart(b"--b\n\none\n--b\n\ntwo\n"))

    assert payloads(mail) == [b"one", b"two\n"]
    assert mail.defects == (Defect.BOUNDARY_NOT_CLOSED,)


@pytest.mark.parametrize(
    ("kind", "defect"),
    [
        (b"multipart/mixed", Defect.BOUNDARY_MISSING),
        (b'multipart/mixed; boundary=""', Defect.BOUNDARY_MISSING),
        (b"multipart/mixed; boundary=other", Defect.BOUNDARY_NOT_FOUND),
    ],
)
def test_a_multipart_that_falls_apart_is_one_part_whose_text_is_read(
    kind: bytes, defect: Defect
) -> None:
    mail = scan(multipart(b"--b\n\nhidden spam\n--b--\n", kind))

    assert types(mail) == ["multipart/mixed"]
    assert mail.defects == (defect,)
    assert "hidden spam" in mail.text


def test_an_outer_delimiter_ends_the_parts_inside() -> None:
    mail = scan(
        multipart(
            b"--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\ninner\n--b\n\nouter\n--b--"
        )
    )

    assert payloads(mail) == [b"inner", b"outer"]
    assert [part.path for part in mail.parts] == [(1, 1), (2,)]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        (b"boundary=b; boundary=c", [b"by b"]),
        (b"boundary=c; boundary=b", [b"by c"]),
        (b"boundary=b; boundary*=\"utf-8''c\"", [b"by b"]),
        (b"boundary=x; boundary=c", [b"by c"]),
    ],
)
def test_two_boundaries_are_ambiguous(parameters: bytes, found: list[bytes]) -> None:
    body = b"--b\n\nby b\n--b--\n--c\n\nby c\n--c--\n"
    mail = scan(multipart(body, b"multipart/mixed; " + parameters))

    assert payloads(mail) == found
    assert Defect.AMBIGUOUS_BOUNDARY in mail.defects


def test_the_same_boundary_twice_is_not_ambiguous() -> None:
    mail = scan(multipart(b"--b\n\none\n--b--", b"multipart/mixed; boundary=b; boundary=b"))

    assert mail.defects == ()


def test_two_content_types_are_ambiguous_and_the_first_counts() -> None:
    mail = scan(b"Content-Type: text/html\nContent-Type: text/plain\n\n<b>x</b>")

    assert types(mail) == ["text/html"]
    assert mail.defects == (Defect.AMBIGUOUS_TYPE,)


def test_an_attached_message_is_taken_apart() -> None:
    mail = scan(
        multipart(
            b"--b\n\nsee attachment\n"
            b"--b\nContent-Type: message/rfc822\n\n"
            b"From: x@y.example\nContent-Type: text/html\n\n<p>inner</p>\n--b--"
        )
    )

    assert types(mail) == ["text/plain", "text/html"]
    assert mail.parts[1].path == (2, 1)
    assert mail.text == "see attachment\ninner"


def test_parts_of_a_digest_are_messages() -> None:
    mail = scan(
        multipart(
            b"--b\n\nSubject: one\n\nfirst\n--b\nContent-Type: text/plain\n\nsecond\n--b--",
            b"multipart/digest; boundary=b",
        )
    )

    assert payloads(mail) == [b"first", b"second"]


def test_an_encoded_message_is_one_part_whose_text_is_read() -> None:
    inner = base64.encodebytes(b"Subject: x\n\nhidden spam\n")
    mail = scan(b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + inner)

    assert types(mail) == ["message/rfc822"]
    assert mail.defects == (Defect.ENCODED_MESSAGE,)
    assert "hidden spam" in mail.text


def test_delivery_reports_stay_leaves() -> None:
    mail = scan(b"Content-Type: message/delivery-status\n\nStatus: 5.1.1\n")

    assert types(mail) == ["message/delivery-status"]
    assert mail.text == "Status: 5.1.1\n"


def nested(depth: int) -> bytes:
    heads = [
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
        for level in range(depth)
    ]
    return b"".join(heads) + b"\ninnermost spam\n"


def test_nesting_up_to_the_limit_is_taken_apart() -> None:
    mail = scan(nested(20))

    assert types(mail) == ["text/plain"]
    assert mail.parts[0].depth == 20
    assert not mail.truncated


def test_nesting_beyond_the_limit_is_one_part_whose_text_is_read() -> None:
    mail = scan(nested(400))

    assert types(mail) == ["multipart/mixed"]
    assert mail.parts[0].depth == 20
    assert Defect.TOO_DEEP in mail.defects
    assert "innermost spam" in mail.text
    assert mail.truncated


def test_too_many_parts_keep_the_last_one() -> None:
    many = b"--b\n\nharmless\n" * 100_000
    mail = scan(multipart(many + b"--b\n\nlast spam\n--b--\n"))

    assert len(mail.parts) == 500
    assert mail.parts[-1].payload() == b"last spam"
    assert Defect.TOO_MANY_PARTS in mail.defects
    assert mail.text.endswith("last spam")


def test_parts_used_up_deep_inside_leave_room_for_the_last_one() -> None:
    inner = b"--c\n\nharmless\n" * 1000 + b"--c--\n"
    raw = multipart(
        b"--b\nContent-Type: multipart/mixed; boundary=c\n\n" + inner + b"\n"
        b"--b\n\nmiddle\n--b\n\nlast spam\n--b--\n"
    )
    mail = scan(raw)

    assert len(mail.parts) == 500
    assert mail.parts[-1].payload() == b"last spam"


def test_a_flood_of_delimiter_look_alikes_is_given_up() -> None:
    mail = scan(multipart(b"--b\n\none\n" + b"--bx\n" * 100_000 + b"--b\n\nlast\n--b--\n"))

    assert len(mail.parts) == 2
    assert mail.parts[-1].payload() == b"last"
    assert Defect.TOO_MANY_PARTS in mail.defects


def test_too_many_fields_end_the_header_at_its_empty_line() -> None:
    mail = scan(b"X: y\n" * 50_000 + b"Subject: late\n\nbody")

    assert len(mail.headers) == 1000
    assert mail.defects == (Defect.HEADERS_TRUNCATED,)
    assert mail.text == "body"
    assert mail.truncated


def test_an_endless_header_is_cut_and_its_rest_read_as_text() -> None:
    mail = scan(b"X: " + b"y" * 3_000_000 + b" spam at the end")

    assert len(mail.headers) == 1
    assert len(mail.headers[0].raw) < 256 * 1024
    assert mail.defects == (Defect.HEADERS_TRUNCATED,)
    assert mail.text.endswith("spam at the end")


def test_bytes_beyond_the_limit_are_not_read() -> None:
    mail = scan(b"Subject: x\n\n" + b"a" * 100, ScanLimits(max_bytes=50))

    assert mail.size_bytes == 112
    assert mail.parts[0].size_bytes == 38
    assert mail.defects == (Defect.TOO_LARGE,)
    assert mail.truncated


def test_payloads_share_one_budget() -> None:
    raw = multipart(b"--b\n\n" + b"x" * 60 + b"\n--b\n\n" + b"y" * 60 + b"\n--b--")
    mail = scan(raw, ScanLimits(max_decoded_bytes=100))

    assert [len(payload) for payload in payloads(mail)] == [60, 40]
