"""The ablation takes away what it says it takes away, and its tables tell the truth."""

from pathlib import Path

import numpy as np
import pytest

from models.features import LEXICAL, WORDS, Features, extract
from models.message import scan
from training.ablation import VARIANTS, NaiveBayesAlone, NamedStream, Reduced, run_variants
from training.ablation_foreign import Halves
from training.ablation_tables import Outcome, as_markdown, as_svg
from training.baseline_sources import SourceMessage
from training.corpus import CorpusMessage
from training.online import OnlineFilter

RAW = b"From: a@example.org\nSubject: offer\nContent-Type: text/html\n\n<b>cheap watches now</b>\n"


def extracted(raw: bytes = RAW) -> dict[bytes, Features]:
    return {raw: Features(extract(scan(raw), raw).indices)}


def left(variant: str) -> np.ndarray:
    return VARIANTS[variant](extracted()).features(RAW).indices


def test_each_kind_of_feature_can_be_left_out() -> None:
    everything = left("all of it")
    assert np.array_equal(left("no byte patterns"), everything[everything < WORDS])
    assert np.array_equal(left("byte patterns alone"), everything[everything >= WORDS])
    pairs = (everything >= LEXICAL) & (everything < WORDS)
    assert pairs.any()
    assert np.array_equal(left("no pairs"), everything[~pairs])


def spelled(learner: OnlineFilter) -> set[str]:
    spelling = learner.features(RAW).spelling
    assert spelling is not None
    return set(spelling.spell(range(len(spelling.indices))))


def test_header_and_body_can_be_left_out() -> None:
    no_header = spelled(VARIANTS["no header"](extracted()))
    assert {"cheap", "part:0 text/html None 7bit"} <= no_header
    assert not {"subject:offer", "from:a"} & no_header
    no_body = spelled(VARIANTS["no body"](extracted()))
    assert "subject:offer" in no_body
    assert "cheap" not in no_body


def test_the_naive_bayes_alone_has_no_second_stage() -> None:
    learner = NaiveBayesAlone(extracted())
    learner.train(RAW, True)
    assert not learner.second.weights.any()
    assert learner.counts.spam_messages == 1
    whole = Reduced(extracted())
    whole.train(RAW, True)
    assert whole.second.weights.any()


def test_variants_run_over_a_stream_and_are_compared(mail_data: Path) -> None:
    lines = [line.split(" ", 1) for line in (mail_data / "index").read_text().splitlines()]
    stream = NamedStream(
        name="shared mail",
        messages=tuple(
            (CorpusMessage(raw=(mail_data / path).read_bytes(), source=path), label == "spam")
            for label, path in lines
        ),
    )
    outcomes = run_variants(stream, ("all of it", "no body"), print)
    assert [len(outcome.scores) for outcome in outcomes] == [len(lines)] * 2
    assert not np.array_equal(outcomes[0].scores, outcomes[1].scores)
    table = as_markdown(outcomes, 20)
    assert table.count("\n| ") == 4
    assert "**shared mail**" in table


def test_a_difference_beyond_chance_is_bold_and_another_is_not() -> None:
    is_spam = np.arange(400) % 2 == 0
    good = np.where(is_spam, 0.9, 0.1) + np.linspace(0, 0.01, 400)
    chance = np.random.default_rng(1).random(400)
    rows = [
        Outcome(stream="s", variant=name, is_spam=is_spam, scores=scores)
        for name, scores in (("whole", good), ("same", good), ("chance", chance))
    ]
    whole, same, lost = as_markdown(rows, 50).strip().splitlines()[-3:]
    assert whole.startswith("| whole | 0.000 |  |")
    assert "**" not in same
    assert lost.count("**") == 4
    assert as_svg(rows).startswith(b"<?xml")
    assert as_svg(rows) == as_svg(rows)


@pytest.mark.parametrize("number", [0, 1, 40])
def test_halves_share_no_text(number: int) -> None:
    messages = [
        SourceMessage(path=f"ham/{place}.txt", raw=b"x%d" % place, is_spam=False)
        for place in range(number)
    ]
    halves = Halves.of(messages)
    learned, judged = ({one.path for one in side} for side in (halves.learned, halves.judged))
    assert not learned & judged
    assert learned | judged == {one.path for one in messages}
