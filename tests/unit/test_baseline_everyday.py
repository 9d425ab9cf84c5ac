"""What the public corpora lack, written for the project: whole messages, the same for a seed."""

import re
from collections import Counter

from models.message import scan
from training.baseline_everyday import EverydayDresser
from training.baseline_lessons import LETTERS, REPORTS, everyday, lessons
from training.baseline_reports import DeliveryReporter
from training.baseline_sources import SourceMessage

RETURNED = b"From: a@old.example\nSubject: lunch\n\nAt noon, as always?\n"


def test_a_frame_holds_the_text_and_leaves_no_slot_open() -> None:
    dresser = EverydayDresser(3)
    for _ in range(300):
        framed = dresser.frame("Grüße aus Kiel".encode()).decode()
        assert "Grüße aus Kiel" in framed
        assert not re.search(r"[{}]", framed)


def test_a_letter_is_a_whole_message_plain_or_a_page() -> None:
    dresser = EverydayDresser(3)
    kinds: Counter[str] = Counter()
    pictures = 0
    for _ in range(200):
        mail = scan(dresser.letter())
        assert not mail.defects
        assert mail.subject
        assert len(mail.text.split()) > 3
        assert "{" not in mail.subject + mail.text
        kinds.update(part.content_type for part in mail.parts)
        pictures += mail.html.remote_images > 0
    assert set(kinds) == {"text/plain", "text/html"}
    assert 40 < pictures < 160


def test_a_report_returns_the_message_in_several_shapes() -> None:
    reporter = DeliveryReporter(3)
    shapes: Counter[str] = Counter()
    for _ in range(200):
        raw = reporter.report(RETURNED)
        mail = scan(raw)
        assert not mail.defects
        assert raw.startswith(b"Return-Path: <>\n")
        assert b"Subject: lunch\n" in raw
        assert not re.search(rb"[{}]", raw)
        names = ("from", "to", "subject", "date", "message-id")
        assert all(mail.header(name) for name in names)
        top = mail.header("content-type")
        shapes[top.text.partition(";")[0] if top else ""] += 1
    assert set(shapes) == {"", "multipart/report", "multipart/mixed"}


def test_the_same_seed_gives_the_same_messages() -> None:
    english = [
        SourceMessage(path=f"e{n}", raw=b"Subject: x\n\nbody %d\n" % n, is_spam=n % 3 == 0)
        for n in range(20)
    ]
    first = everyday(english, seed=1)
    assert first == everyday(english, seed=1)
    assert first != everyday(english, seed=2)
    assert len(first) == 10 + LETTERS + REPORTS
    spam = [path for path, _, is_spam in first if is_spam]
    assert len(spam) == 4
    assert not any(path.startswith("letter") for path in spam)


def test_without_any_ham_there_is_nothing_to_return() -> None:
    spam = [SourceMessage(path="s", raw=RETURNED, is_spam=True)]
    assert len(everyday(spam, seed=1)) == 1 + LETTERS


def test_a_german_text_is_never_dressed_as_a_message_of_spam() -> None:
    """Once the texts behind the first 4,150 were: a fifth of them stood under subjects of spam."""
    english = [
        SourceMessage(
            path=f"{n}",
            raw=b"From: a@example.org\nSubject: %s\n\nbody\n" % (b"spam" if n > 3 else b"ham"),
            is_spam=n > 3,
        )
        for n in range(10)
    ]
    recent = [SourceMessage(path="r", raw=b"Received: x\nSubject: new\n\nnew\n", is_spam=True)]
    german = [SourceMessage(path=f"g{n}", raw=b"Hallo\n", is_spam=False) for n in range(40)]
    subjects = {
        scan(raw).subject for path, raw, _ in lessons(english, recent, german, 1) if path[0] == "g"
    }
    assert subjects == {"", "ham"}
