"""Headers of today's mail systems: whole, varied, alike for both classes, no verdict alone."""

from collections import Counter

import pytest

from models.bundle import Bundle
from models.message import scan
from models.registry import baseline_directory
from training.baseline_lessons import lessons
from training.baseline_modern import ModernDresser
from training.baseline_sources import SourceMessage

OWN = [b'From: "Bob Smith" <bob@old.example>', b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", b"X-Old: 1"]
TEXT = "Guten Tag,\n\nwir sehen uns am Dienstag um zehn Uhr im Büro.\n".encode()
REPORT = b"Return-Path: <>\n"
EVERYDAY = (
    TEXT,
    b"Hallo Frau Weber,\n\nvielen Dank, das passt mir gut. Bis Donnerstag!\n\nGruss\nPeter\n",
)


def test_a_dressed_text_is_a_whole_message_of_its_own_subject() -> None:
    dresser = ModernDresser(3)
    kinds: Counter[str] = Counter()
    for _ in range(200):
        mail = scan(dresser.dress(OWN, TEXT))
        assert mail.subject == "Grüße"
        assert "am Dienstag um zehn Uhr im Büro" in mail.text
        assert not mail.defects
        sender = mail.header("from")
        assert sender is not None
        assert sender.text.startswith("Bob Smith <")
        assert "old.example" not in sender.text
        assert all(mail.header(key) for key in ("received", "date", "message-id", "to"))
        assert mail.header("x-old") is None
        kinds.update(part.content_type for part in mail.parts)
    assert set(kinds) >= {"text/plain", "text/html"}


def test_the_same_seed_gives_the_same_messages() -> None:
    first, second = ModernDresser(7), ModernDresser(7)
    assert [first.dress(OWN, TEXT) for _ in range(50)] == [
        second.dress(OWN, TEXT) for _ in range(50)
    ]


def test_ham_and_spam_are_shown_in_it_in_the_same_share() -> None:
    english = [
        SourceMessage(path=f"e{n}", raw=b"Subject: x\n\nbody %d\n" % n, is_spam=n % 3 == 0)
        for n in range(60)
    ]
    recent = [
        SourceMessage(path=f"r{n}", raw=b"Subject: y\n\nnew\n", is_spam=True) for n in range(9)
    ]
    seen: Counter[tuple[bool, bool]] = Counter()
    for path, raw, is_spam in lessons(english, recent, [], seed=1):
        if path.startswith("e") and not raw.startswith(REPORT):
            seen[is_spam, b" Nov 2026 " in raw or b" Oct 2026 " in raw] += 1
    # Each under a header of today, every second inside a letter as well.
    assert seen[True, True] == 20 + 10
    assert seen[False, True] == 40 + 20


@pytest.mark.parametrize("text", EVERYDAY)
def test_no_header_of_today_speaks_against_an_everyday_letter(text: bytes) -> None:
    """German ones: of recent English ham the shipped model knows nothing (its card says so)."""
    shipped = Bundle.load(baseline_directory())
    dresser = ModernDresser(99)
    for _ in range(60):
        raw = dresser.dress([b"Subject: Termin"], text)
        assert shipped.points(shipped.score(scan(raw), raw)) < shipped.points_cap / 2
