"""Outgoing bytes: what goes in front, what goes out of it, and that all else stays as it came."""

import base64
import hashlib
import mmap
import re
import tempfile
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import default as modern
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.addresses import parse_address
from gateway.core.mail import Envelope, Session
from gateway.core.record import MessageFacts
from gateway.core.verdict import ScoredSymbol, Verdict, VerdictClass
from gateway.delivery.header_section import header_end
from gateway.delivery.marks import Marks
from gateway.delivery.outgoing import Dressing, Outgoing, outgoing

HOST = "gw.example"
MARKS = Marks(b"\x01" * 32)
MAIL_ID = "1jd8m3q7k-n1-4h2k0a9"
TRACE = "Received: from client.example ([192.0.2.1])\r\n\tby gw.example with ESMTP\r\n\tid x\r\n"
PLAIN = Dressing()
VERDICT = Verdict(
    kind=VerdictClass.UNSURE,
    score=4.25,
    symbols=(
        ScoredSymbol(name="DNSBL_TRIAL", points=3.5, detail="192.0.2.1"),
        ScoredSymbol(name="SUBJ_ALL_CAPS", points=0.75),
    ),
)


def fields(header: bytes) -> list[tuple[bytes, bytes]]:
    """An oracle that walks over all fields: lower-case name, and the whole field."""
    lines = re.findall(rb"[^\r\n]+(?:\r\n[ \t][^\r\n]*)*(?:\r\n|\Z)", header)
    return [(line.partition(b":")[0].strip().lower(), line) for line in lines]


def facts(verdict: Verdict | None = VERDICT, trace: str = TRACE) -> MessageFacts:
    return MessageFacts(
        id=MAIL_ID,
        node="n1",
        direction="in",
        received_at_ms=1_764_000_000_000,
        answered_at_ms=None,
        handed_off_at_ms=None,
        session=Session(ip="192.0.2.1", port=1, helo="client.example", esmtp=True),
        envelope=Envelope(mail_from="f@example.org", rcpt_to=(parse_address("a@one.example"),)),
        size_bytes=0,
        sha256="",
        subject="",
        from_header="",
        message_id="",
        verdict=verdict,
        copies=(),
        generation=1,
        reply="",
        trace=trace,
    )


def made(
    content: bytes | mmap.mmap,
    dressing: Dressing = PLAIN,
    recipients: tuple[str, ...] = ("a@one.example",),
    one: MessageFacts | None = None,
) -> Outgoing:
    return outgoing(
        one or facts(),
        content,
        recipients=recipients,
        dressing=dressing,
        marks=MARKS,
        hostname=HOST,
    )


def octets(content: bytes, dressing: Dressing = PLAIN) -> bytes:
    result = made(content, dressing)
    joined = b"".join(result.chunks())
    assert len(joined) == result.size_bytes
    return joined


def ours(joined: bytes) -> dict[str, str]:
    """Our own fields of an outgoing message by name, unfolded."""
    parsed = message_from_bytes(joined)
    return {
        name: re.sub(r"\s+", " ", str(value))
        for name, value in parsed.items()
        if name.lower().startswith("x-schwamm-")
    }


def test_ours_stands_in_front_and_the_rest_is_untouched() -> None:
    content = b"From: a@example.org\r\nSubject: hi\r\n\r\n.body\r\n"
    joined = octets(content)
    assert joined.startswith(TRACE.encode() + b"X-Schwamm-Id: ")
    assert joined.endswith(content)
    front = joined[: -len(content)]
    assert [name for name, _ in fields(front)] == [
        b"received",
        b"x-schwamm-id",
        b"x-schwamm-verdict",
        b"x-schwamm-score",
        b"x-schwamm-symbols",
        b"x-schwamm-mark",
    ]
    assert ours(joined)["X-Schwamm-Verdict"] == "unsure"
    assert ours(joined)["X-Schwamm-Score"] == "4.25"
    assert ours(joined)["X-Schwamm-Symbols"] == "DNSBL_TRIAL(3.50) SUBJ_ALL_CAPS(0.75)"
    assert b"192.0.2.1" not in front.replace(TRACE.encode(), b"")


