"""Facts and events as JSON: everything comes back, additions are passed over, damage is named."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.addresses import Address
from gateway.core.errors import RecordFormatError
from gateway.core.mail import DsnRequest, Envelope, Session
from gateway.core.record import Copy, CopyState, Event, HoldReason, MessageFacts
from gateway.core.routing import NextHop, NextHopKind, TlsPolicy
from gateway.core.verdict import (
    Action,
    ContentFinding,
    Outcome,
    ScoredSymbol,
    ShadowFinding,
    Status,
    Symbol,
    Verdict,
    VerdictClass,
    WordReason,
)
from gateway.store import codec
from tests.contract.samples import make_facts

texts = st.text(st.characters(codec=None), max_size=8)  # lone surrogates and NUL included
whole = st.integers(-(2**63) + 1, 2**63 - 1)
numbers = st.floats(-1e15, 1e15)
words = st.builds(WordReason, word=texts, weight=numbers)


def few(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


addresses = st.builds(Address, spelling=texts, local=texts, domain=texts)
sessions = st.builds(
    Session,
    ip=texts,
    port=whole,
    helo=texts,
    esmtp=st.booleans(),
    tls_version=texts,
    tls_cipher=texts,
    authenticated_as=texts,
    rdns=texts,
    connected_at_ms=whole,
)
envelopes = st.builds(
    Envelope,
    mail_from=texts,
    rcpt_to=few(addresses),
    smtputf8=st.booleans(),
    body_8bit=st.booleans(),
    declared_size=st.none() | whole,
    ret=texts,
    envid=texts,
    dsn=few(st.builds(DsnRequest, recipient=texts, notify=texts, orcpt=texts)),
)
hops = st.builds(
    NextHop,
    kind=st.sampled_from(NextHopKind),
    host=texts,
    port=whole,
    path=texts,
    tls=st.sampled_from(TlsPolicy),
)
copies = st.builds(
    Copy,
    recipient=texts,
    rcpt_to=texts,
    domain=texts,
    customer=texts,
    action=st.sampled_from(Action),
    state=st.sampled_from(CopyState),
    next_hop=st.none() | hops,
    hold_reason=st.none() | st.sampled_from(HoldReason),
    reply=texts,
    expires_at_ms=st.none() | whole,
    admin_only=st.booleans(),
)
shadows = st.builds(ShadowFinding, probability=numbers, known_share=numbers, model_id=texts)
findings = st.builds(
    ContentFinding,
    probability=numbers,
    known_share=numbers,
    model_id=texts,
    words=few(words),
    shadow=st.none() | shadows,
)
outcomes = st.builds(
    Outcome,
    check=texts,
    status=st.sampled_from(Status),
    symbols=few(st.builds(Symbol, name=texts, detail=texts, points=st.none() | numbers)),
    elapsed_ms=numbers,
    error=texts,
    malware=texts,
    content=st.none() | findings,
)
verdicts = st.builds(
    Verdict,
    kind=st.sampled_from(VerdictClass),
    score=numbers,
    symbols=few(st.builds(ScoredSymbol, name=texts, points=numbers, detail=texts)),
    words=few(words),
    probability=st.none() | numbers,
    known_share=st.none() | numbers,
    model_id=texts,
    generation=whole,
    settings_digest=texts,
    malware=texts,
    errors=few(texts),
    outcomes=few(outcomes),
    scan_ms=numbers,
)
all_facts = st.builds(
    MessageFacts,
    id=texts,
    node=texts,
    direction=texts,
    received_at_ms=whole,
    answered_at_ms=st.none() | whole,
    handed_off_at_ms=st.none() | whole,
    session=sessions,
    envelope=envelopes,
    size_bytes=whole,
    sha256=texts,
    subject=texts,
    from_header=texts,
    message_id=texts,
    verdict=st.none() | verdicts,
    copies=few(copies),
    generation=whole,
    reply=texts,
    key_id=texts,
    trace=texts,
)


@settings(deadline=None)
@given(all_facts)
def test_every_field_comes_back(facts: MessageFacts) -> None:
    for text in (codec.dump, codec.dump_pretty):
        written = text(codec.facts_to_json(facts)).encode()
        back = codec.facts_from_json(codec.parse(written))
        assert back == facts
        if facts.verdict is not None:
            assert back.verdict is not None
            assert back.verdict.outcomes == facts.verdict.outcomes  # not part of ==


def test_the_strategies_know_every_field() -> None:
    """A field added to the core must be added to the codec, or this test finds it out."""
    samples = [make_facts().session, make_facts().envelope, make_facts(), make_facts().copies[0]]
    drawn = {"session": sessions, "envelope": envelopes, "facts": all_facts, "copy": copies}
    for sample, strategy in zip(samples, drawn.values(), strict=True):
        given_names = set(strategy.wrapped_strategy.kwargs)  # type: ignore[attr-defined]
        assert given_names == {name for name in sample.__slots__ if not name.startswith("_")}


@settings(deadline=None)
@given(
    st.builds(
        Event,
        at_ms=whole,
        what=texts,
        mail_id=texts,
        recipient=texts,
        detail=st.dictionaries(
            texts,
            st.recursive(
                st.none() | st.booleans() | whole | texts, lambda inner: st.lists(inner, max_size=2)
            ),
            max_size=3,
        ),
    )
)
def test_every_event_is_one_line_and_comes_back(event: Event) -> None:
    line = codec.event_to_line(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert codec.event_from_line(line) == event


def outcome_of(reader: Callable[[Any], object], value: object) -> str:
    """Whether a reader took a value; any other error than the named one goes up."""
    try:
        reader(value)
    except RecordFormatError as error:
        return "refused" if str(error) else "refused without a word"
    return "read"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    assert outcome_of(codec.event_from_line, data) in {"read", "refused"}


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | whole | numbers | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=10,
    ),
    st.data(),
)
def test_no_value_breaks_the_reader(value: object, data: st.DataObject) -> None:
    """Any field replaced by anything: read, or refused by name; never another error."""
    facts = codec.facts_to_json(make_facts())
    facts[data.draw(st.sampled_from(sorted(facts)))] = value
    assert outcome_of(codec.facts_from_json, facts) in {"read", "refused"}


@settings(deadline=None)
@given(all_facts.map(lambda facts: replace(facts, id="1jd8m3q7k-n1-4h2k0a9")))
def test_the_text_of_a_message_is_its_detail(facts: MessageFacts) -> None:
    line = codec.event_to_line(codec.message_event(facts, 5))
    event, text = codec.event_and_text(line)
    assert event == codec.event_from_line(line)
    assert text == codec.dump(event.detail)


def test_a_line_laid_out_otherwise_gives_no_text() -> None:
    line = codec.event_to_line(codec.message_event(make_facts(), 5))
    newer = line[:-2] + b',"x":{"y":{}}}\n'
    spaced = line.replace(b'"v":1', b'"v": 1')
    other = codec.event_to_line(Event(at_ms=1, what="copy", detail={"state": "held"}))
    for one in (newer, spaced, other):
        event, text = codec.event_and_text(one)
        assert event == codec.event_from_line(one)
        assert text is None


def test_defaults_are_left_out() -> None:
    facts = replace(make_facts(), verdict=None, trace="")
    data = codec.facts_to_json(facts)
    assert "verdict" not in data
    assert "trace" not in data
    copies = data["copies"]
    assert isinstance(copies, list)
    assert "admin_only" not in copies[0]


@pytest.mark.parametrize(
    "unfit", ["\x7f", "\x9b", "\u2028", "\u202e", "\u2066", "\ud800", "\u200f"]
)
def test_what_moves_a_terminal_is_escaped(unfit: str) -> None:
    text = codec.dump({"subject": f"a{unfit}b"})
    assert unfit not in text
    assert json.loads(text)["subject"] == f"a{unfit}b"
    assert codec.dump({"subject": "größer 漢字 🙂"}) == '{"subject":"größer 漢字 🙂"}'


def test_a_newer_major_version_is_refused_by_both_numbers() -> None:
    data = {**codec.facts_to_json(make_facts()), "v": 2}
    with pytest.raises(RecordFormatError, match="format 2; this release reads format 1"):
        codec.facts_from_json(data)
