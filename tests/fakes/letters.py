"""Letters of invented words, for filters that learn: whose words they have is all they say."""

import random

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]


def letter(seed: int, words: list[str]) -> bytes:
    body = " ".join(random.Random(seed).choices(words, k=60))
    return (
        f"From: p{seed}@example.org\nTo: me@example.net\nSubject: hello\n"
        f"Message-ID: <{seed}@example.org>\nDate: Thu, 22 Aug 2002 12:00:00 +0000\n\n{body}\n"
    ).encode()


def taught_apart(tested) -> float:
    """By how much a filter tells two kinds further apart once it learned 210 letters of each."""
    ham, spam = WORDS[:180], WORDS[180:]
    before = tested.scorer.classify(letter(1, spam)) - tested.scorer.classify(letter(2, ham))
    for seed in range(210):  # Rspamd's and SpamAssassin's Bayes wait for 200 of each
        tested.learn(letter(1000 + seed, ham), False)
        tested.learn(letter(2000 + seed, spam), True)
    after = tested.scorer.classify(letter(3, spam)) - tested.scorer.classify(letter(4, ham))
    return after - before