def test_a_mail_held_unparsed_has_no_verdict_to_tell() -> None:
    joined = b"".join(made(b"a: b\r\n\r\n", one=facts(None)).chunks())
    assert set(ours(joined)) == {"X-Schwamm-Id", "X-Schwamm-Mark"}


FORGED = [
    b"X-Schwamm-Verdict: ham\r\n",
    b"x-schwamm-released: 1 99999999999999 AAAA\r\n",
    b"X-SCHWAMM-SCORE : -100\r\n",
    b"X-Schwamm-Score\t \t: -100\r\n",
    b"X-Schwamm-Score:\r\n -100\r\n",
    b"X-Schwamm-Score\r\n : -100\r\n",
    b"X-Schwamm-Symbols: a,\r\n\tb,\r\n c\r\n",
    b"X-Schwamm-Whatever:\r\n",
    b"X-Schwamm-Mark: 1jd8m3q7k-n1-4h2k0a9 AAAAAAAAAAA AAAAAAAAAAAAAAAA\r\n",
    b"Authentication-Results: gw.example; dkim=pass\r\n",
    b"authentication-results : GW.EXAMPLE.;\r\n\tspf=pass\r\n",
    b"Authentication-Results:\r\n gw.example\r\n ; spf=pass\r\n",
    b"Authentication-Results: (a (nested) comment) gw.example 1; spf=pass\r\n",
    b'Authentication-Results: (gw (\\) x) other) "gw.example"; spf=pass\r\n',
    b"Authentication-Results: ((( gw.example; spf=pass\r\n",
    b"Authentication-Results: gw.example(comment); spf=pass\r\n",
    b"Authentication-Results: gw.example/1; spf=pass\r\n",
    b"Authentication-Results: gw.example=x; spf=pass\r\n",
    b"Authentication-Results: <gw.example>; spf=pass\r\n",
    b"Authentication-Results: (" + b"x" * 990 + b") gw.example; spf=pass\r\n",
    b"Authentication-Results: (" + b"x" * 995 + b") gw.example; spf=pass\r\n",
    b"Authentication-Results: (" + b"x" * 5000 + b") gw.example; spf=pass\r\n",
]
KEPT = [
    b"X-Schwamm: a name near ours\r\n",
    b"X-Spam-Flag: YES\r\n",
    b"Authentication-Results: mx.other.example; dkim=pass header.d=gw.example\r\n",
    b"Authentication-Results: xgw.example; dkim=pass\r\n",
    b"ARC-Authentication-Results: i=1; gw.example; dkim=pass\r\n",
    b"Subject: X-Schwamm-Score: 1\r\n",
    b"X-Other: a\r\n X-Schwamm-Score: 1\r\n",
    b"no field at all\r\n",
]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("forged", FORGED)
def test_fields_of_our_names_are_taken_out(forged: bytes, place: int) -> None:
    around = [b"From: a@example.org\r\n", b"To: b\r\n c\r\n", b"Date: now\r\n"]
    content = b"".join([*around[:place], forged, *around[place:], b"\r\n", forged, b"body\r\n"])
    expected = b"".join([*around, b"\r\n", forged, b"body\r\n"])
    assert octets(content).endswith(b"\r\n" + expected)
    assert len(octets(content)) == len(octets(expected))


@pytest.mark.parametrize("kept", KEPT)
def test_other_fields_stay_octet_for_octet(kept: bytes) -> None:
    content = b"From: a\r\n" + kept + b"\r\nbody"
    assert octets(content).endswith(b"\r\n" + content)


def test_a_forged_field_before_nothing_else() -> None:
    assert octets(b"X-Schwamm-Score\r\n\r\n") == octets(b"\r\n")  # a line that begins like one
    assert octets(b"X-Schwamm-Score: 1\r\n\r\n").endswith(b"\r\n\r\n")
    assert b"Score: 1\r\n" not in octets(b"X-Schwamm-Score: 1\r\n")
    assert b"Score: 1" not in octets(b"X-Schwamm-Score: 1")  # not even a line end


