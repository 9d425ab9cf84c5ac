"""Our reader of DNS answers against dnspython, and against nonsense."""

import itertools

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.dns import MalformedAnswerError
from gateway.net.dns_wire import (
    make_question,
    matches,
    query_message,
    randomise_case,
    read_response,
)

_LABEL = st.text("abcXYZ019-_", min_size=1, max_size=12)
_NAME = st.lists(_LABEL, min_size=1, max_size=6).map(".".join)
_TTL = st.integers(0, 2**31 - 1)
_DATA = {
    "A": st.ip_addresses(v=4).map(str),
    "AAAA": st.ip_addresses(v=6).map(str),
    "PTR": _NAME.map(lambda name: name + "."),
    "MX": st.tuples(st.integers(0, 65535), _NAME).map(lambda pair: f"{pair[0]} {pair[1]}."),
    "TXT": st.lists(st.text("abc =;~", min_size=1, max_size=60), min_size=1, max_size=4).map(
        lambda strings: " ".join(f'"{text.replace(";", chr(92) + ";")}"' for text in strings)
    ),
}


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, str, dns.message.Message]:
    """A question and an honest answer to it: records behind up to three aliases, or none."""
    rdtype = draw(st.sampled_from(sorted(_DATA)))
    names = draw(st.lists(_NAME, min_size=1, max_size=4, unique_by=str.lower))
    query = dns.message.make_query(names[0], rdtype)
    answer = dns.message.make_response(query)
    for owner, target in itertools.pairwise(names):
        alias = dns.rrset.from_text(owner + ".", draw(_TTL), "IN", "CNAME", target + ".")
        answer.answer.append(alias)
    data = draw(st.lists(_DATA[rdtype], max_size=4, unique=True))
    if data:
        records = dns.rrset.from_text_list(names[-1] + ".", draw(_TTL), "IN", rdtype, data)
        answer.answer.append(records)
    elif draw(st.booleans()):
        answer.set_rcode(dns.rcode.NXDOMAIN)
    if not data and draw(st.booleans()):
        zone = dns.name.from_text(names[-1]).parent()
        soa = f"ns.example. host.example. 1 2 3 4 {draw(_TTL)}"
        answer.authority.append(dns.rrset.from_text(zone, draw(_TTL), "IN", "SOA", soa))
    return names[0], rdtype, answer


def text_of(rdtype: str, rdata: object) -> str:
    """What ``Answer.records`` promises, made from dnspython's own objects."""
    match rdtype:
        case "TXT":
            return b"".join(rdata.strings).decode("latin-1")
        case "MX":
            host = rdata.exchange.to_text(omit_final_dot=True).lower()
            return f"{rdata.preference} {host}"
        case "PTR":
            return rdata.target.to_text(omit_final_dot=True).lower()
        case _:
            return rdata.to_text()


@given(answers())
def test_it_reads_what_dnspython_reads(case: tuple[str, str, dns.message.Message]) -> None:
    name, rdtype, answer = case
    wire = answer.to_wire(max_size=65_535)
    chain = dns.message.from_wire(wire).resolve_chaining()
    expected = [] if chain.answer is None else [text_of(rdtype, one) for one in chain.answer]
    question = make_question(name, rdtype)
    spelled = wire[12 : 12 + len(question.wire)]
    assert matches(wire, spelled)
    response = read_response(wire, question)
    assert sorted(response.records) == sorted(expected)
    assert response.rcode == dns.rcode.to_text(answer.rcode())
    if expected or answer.authority:
        assert response.ttl_s == chain.minimum_ttl
    else:
        assert response.ttl_s is None


@given(st.binary(max_size=300), st.sampled_from(sorted(_DATA)), st.integers(0, 40))
def test_nonsense_is_malformed_and_nothing_else(body: bytes, rdtype: str, count: int) -> None:
    question = make_question("a.example", rdtype)
    wire = b"\0\0\x81\x80\0\1" + bytes((0, count, 0, count % 7, 0, 0)) + question.wire + body
    try:
        response = read_response(wire, question)
    except MalformedAnswerError:
        return
    assert len(response.records) <= count


@given(answers(), st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_answer_is_read_or_malformed(
    case: tuple[str, str, dns.message.Message], place: int, octet: int
) -> None:
    name, rdtype, answer = case
    wire = bytearray(answer.to_wire(max_size=65_535))
    question = make_question(name, rdtype)
    start = 12 + len(question.wire)
    if len(wire) > start:
        wire[start + place % (len(wire) - start)] = octet
    try:
        read_response(bytes(wire), question)
    except MalformedAnswerError:
        return


class CountedBytes(bytes):
    """Counts how often it is read from."""

    reads = 0

    def __getitem__(self, place: object) -> object:
        self.reads += 1
        return super().__getitem__(place)


def test_names_of_pointers_to_pointers_end_soon() -> None:
    question = make_question("a.example", "A")
    size = 16_000
    record = b"\0\0\x10\0\1\0\0\0\1" + size.to_bytes(2, "big")  # a TXT record to hide the chain in
    head = b"\0\0\x81\x80\0\1\x01\xf0\0\0\0\0" + question.wire + record
    chain = b"\0\0" + b"".join(
        (0xC000 | len(head) + at).to_bytes(2, "big") for at in range(0, size - 2, 2)
    )
    at_end = (0xC000 | len(head) + size - 2).to_bytes(2, "big") + b"\0\1\0\1\0\0\0\1\0\0"
    wire = CountedBytes(head + chain + at_end * 400)
    with pytest.raises(MalformedAnswerError):
        read_response(wire, question)
    assert wire.reads < 400 * 64


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        (lambda wire: wire, True),
        (lambda wire: wire[:2] + b"\1\0" + wire[4:], False),  # a query
        (lambda wire: wire[:11], False),
        (lambda wire: wire[:4] + b"\0\2" + wire[6:], False),
        (lambda wire: wire[:12] + wire[12:].swapcase(), False),
        (lambda wire: wire[:4] + b"\0\0" + wire[6:12], False),  # no question and no error
        (lambda wire: wire[:3] + b"\x85\0\0" + wire[6:12], True),  # a bare refusal
    ],
)
def test_only_the_very_question_is_answered(change: object, fits: bool) -> None:
    assert callable(change)
    question = make_question("example.org", "A").wire
    wire = b"\0\7\x81\x80\0\1\0\0\0\0\0\0" + question
    assert matches(change(wire), question) is fits


def test_the_case_of_letters_is_random_and_nothing_else_is() -> None:
    question = make_question("0.a-b_c.verylonglabelwithmanyletters.example", "TXT").wire
    spelled = {randomise_case(question) for _ in range(20)}
    assert len(spelled) == 20
    assert {one.lower() for one in spelled} == {question}
    assert {one[-4:] for one in spelled} == {question[-4:]}


def test_a_query_is_what_dnspython_takes_for_one() -> None:
    wire = query_message(4711, make_question("mail.example.org.", "AAAA").wire)
    query = dns.message.from_wire(wire)
    assert query.id == 4711
    assert query.flags == dns.flags.RD
    assert query.question[0].to_text() == "mail.example.org. IN AAAA"
    assert (query.edns, query.payload) == (0, 1232)
