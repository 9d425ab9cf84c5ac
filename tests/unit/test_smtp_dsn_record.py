"""Requests for status notifications survive the record: queued mail passes them on too."""

from dataclasses import replace

import pytest

from gateway.core.errors import GatewayError
from gateway.core.mail import DsnRequest, Envelope
from gateway.store.codec import dump as dumped
from gateway.store.codec import facts_from_json, facts_to_json, parse
from tests.contract.samples import make_facts

_DSN = (
    DsnRequest(recipient="anna@example.org", notify="SUCCESS,DELAY", orcpt="rfc822;x+40y@b.c"),
    DsnRequest(recipient="bert@example.org", notify="NEVER"),
)


def _round_trip(envelope: Envelope) -> Envelope:
    facts = replace(make_facts(), envelope=envelope)
    return facts_from_json(parse(dumped(facts_to_json(facts)))).envelope


def test_round_trip() -> None:
    plain = make_facts().envelope
    asking = replace(plain, ret="HDRS", envid="QQ+2B1", dsn=_DSN)
    assert _round_trip(asking) == asking
    assert _round_trip(plain) == plain


def test_a_record_of_before_reads_as_nothing_asked() -> None:
    data = facts_to_json(make_facts())
    envelope = data["envelope"]
    assert isinstance(envelope, dict)
    assert not {"ret", "envid", "dsn"} & set(envelope)
    assert facts_from_json(data).envelope.dsn == ()


@pytest.mark.parametrize("wrong", ["anna", [1], [{"notify": "NEVER"}], [{"recipient": 7}]])
def test_nonsense_is_refused(wrong: object) -> None:
    data = facts_to_json(make_facts())
    envelope = data["envelope"]
    assert isinstance(envelope, dict)
    envelope["dsn"] = wrong
    with pytest.raises(GatewayError):
        facts_from_json(data)