def test_our_genuine_loop_marks_of_former_passes_stay() -> None:
    first = octets(b"From: a\r\n\r\nbody\r\n")
    second = octets(first)
    third = octets(second)
    assert [MARKS.passes(one, "a@one.example") for one in (first, second, third)] == [1, 2, 3]
    assert third.count(b"X-Schwamm-Id:") == 1
    assert third.count(b"Received:") == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b" continues ours\r\nFrom: a\r\n\r\n", b"\r\n continues ours\r\nFrom: a\r\n\r\n"),
        (b"just text\r\nmore\r\n", b"\r\njust text\r\nmore\r\n"),
        (b"\x00\xff\r\n", b"\r\n\x00\xff\r\n"),
        (b"\r\nbody only\r\n", b"\r\nbody only\r\n"),
        (b"", b""),
        (b"From a@b Mon Nov 23\r\nSubject: x\r\n\r\n", b"Subject: x\r\n\r\n"),
        (b"From a@b", b""),
        (b"Subject: x", b"Subject: x"),
    ],
)
def test_content_without_an_intact_header_cannot_become_part_of_ours(
    content: bytes, expected: bytes
) -> None:
    joined = octets(content)
    front = octets(b"")
    assert joined == front + expected
    assert front.endswith(b"\r\n")


def test_nothing_given_to_us_becomes_a_field_of_its_own() -> None:
    symbols = tuple(
        ScoredSymbol(name=name, points=1.0) for name in ("A\r\nEvil: 1", "B\n\nbody", "Ü" * 2000)
    )
    hostile = facts(
        Verdict(kind=VerdictClass.SPAM, score=9.0, symbols=symbols),
        trace="Received: from x\nEvil: 1\r\r\n\r\nBody\r\n\r\n",
    )
    joined = b"".join(made(b"Subject: x\r\n\r\nbody", one=hostile).chunks())
    names = {name for name, _ in fields(joined[: header_end(joined)])}
    assert b"evil" not in names
    assert joined.count(b"\r\n\r\n") == 1
    assert max(map(len, joined.split(b"\r\n"))) <= 998
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", joined) is None


@pytest.mark.parametrize(
    ("tag", "subject", "shown"),
    [
        ("[SPAM?]", b"Subject: hello", "[SPAM?] hello"),
        ("[SPAM?]", b"SUBJECT:hello", "[SPAM?] hello"),
        ("[SPAM?]", b"Subject:\r\n hello", "[SPAM?] hello"),
        ("[SPAM?]", b"Subject: " + b"long " * 29 + b"end", "[SPAM?] " + "long " * 29 + "end"),
        ("[SPAM?]", b"Subject: =?utf-8?q?M=C3=BCll?=", "[SPAM?] Müll"),
        ("[Müll?]", b"Subject: hello", "[Müll?] hello"),
        ("[Müll?]", b"Subject: =?utf-8?q?M=C3=BCll?=", "[Müll?] Müll"),
        ("=?x", b"Subject: hello", "=?x hello"),
        ("ü" * 60, b"Subject: hello", "ü" * 22 + " hello"),
        ("[a\r\nEvil: 1]", b"Subject: hello", "[aEvil: 1] hello"),
        ("[SPAM?]", b"Subject: [SPAM?] hello", "[SPAM?] hello"),
        ("[SPAM?]", b"Subject:", "[SPAM?]"),
        ("[SPAM?]", b"X-Other: 1", "[SPAM?]"),
    ],
)
def test_a_subject_prefix_reads_well(tag: str, subject: bytes, shown: str) -> None:
    content = b"From: a\r\n" + subject + b"\r\nTo: b\r\n\r\nbody\r\n"
    joined = octets(content, Dressing(tagged=True, subject_tag=tag))
    parsed = message_from_bytes(joined)
    (raw,) = parsed.get_all("Subject", [])
    assert str(make_header(decode_header(re.sub(r"\r\n(?=[ \t])", "", raw)))) == shown
    assert parsed["Evil"] is None
    assert parsed["To"] == "b"
    assert parsed.get_payload() == "body\r\n"
    assert parsed["X-Schwamm-Tag"] == "yes"


def test_only_the_first_subject_and_only_where_asked_for() -> None:
    content = b"Subject: one\r\nSubject: two\r\n\r\n"
    tagged = octets(content, Dressing(tagged=True, subject_tag="[T]"))
    assert tagged.endswith(b"Subject: [T] one\r\nSubject: two\r\n\r\n")
    assert octets(content, Dressing(tagged=True)).endswith(content)
    assert octets(content, Dressing(subject_tag="[T]")).endswith(content)
    released = Dressing(tagged=True, subject_tag="[T]", released_until_ms=1)
    assert octets(content, released).endswith(content)


