"""Campaigns are found whatever a spammer varies; different mail is left apart."""

import random

import numpy as np
import pytest

from training.dedup import (
    SKETCH_SIZE,
    campaigns,
    fingerprint,
    fingerprint_text,
    similarity,
)

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]


def text(seed: int, words: int = 120) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def mail(body: str, subject: str = "Offer", sender: str = "a@example.org") -> bytes:
    return f"From: {sender}\nSubject: {subject}\n\n{body}\n".encode()


def numbers(*raws: bytes) -> list[int]:
    return campaigns([fingerprint(raw) for raw in raws]).tolist()


@pytest.mark.parametrize(
    "vary",
    [
        pytest.param(lambda t: t.upper(), id="case"),
        pytest.param(lambda t: t.replace(" ", "\n  "), id="white-space"),
        pytest.param(lambda t: "Dear Ms Miller, " + t, id="salutation"),
        pytest.param(lambda t: t + " http://x.example/?id=83hf7 cc 98213 bob@b.example", id="tail"),
        pytest.param(lambda t: t.replace(" ", ", ", 40), id="punctuation"),
        pytest.param(lambda t: " ".join(t.split()[:114]), id="cut-short"),
        pytest.param(lambda t: t + " 1234", id="number"),
    ],
)
def test_a_varied_copy_is_the_same_campaign(vary):
    original = text(1)
    assert numbers(mail(original), mail(vary(original), sender="z@other.example")) == [0, 0]


def test_html_and_plain_copies_are_one_campaign():
    words = text(2)
    html = f"<html><body><p>{words.replace(' ', ' <b></b>')}</p></body></html>"
    raw = b"Subject: Offer\nContent-Type: text/html\n\n" + html.encode()
    assert numbers(mail(words), raw) == [0, 0]


def test_different_mail_stays_apart_also_with_a_shared_footer():
    footer = " " + text(99, words=40)
    raws = [mail(text(seed) + footer) for seed in range(60)]
    assert numbers(*raws) == list(range(60))


def test_campaigns_are_named_by_their_first_message_and_found_in_a_crowd():
    raws = [mail(text(seed)) for seed in range(300)]
    raws[100], raws[299] = (mail(text(7) + f" extra{n}") for n in "ab")
    found = numbers(*raws)
    assert found[100] == found[299] == 7
    assert sorted(set(found)) == [n for n in range(300) if n not in (100, 299)]


def test_short_mail_is_alike_only_when_equal():
    assert numbers(mail("Thank you!"), mail("Thanks a lot"), mail("Thank  you")) == [0, 1, 0]
    assert numbers(mail("Thank you!"), mail("Thank you!", subject="Invoice")) == [0, 1]


def test_mail_without_text_is_told_apart_by_its_parts():
    def picture(size: int) -> bytes:
        return b"Subject: x\nContent-Type: image/png\n\n" + b"p" * size

    assert numbers(picture(500), picture(900), picture(500)) == [0, 1, 0]


def test_likeness_of_sketches_estimates_the_share_of_common_triples():
    words = text(5, words=600).split()
    for share in (0.25, 0.5, 0.75):
        kept = int(len(words) * share)
        other = words[:kept] + text(6, words=600 - kept).split()
        one, two = (fingerprint_text(" ".join(some)).sketch for some in (words, other))
        jaccard = kept / (2 * len(words) - kept)
        assert similarity(one, two) == pytest.approx(jaccard, abs=3 / np.sqrt(SKETCH_SIZE) / 2)


@pytest.mark.parametrize("raw", [b"", b"\0" * 1000, b"\xff" * 5000, bytes(range(256)) * 20])
def test_any_bytes_have_a_fingerprint(raw):
    assert campaigns([fingerprint(raw), fingerprint(raw)]).tolist() == [0, 0]


def test_nothing_gives_nothing():
    assert campaigns([]).tolist() == []
