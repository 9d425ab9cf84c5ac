"""Words stand once in what is stored of a verdict, and come back in both places."""

from gateway.core.verdict import (
    ContentFinding,
    Outcome,
    Status,
    Verdict,
    VerdictClass,
    WordReason,
)
from gateway.store.codec import dump
from gateway.store.verdict_codec import verdict_from_json, verdict_to_json

TOLD = (WordReason(word="cheap", weight=0.5), WordReason(word="minutes", weight=-0.25))


def verdict(*, told: tuple[WordReason, ...], found: tuple[WordReason, ...]) -> Verdict:
    content = ContentFinding(probability=0.5, known_share=0.75, model_id="m", words=found)
    outcome = Outcome(check="content", status=Status.HIT, content=content)
    return Verdict(kind=VerdictClass.HAM, score=0.0, words=told, outcomes=(outcome,))


def test_words_that_the_verdict_tells_are_written_once() -> None:
    whole = verdict(told=TOLD, found=TOLD)
    stored = verdict_to_json(whole)
    assert dump(stored).count("cheap") == 1
    assert verdict_from_json(stored).outcomes == whole.outcomes


def test_other_words_of_a_finding_stay_its_own() -> None:
    for told, found in ((TOLD, TOLD[:1]), (TOLD, ()), ((), TOLD)):
        whole = verdict(told=told, found=found)
        back = verdict_from_json(verdict_to_json(whole))
        assert back.outcomes == whole.outcomes
        assert back.words == told


def test_a_finding_with_its_own_copy_of_the_words_is_still_read() -> None:
    stored = verdict_to_json(verdict(told=TOLD, found=TOLD))
    (outcome,) = stored["outcomes"]  # type: ignore[misc]
    outcome["content"]["words"] = stored["words"]  # type: ignore[index]
    assert verdict_from_json(stored).outcomes == verdict(told=TOLD, found=TOLD).outcomes
