"""The shipped model: small, whole, honest about itself, and rebuilt the same from the same mail."""

from pathlib import Path

import pytest
from rich.progress import Progress

from models.bundle import Bundle
from models.message import scan
from models.registry import baseline_directory
from training import baseline
from training.baseline_card import model_card
from training.baseline_sources import Dresser, RecentDresser, bare


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return Bundle.load(baseline_directory())


def test_it_is_small_enough_for_git() -> None:
    size = sum(path.stat().st_size for path in baseline_directory().iterdir())
    assert size <= baseline.MAX_BYTES


def test_it_may_give_three_points_at_most(shipped: Bundle) -> None:
    assert shipped.origin == "baseline"
    assert shipped.points_cap == 3.0


def test_its_card_fits_it(shipped: Bundle) -> None:
    card = (baseline_directory() / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == model_card(shipped)
    assert shipped.digest in card
    assert "CC BY-SA 4.0" in card


@pytest.fixture
def corpus(tmp_path: Path, mail_data: Path) -> Path:
    """The shared messages, laid out as the three archives."""
    places = {"spamassassin": ("ham/sa-", "spam/sa-"), "spam-2023-2025": ("spam/archive-",)}
    lines = (mail_data / "index").read_text().splitlines()
    for name, prefixes in places.items():
        chosen = [line for line in lines if line.split(" ", 1)[1].startswith(prefixes)]
        assert chosen
        write(tmp_path / name, {line: read(mail_data, line) for line in chosen})
    german = [line for line in lines if " german/" in line]
    texts = {line: read(mail_data, line).partition(b"\n\n")[2] for line in german}
    write(tmp_path / "codealltag", texts)
    return tmp_path


def read(folder: Path, line: str) -> bytes:
    return (folder / line.split(" ", 1)[1]).read_bytes()


def write(folder: Path, messages: dict[str, bytes]) -> None:
    for line, raw in messages.items():
        path = folder / line.split(" ", 1)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    (folder / "index").write_text("\n".join(messages) + "\n")


def test_the_same_mail_and_seed_give_the_same_digest(corpus: Path) -> None:
    with Progress(disable=True) as progress:
        first = baseline.build(corpus, progress, seed=1)
        second = baseline.build(corpus, progress, seed=1)
        other = baseline.build(corpus, progress, seed=2)
    assert first.digest == second.digest == first.compute_digest()
    assert other.digest != first.digest


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with Progress(disable=True) as progress, pytest.raises(FileNotFoundError, match="spamassassin"):
        baseline.build(tmp_path, progress)


def test_recent_dress_keeps_what_a_message_says_and_who_says_it() -> None:
    recent = (
        b"Received: by mx.example.com;\r\n today\r\nDKIM-Signature: c\r\nFrom: spam@example.com\r\n"
        b"Subject: win\r\nX-Mailer: bulk\r\n\r\nbuy\r\n"
    )
    dresser = RecentDresser([recent], seed=1)
    own = [b"From: a@example.org", b"Received: by old.example.org", b"Subject: x", b" y"]
    seen = set()
    for _ in range(20):
        raw = dresser.dress(own, "Grüße <3 & more\n".encode())
        mail = scan(raw)
        seen.add(tuple(part.content_type for part in mail.parts))
        assert raw.startswith(b"Received: by mx.example.com;\n today\nDKIM-Signature: c\nFrom: a@")
        assert mail.subject == "x y"
        assert "Grüße <3 & more" in mail.text
        assert b"bulk" not in raw
        assert not mail.defects
    assert seen == {("text/html",), ("text/plain", "text/html")}


def test_a_text_is_dressed_in_a_real_header() -> None:
    ham = b"Received: by here\nFrom: a@example.org\nContent-Type: text/html\nSubject: x\n\nold\n"
    assert Dresser([ham], seed=1).dress(b"Gr\xc3\xbc\xc3\x9fe\n") == (
        b"Received: by here\nFrom: a@example.org\nSubject: x\nMIME-Version: 1.0\n"
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
        b"Gr\xc3\xbc\xc3\x9fe\n"
    )
    assert bare(b"Hallo\n") == b"\nHallo\n"