def test_a_mapped_file_gives_the_same_bytes_in_pieces() -> None:
    content = b"X-Schwamm-A: 1\r\nFrom: a\r\n\r\n" + b"line of text\r\n" * 200_000
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            result = made(mapped)
            pieces = list(result.chunks())
    assert b"".join(pieces) == octets(content)
    assert max(map(len, pieces)) <= 256 * 1024
    assert len(pieces) < 15


def test_header_is_ascii_looks_at_the_header_alone() -> None:
    assert made("Subject: x\r\n\r\nä".encode()).header_is_ascii()
    assert not made("Subject: ä\r\n\r\n".encode()).header_is_ascii()
    assert not made(
        b"Subject: x\r\n\r\n", one=facts(trace="Received: from jörg\r\n")
    ).header_is_ascii()


FIELD = st.sampled_from(
    [*FORGED, *KEPT, b"From: a\r\n", b"Subject: b\r\n c\r\n", b" x\r\n", b":\r\n", b"\xff: y\r\n"]
)


@given(st.lists(FIELD, max_size=12), st.binary(max_size=50))
def test_what_stays_is_a_subsequence_and_ours_cannot_be_forged(
    lines: list[bytes], body: bytes
) -> None:
    content = b"".join(lines) + b"\r\n" + body
    result = made(content)
    ranges = [piece for piece in result.pieces if isinstance(piece, range)]
    assert all(a.stop <= b.start for a, b in pairwise(ranges))
    joined = b"".join(result.chunks())
    assert joined.endswith(b"\r\n" + body)
    header = joined[: len(joined) - len(body)]
    names = [name for name, _ in fields(header) if name.startswith(b"x-schwamm-")]
    assert len(names) == len(set(names))


HOSTILE = [
    b"X-Schwamm-A: 1\r\n",
    b"x-schwamm-a:" + b"(" * 1000 + b"\r\n x\r\n",
    b"Authentication-Results: gw.example\r\n",
    b"Authentication-Results: ((((\r\n",
    b"Authentication-Results\r\n\t :gw.example\r\n",
]


@pytest.mark.parametrize("forged", HOSTILE)
def test_thousands_of_forged_fields_go_unread(forged: bytes) -> None:
    """More than anybody's good mail has: all of them go by one substitution, foreign ones too."""
    kept = b"From: a\r\n b\r\nX-Other: x-schwamm-a\r\n"
    foreign = b"Authentication-Results: other.example; spf=pass\r\n"
    content = forged * 1500 + kept + forged * 1500 + foreign + b"\r\n" + forged
    joined = octets(content)
    assert joined.endswith(b"\r\n" + kept + b"\r\n" + forged)
    assert b"gw.example" not in joined[: -len(forged)].replace(TRACE.encode(), b"")


@pytest.mark.parametrize("forged", HOSTILE)
def test_what_is_left_of_thousands_cannot_become_part_of_ours(forged: bytes) -> None:
    joined = octets(forged * 1500 + b"no field\r\n\r\n")
    assert joined.endswith(b"\r\n\r\nno field\r\n\r\n")


@pytest.mark.parametrize("line_end", [b"\n", b"\r"])
def test_a_bare_line_end_hides_no_field(line_end: bytes) -> None:
    """It becomes CRLF on the wire, so what follows it would be a field there."""
    content = b"From: a" + line_end + b"X-Schwamm-Score: -9" + line_end + b"To: b\r\n\r\n"
    assert octets(content).endswith(b"\r\nFrom: a" + line_end + b"To: b\r\n\r\n")


def test_a_name_of_ours_in_many_values_costs_nothing_but_the_foreign_results() -> None:
    kept = b"X-Other: " + b"x-schwamm-" * 5000 + b"\r\nFrom: a\r\n"
    assert octets(kept + b"\r\nbody").endswith(b"\r\n" + kept + b"\r\nbody")


# ---- DKIM (RFC 6376): signatures made before us verify after us


def _relaxed_header(field: bytes) -> bytes:
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + re.sub(rb"[ \t\r\n]+", b" ", value).strip() + b"\r\n"


