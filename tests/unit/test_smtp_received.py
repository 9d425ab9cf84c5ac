"""Our Received field: well-formed whatever strangers call themselves; and counting them."""

import email
import email.policy
import mmap
import re
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.addresses import Address, parse_address
from gateway.core.mail import Envelope, Mail, Session
from gateway.smtp.received import count_received, received_field

_ANNA = Address(spelling="Anna@example.org", local="anna", domain="example.org")
_BERT = Address(spelling="bert@example.org", local="bert", domain="example.org")
_FIELD = re.compile(
    r"Received: from \S+ \([^()\r\n]*\)\r\n"
    r"\tby \S+ with [A-Z0-9]+(?: \(\S+ \S+\))?\r\n"
    r"\tid 1jd8m3q7k-n1-4h2k0a9(?:\r\n\tfor <[^\r\n]*>)?;\r\n"
    r"\tTue, 14 Nov 2023 22:13:20 \+0000\r\n\Z"
)


def _field(
    *,
    helo: str = "client.example",
    ip: str = "192.0.2.7",
    esmtp: bool = True,
    rdns: str = "",
    tls: tuple[str, str] = ("", ""),
    to: tuple[Address, ...] = (_ANNA,),
    smtputf8: bool = False,
    authenticated_as: str = "",
) -> str:
    mail = Mail(
        id="1jd8m3q7k-n1-4h2k0a9",
        received_at_ms=1_700_000_000_123,
        session=Session(
            ip=ip,
            port=1234,
            helo=helo,
            esmtp=esmtp,
            rdns=rdns,
            tls_version=tls[0],
            tls_cipher=tls[1],
            authenticated_as=authenticated_as,
        ),
        envelope=Envelope(mail_from="", rcpt_to=to, smtputf8=smtputf8),
        content=b"",
        sha256="",
    )
    return received_field(mail, hostname="mx.example.org")


def test_the_whole_field() -> None:
    field = _field(rdns="host.client.example", tls=("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
    assert field == (
        "Received: from client.example (host.client.example [192.0.2.7])\r\n"
        "\tby mx.example.org with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
        "\tid 1jd8m3q7k-n1-4h2k0a9\r\n"
        "\tfor <Anna@example.org>;\r\n"
        "\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("spelling", "routed"),
    [
        ("Anna@müller.example", "Anna@xn--mller-kva.example"),
        ("jürgen@müller.example", "jürgen@xn--mller-kva.example"),
        ("anna@Example.Org.", "anna@Example.Org."),
    ],
)
def test_a_domain_beyond_ascii_does_not_make_it_8_bit(spelling: str, routed: str) -> None:
    assert f"for <{routed}>;" in _field(to=(parse_address(spelling),), smtputf8=True)


def test_several_recipients_are_not_told_of_each_other() -> None:
    field = _field(to=(_ANNA, _BERT))
    assert "anna" not in field.lower()
    assert "bert" not in field
    assert _FIELD.match(field)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"esmtp": False}, "with SMTP\r"),
        ({}, "with ESMTP\r"),
        ({"tls": ("TLSv1.2", "X")}, "with ESMTPS (TLSv1.2 X)\r"),
        ({"smtputf8": True}, "with UTF8SMTP\r"),
        ({"smtputf8": True, "tls": ("TLSv1.2", "X")}, "with UTF8SMTPS (TLSv1.2 X)\r"),
        ({"authenticated_as": "anna"}, "with ESMTPA\r"),
        ({"ip": "2001:db8::1"}, "from client.example ([IPv6:2001:db8::1])"),
        ({"helo": "[192.0.2.9]"}, "from [192.0.2.9] ([192.0.2.7])"),
        ({"helo": "[IPv6:2001:db8::9]"}, "from [IPv6:2001:db8::9] ([192.0.2.7])"),
        ({"helo": "my pc (home)"}, "from unknown ([192.0.2.7] helo=my?pc??home?)"),
        ({"helo": "x\r\nX-Spam: no"}, "from unknown ([192.0.2.7] helo=x??X-Spam:?no)"),
        ({"rdns": "a)\r\nX: y"}, "(a???X:?y [192.0.2.7])"),
    ],
)
def test_facts(facts: dict[str, object], expected: str) -> None:
    field = _field(**facts)  # type: ignore[arg-type]
    assert expected in field
    assert _FIELD.match(field)


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=40))
def test_no_stranger_can_add_a_field(helo: str, rdns: str, cipher: str) -> None:
    field = _field(helo=helo, rdns=rdns, tls=("TLSv1.3", cipher or "x"))
    assert _FIELD.match(field)
    assert max(len(line) for line in field.split("\r\n")) < 998
    parsed = email.message_from_string(field + "\r\nbody", policy=email.policy.compat32)
    assert parsed.keys() == ["Received"]
    assert parsed.defects == []


_FIELDS = b"Received: a\r\nX-Received: b\r\nreceived: c\r\n\tReceived: folded\r\nRECEIVED:d\r\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", 0),
        (b"Received: a\r\n", 1),
        (_FIELDS, 3),
        (_FIELDS + b"\r\nReceived: body\r\n", 3),
        (b"\r\nReceived: body\r\n", 0),
        (b"Subject: x\r\n" + _FIELDS, 3),
        (b"Received:" * 50, 1),
    ],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_counting(content: bytes, expected: int, mapped: bool) -> None:
    if not mapped:
        assert count_received(content, 100) == expected
    elif content:
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                assert count_received(view, 100) == expected


@pytest.mark.parametrize("padding", range(20))
def test_a_field_across_a_piece_border_counts_once(padding: int) -> None:
    filler = b"X: " + b"y" * (64 * 1024 - 20 + padding) + b"\r\n"
    assert count_received(filler + b"Received: a\r\n" + filler + b"Received: b\r\n\r\n", 100) == 2


def test_counting_stops_when_it_is_enough_and_where_no_loop_writes() -> None:
    many = b"Received: a\r\n" * 20_000
    assert 100 < count_received(many, 100) < 20_000
    far = b"X: y\r\n" * 200_000
    assert count_received(far + b"Received: a\r\n", 100) == 0
