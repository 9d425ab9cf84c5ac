"""The words named are words of the message, and they weigh what they say."""

from pathlib import Path

import pytest

from models.bundle import Bundle
from models.explain import explain
from models.features import Features, extract
from models.manifest import Manifest
from models.message import scan
from models.registry import baseline_directory
from training.online import OnlineFilter

HAM = b"From: anna@example.org\nSubject: minutes\n\nthe minutes of our meeting %d are attached\n"
SPAM = b"From: shop@example.com\nSubject: offer\n\nbuy cheap watches now for %d dollars\n"


@pytest.fixture(scope="module")
def learner() -> OnlineFilter:
    learner = OnlineFilter()
    for number in range(40):
        learner.train(HAM % number, False)
        learner.train(SPAM % number, True)
    return learner


@pytest.fixture(scope="module")
def served() -> Bundle:
    return Bundle.load(baseline_directory())


def test_words_for_spam_come_first_and_weights_fall(learner: OnlineFilter) -> None:
    mixed = b"From: shop@example.com\nSubject: minutes\n\ncheap watches at our meeting\n"
    words = learner.score(mixed, words=5).words
    weights = [word.weight for word in words]
    assert weights == sorted(weights, reverse=True)
    named = {word.word: word.weight for word in words}
    assert named["cheap"] > 0 or named["cheap watches"] > 0
    assert any(weight < 0 for weight in weights)
    assert len(words) == len(named)
    assert sum(weight > 0 for weight in weights) == 5


def test_weights_add_up_to_the_score_without_byte_patterns(learner: OnlineFilter) -> None:
    raw = SPAM % 7
    features = learner.features(raw)
    spelling = features.spelling
    assert spelling is not None
    everything = explain(features, learner.classifier, len(spelling.indices))
    parts = learner.classifier.parts(features)
    expected = parts.naive + parts.words / 2
    assert sum(word.weight for word in everything) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("n", [1, 3, 10, 400])
def test_the_strongest_are_found_as_by_looking_at_each_in_turn(
    n: int, mail_data: Path, served: Bundle
) -> None:
    for path in sorted(mail_data.glob("*/*.eml"))[::7]:
        raw = path.read_bytes()
        features = extract(scan(raw), raw)
        spelling, parts = features.spelling, served.classifier.parts(features)
        assert spelling is not None
        worth = served.classifier.worth_of_words(features)
        of_each = dict(zip(features.lexical.tolist(), parts.naive_of_each.tolist(), strict=True))
        weights = [
            served.weights[index].item() * worth + of_each.get(index, 0.0)
            for index in features.words.tolist()
        ]
        wanted = sorted(round(weight, 4) for weight in weights if abs(weight) >= 0.001)
        against = [weight for weight in wanted if weight < 0][:n]
        for_spam = [weight for weight in wanted if weight > 0][-n:]
        found = explain(features, served.classifier, n, parts=parts)
        assert [word.weight for word in reversed(found)] == against + for_spam
        shown = {word[:59] for word in spelling.spell(range(len(spelling.indices)))}
        assert all(word.word[:59] in shown for word in found if "\ufffd" not in word.word)


def test_words_are_short_and_printable() -> None:
    learner = OnlineFilter()
    odd = b"Subject: \x1b[31mred\x07\n\n" + b"x" * 500 + b" \xe2\x80\xae evil\n"
    for number in range(30):
        learner.train(odd + b"%d" % number, True)
        learner.train(HAM % number, False)
    words = learner.score(odd, words=20).words
    assert words
    assert all(word.word.isprintable() and len(word.word) <= 60 for word in words)


def test_stored_features_have_no_words(learner: OnlineFilter) -> None:
    raw = SPAM % 3
    stored = Features.from_bytes(extract(scan(raw), raw).to_bytes())
    assert explain(stored, learner.classifier, 5) == ()


def test_what_was_said_already_need_not_be_asked_again(learner: OnlineFilter) -> None:
    features = learner.features(SPAM % 5)
    asked = learner.classifier.parts(features)
    assert explain(features, learner.classifier, 5, parts=asked)
    assert explain(features, learner.classifier, 5, parts=asked) == explain(
        features, learner.classifier, 5
    )


def test_a_word_all_over_the_text_does_not_hide_the_others(learner: OnlineFilter) -> None:
    raw = b"From: shop@example.com\nSubject: offer\n\n" + b"cheap\n\n" * 60 + b"buy watches\n"
    named = [word.word for word in learner.score(raw, words=5).words if word.weight > 0]
    assert len(set(named)) == len(named) == 5


def test_the_baseline_names_words_of_real_mail(mail_data: Path) -> None:
    bundle = Bundle.load(baseline_directory())
    for line in (mail_data / "index").read_text().splitlines():
        label, path = line.split(" ", 1)
        raw = (mail_data / path).read_bytes()
        score = bundle.score(scan(raw), raw, words=6)
        assert 1 <= len(score.words) <= 12
        assert (score.probability > 0.5) == (label == "spam")


@pytest.mark.parametrize("last_part", [False, True])
def test_spam_behind_harmless_text_is_still_seen(learner: OnlineFilter, last_part: bool) -> None:
    bundle = learner.publishable(Manifest(origin="site", ham_messages=0, spam_messages=0))
    head, _, body = (SPAM % 3).partition(b"\n\n")
    harmless = b"the minutes of our meeting are attached\n" * 1700
    assert len(harmless) > 64 * 1024
    raw = head + b"\n\n" + harmless + body
    if last_part:
        part = b"--x\nContent-Type: text/plain\n\n"
        mime = b"\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n"
        raw = head + mime + part + harmless + part + body * 20 + b"--x--\n"
    hidden = bundle.score(scan(raw), raw, words=12)
    whole = bundle.score_features(extract(scan(raw), raw))
    assert hidden.log_odds > whole.log_odds
    assert hidden.probability > 0.5
    assert "watches" in " ".join(word.word for word in hidden.words)
    assert learner.classify(raw) > 0.5
