import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.addresses import parse_address
from gateway.core.routing import Domain
from gateway.core.verdict import Action, Verdict, VerdictClass
from gateway.pipeline.policy import actions, classify, decide

PLAIN = Domain(name="plain.example", next_hops=())
STRICT = Domain(name="strict.example", next_hops=(), reject=True)
TAGGED = Domain(name="tagged.example", next_hops=(), subject_tag="[Spam?]")
SHARP = Domain(name="sharp.example", next_hops=(), unsure_score=2, spam_score=3)


def verdict(score: float, malware: str = "") -> Verdict:
    return Verdict(kind=classify(score, malware=malware), score=score, malware=malware)


@pytest.mark.parametrize(
    ("score", "malware", "domain", "action"),
    [
        (-3.0, "", PLAIN, Action.ACCEPT),
        (3.99, "", PLAIN, Action.ACCEPT),
        (4.0, "", PLAIN, Action.ACCEPT),
        (4.0, "", TAGGED, Action.TAG),
        (3.99, "", TAGGED, Action.ACCEPT),
        (5.99, "", PLAIN, Action.ACCEPT),
        (6.0, "", PLAIN, Action.QUARANTINE),
        (15.0, "", PLAIN, Action.QUARANTINE),
        (14.99, "", STRICT, Action.QUARANTINE),
        (15.0, "", STRICT, Action.REJECT),
        (3.0, "", SHARP, Action.QUARANTINE),
        (0.0, "Eicar-Test", STRICT, Action.QUARANTINE),
        (99.0, "Eicar-Test", STRICT, Action.QUARANTINE),
    ],
)
def test_the_table(score: float, malware: str, domain: Domain, action: Action) -> None:
    assert decide(verdict(score, malware), domain) is action


def test_the_classes() -> None:
    assert classify(3.9) is VerdictClass.HAM
    assert classify(4.0) is VerdictClass.UNSURE
    assert classify(6.0) is VerdictClass.SPAM
    assert classify(0.0, malware="x") is VerdictClass.MALWARE


def test_reject_stands_only_for_all() -> None:
    plain, strict = parse_address("a@plain.example"), parse_address("b@strict.example")
    other = parse_address("c@strict.example")
    assert actions(verdict(20), [(strict, STRICT), (other, STRICT)]) == {
        strict: Action.REJECT,
        other: Action.REJECT,
    }
    assert actions(verdict(20), [(plain, PLAIN), (strict, STRICT)]) == {
        plain: Action.QUARANTINE,
        strict: Action.QUARANTINE,
    }


RANK = [Action.ACCEPT, Action.TAG, Action.QUARANTINE, Action.REJECT]


@given(st.floats(-50, 50), st.floats(0, 50), st.sampled_from([PLAIN, STRICT, TAGGED, SHARP]))
def test_a_higher_score_is_never_treated_more_kindly(
    score: float, more: float, domain: Domain
) -> None:
    low, high = decide(verdict(score), domain), decide(verdict(score + more), domain)
    assert RANK.index(high) >= RANK.index(low)
