"""The scanner over any bytes: it never raises, keeps its caps, and says the same twice."""

import email
from email import policy as policies
from email.header import decode_header, make_header
from email.message import EmailMessage

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.addresses import MAX_BYTES, first_mailbox
from models.entities import unescape, unescape_attribute
from models.html_text import HtmlFacts, html_to_text
from models.limits import DEFAULT_LIMITS, ScanLimits
from models.links import LinkCollector
from models.message import ParsedMail, scan
from models.mime_parameters import parse_parameters
from models.sample import allot
from models.transfer import decode_transfer

PIECES = [
    b"\n", b"\r\n", b"\r", b"\n\n", b" ", b"\t", b"\x00", b"\xff\xfe", b"\xc3", b"\x1b$B", b"--b",
    b"\n--b\n", b"\n--b--\n", b"\n--c\n", b"\n--c--", b"From ", b">From x\n", b"From: a <b@c>\n",
    b"Subject: ", b"Subject : x\n", b"=?utf-8?q?", b"=?utf-8?b?w7w=?=", b"?=", b"=?", b"=C3=BC",
    b"Content-Type: multipart/mixed; boundary=b\n",
    b"Content-Type: multipart/digest; boundary=c\n", b"Content-Type: text/html; charset=",
    b"Content-Type: message/rfc822\n", b"utf-16\n", b"utf-7\n", b"gb2312\n", b"iso-2022-jp\n",
    b"utf-8\n", b"x-none\n", b"Content-Transfer-Encoding: base64\n",
    b"Content-Transfer-Encoding: quoted-printable\n", b"Content-Transfer-Encoding: uuencode\n",
    b"Content-Disposition: attachment; filename", b"*0*=utf-8''%C3", b"*1=", b'="', b'"', b"\\",
    b";", b"begin 644 x\n", b"%:&%L;&\\\n", b"end\n", b"QUJD", b"QQ==", b"=", b"=\n", b"<", b">",
    b"<a href=", b"http://x.example/", b"www.x.example", b"</a>", b"<div style='display:none'>",
    b"</div>", b"<p>", b"<!--", b"-->", b"<style>", b"</style>", b"<img src=//x width=1>",
    b"&amp;", b"&#", b"&#x41;", b"&#128;", b"\xe2\x80\x8b", b"text", b"Wort ", b":", b"(", b")",
    b",", b"@",
]  # fmt: skip
mime_like = st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=60).map(b"".join)
mails = st.binary(max_size=400) | mime_like
limits = st.builds(
    ScanLimits,
    max_bytes=st.integers(0, 600),
    max_header_bytes=st.integers(1, 300),
    max_headers=st.integers(1, 5),
    max_header_text_bytes=st.integers(0, 50),
    max_parts=st.integers(1, 4),
    max_depth=st.integers(0, 3),
    min_search_bytes=st.integers(0, 500),
    max_search_passes=st.integers(0, 2),
    max_decoded_bytes=st.integers(0, 200),
    max_sample_bytes=st.integers(0, 200),
    max_text_chars=st.integers(0, 100),
    max_tags=st.integers(1, 5),
    max_links=st.integers(0, 6),
    max_url_chars=st.integers(0, 20),
    max_anchor_chars=st.integers(0, 10),
) | st.just(DEFAULT_LIMITS)


def everything(mail: ParsedMail) -> list[object]:
    return [
        [(header.name, header.key, header.raw, header.text) for header in mail.headers],
        [
            (
                part.content_type,
                part.charset,
                part.disposition,
                part.filename,
                part.transfer_encoding,
                part.path,
                part.depth,
                part.size_bytes,
                part.defects,
                part.payload(),
                part.text(),
                repr(part),
            )
            for part in mail.parts
        ],
        (mail.text, mail.hidden_text, mail.links, mail.html, mail.defects, mail.truncated),
        (mail.subject, mail.from_name, mail.from_address, mail.size_bytes),
    ]


@given(mails, limits)
@example(b"", ScanLimits(max_bytes=0, max_parts=1, max_depth=0))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_scan_never_raises_and_keeps_its_caps(raw: bytes, caps: ScanLimits) -> None:
    mail = scan(raw, caps)

    assert len(mail.headers) <= caps.max_headers
    assert all(len(header.text) <= caps.max_header_text_bytes for header in mail.headers)
    assert 1 <= len(mail.parts) <= caps.max_parts
    assert all(part.depth <= caps.max_depth for part in mail.parts)
    assert sum(part.size_bytes for part in mail.parts) <= min(len(raw), caps.max_bytes)
    assert sum(len(part.payload()) for part in mail.parts) <= caps.max_decoded_bytes
    assert len(mail.text) <= caps.max_text_chars
    assert len(mail.hidden_text) <= caps.max_text_chars // 4
    assert len(mail.links) <= caps.max_links
    assert all(len(link.url) <= caps.max_url_chars for link in mail.links)
    assert all(len(link.text) <= caps.max_anchor_chars for link in mail.links)
    assert mail.html.tags <= len(mail.parts) * 2 * (caps.max_tags + 1 + 16_384)
    assert len(mail.subject) <= caps.max_header_text_bytes
    assert len(mail.from_name) + len(mail.from_address) <= MAX_BYTES