def _relaxed_body(body: bytes) -> bytes:
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    text = b"\r\n".join(lines).rstrip(b"\r\n")
    return text + b"\r\n" if text else b""


def _simple_body(body: bytes) -> bytes:
    return body.rstrip(b"\r\n") + b"\r\n"


def _split(message: bytes) -> tuple[list[bytes], bytes]:
    end = header_end(message)
    return [line for _, line in fields(message[:end])], message[end + 2 :]


def _to_be_signed(message: bytes, names: list[bytes], kind: str, signature: bytes) -> bytes:
    """RFC 6376 §3.7: named fields from the bottom up, then the signature without its ``b=``."""
    present, _ = _split(message)
    canonical = _relaxed_header if kind == "relaxed" else bytes
    chosen = b""
    for name in names:
        for field in reversed(present):
            if field.partition(b":")[0].strip().lower() == name:
                chosen += canonical(field)
                present.remove(field)
                break
    return chosen + canonical(signature).removesuffix(b"\r\n")


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SIGNED = [b"from", b"to", b"subject", b"date", b"message-id", b"from"]  # over-signed From


def dkim_sign(message: bytes, kind: str) -> bytes:
    body = _split(message)[1]
    hashed = hashlib.sha256(_relaxed_body(body) if kind == "relaxed" else _simple_body(body))
    head = (
        f"DKIM-Signature: v=1; a=rsa-sha256; c={kind}/{kind}; d=example.org; s=s1;\r\n"
        f"\th={':'.join(name.decode() for name in SIGNED)};\r\n"
        f"\tbh={base64.b64encode(hashed.digest()).decode()};\r\n\tb="
    ).encode()
    signed = _to_be_signed(message, SIGNED, kind, head + b"\r\n")
    raw = KEY.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return head + base64.b64encode(raw) + b"\r\n" + message


def dkim_verifies(message: bytes, kind: str) -> bool:
    present, body = _split(message)
    (field,) = [one for one in present if one.lower().startswith(b"dkim-signature")]
    head, _, raw = field.rpartition(b"b=")
    body_hash = hashlib.sha256(_relaxed_body(body) if kind == "relaxed" else _simple_body(body))
    if base64.b64encode(body_hash.digest()) not in head:
        return False
    signed = _to_be_signed(message, SIGNED, kind, head + b"b=\r\n")
    try:
        KEY.public_key().verify(base64.b64decode(raw), signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


SIGNABLE = (
    b"From: A  Person <a@example.org>\r\nTo: b@one.example,\r\n\tc@one.example\r\n"
    b"Subject:  two  spaces \r\nDate: Mon, 23 Nov 2026 15:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\nX-Schwamm-Score: -5\r\n"
    b"Authentication-Results: gw.example; dkim=pass\r\n\r\n"
    b".dot\r\n  spaces  \r\n\r\n8-bit \xe4\xff\r\n" + b"long " * 400 + b"\r\n\r\n\r\n"
)


@pytest.mark.parametrize("kind", ["relaxed", "simple"])
def test_dkim_still_verifies_behind_us(kind: str) -> None:
    signed = dkim_sign(SIGNABLE, kind)
    assert dkim_verifies(signed, kind)
    for dressing in (PLAIN, Dressing(tagged=True), Dressing(released_until_ms=2**45)):
        joined = octets(signed, dressing)
        assert dkim_verifies(joined, kind)
        assert dkim_verifies(octets(joined), kind)  # and after a second pass
    assert not dkim_verifies(octets(signed).replace(b"spaces", b"spacer"), kind)
    assert not dkim_verifies(octets(signed, Dressing(tagged=True, subject_tag="[T]")), kind)


def test_real_mail_passes_through_octet_for_octet(mail_data: Path) -> None:
    files = [file for file in sorted(mail_data.rglob("*")) if file.suffix == ".eml"]
    assert len(files) > 20
    for file in files:
        content = re.sub(rb"\r\n|\r|\n", b"\r\n", file.read_bytes())
        start = content.index(b"\r\n") + 2 if content.startswith(b"From ") else 0
        joined = octets(content)
        assert joined.endswith(b"\r\n" + content[start:]), file
        assert message_from_bytes(joined, policy=modern)["X-Schwamm-Id"] == MAIL_ID, file