@given(mails, limits)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_scan_says_the_same_twice_and_nothing_that_cannot_be_written(
    raw: bytes, caps: ScanLimits
) -> None:
    once = everything(scan(raw, caps))

    assert everything(scan(memoryview(raw), caps)) == once
    repr(once).encode("utf-8")
    mail = scan(raw, caps)
    for text in (mail.text, mail.hidden_text, mail.subject, mail.from_name, mail.from_address):
        text.encode("utf-8")
    for link in mail.links:
        (link.url + link.text).encode("utf-8")
    for part in mail.parts:
        (part.filename or "").encode("utf-8")


@given(mime_like)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_crlf_changes_neither_structure_nor_text(raw: bytes) -> None:
    lines = raw.replace(b"\r", b"")
    unix, wire = scan(lines), scan(lines.replace(b"\n", b"\r\n"))

    assert [(header.name, header.raw) for header in unix.headers] == [
        (header.name, header.raw) for header in wire.headers
    ]
    assert [(part.content_type, part.path, part.filename) for part in unix.parts] == [
        (part.content_type, part.path, part.filename) for part in wire.parts
    ]


words = st.text("aZ09äß€漢😀=?_&<>-.'", min_size=1, max_size=8)
sentences = st.lists(words, min_size=1, max_size=8).map(" ".join)


@given(
    subject=sentences,
    name=words,
    text=st.lists(sentences, max_size=5).map("\n".join),
    html=st.none() | sentences,
    attachments=st.lists(st.tuples(st.binary(max_size=200), words), max_size=3),
    policy=st.sampled_from([policies.SMTP, policies.default]),
    charset=st.sampled_from(["utf-8", "utf-7"]),
    encoding=st.sampled_from(["base64", "quoted-printable"]),
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_the_standard_library_writes_is_read_back(
    subject: str,
    name: str,
    text: str,
    html: str | None,
    attachments: list[tuple[bytes, str]],
    policy: object,
    charset: str,
    encoding: str,
) -> None:
    message = EmailMessage(policy=policy)
    message["Subject"] = subject
    message["From"] = f'"Anna" <anna@{"a" * 5}.example>'
    message.set_content(text + "\n", charset=charset, cte=encoding)
    if html is not None:
        escaped = html.replace("&", "&amp;").replace("<", "&lt;")
        message.add_alternative(f"<p>{escaped}</p>", subtype="html", cte=encoding)
    for data, filename in attachments:
        message.add_attachment(
            data, maintype="application", subtype="octet-stream", filename=f"{filename}.bin"
        )
    raw = message.as_bytes()
    mail = scan(raw)

    # Compared with the library's own reading: its writer loses blanks where it folds.
    written = email.message_from_bytes(raw)["Subject"]
    assert mail.subject == " ".join(str(make_header(decode_header(written))).split())
    assert mail.subject.replace(" ", "") == subject.replace(" ", "")
    assert (mail.from_name, mail.from_address) == ("Anna", "anna@aaaaa.example")
    assert mail.parts[0].text().replace("\r\n", "\n") == text + "\n"
    if html is not None:
        assert mail.parts[1].text() == html
    attached = [part for part in mail.parts if part.disposition == "attachment"]
    assert [(part.payload(), part.filename) for part in attached] == [
        (data, f"{filename}.bin") for data, filename in attachments
    ]
    assert mail.defects == ()


@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from([p.decode("latin-1") for p in PIECES])).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_html_never_raises_and_shows_no_more_than_there_is(page: str) -> None:
    collector = LinkCollector(DEFAULT_LIMITS)
    text = html_to_text(page, DEFAULT_LIMITS, HtmlFacts(), collector)

    assert len(text.visible) + len(text.hidden) <= len(page) + page.count("<")
    assert isinstance(collector.links(), tuple)
    assert len(unescape(page)) <= len(page)
    assert len(unescape_attribute(page)) <= len(page)


@given(
    st.binary(max_size=300) | mime_like,
    st.sampled_from(["base64", "quoted-printable", "uuencode", "7bit", "none"]),
)
@settings(max_examples=300, deadline=None)
def test_transfer_decoding_never_grows(data: bytes, encoding: str) -> None:
    decoded, _ = decode_transfer(data, encoding)

    assert len(decoded) <= len(data)


@given(st.binary(max_size=300) | mime_like)
@settings(max_examples=300, deadline=None)
def test_field_values_never_raise(raw: bytes) -> None:
    mailbox = first_mailbox(raw)
    parameters = parse_parameters(raw)

    assert len(mailbox.address) <= len(raw)
    assert len(parameters.plain) + len(parameters.extended) <= 64
    assert all(name == name.lower() for name, _ in parameters.plain)


@given(st.lists(st.integers(0, 1000), max_size=30), st.integers(0, 5000))
def test_shares_fit_sizes_and_budget(sizes: list[int], budget: int) -> None:
    shares = allot(sizes, budget)

    assert len(shares) == len(sizes)
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    assert sum(shares) <= budget
    assert sum(shares) >= min(sum(sizes), budget - len(sizes))
