"""What people hand to ``schwamm evaluate`` besides a tidy index, and where they want the report."""

import json
import mailbox
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import schwamm
from models.message import scan
from training.corpus import read_index
from training.evaluate_pipeline import learning_model
from training.online import OnlineFilter
from training.report_texts import ENGLISH, GERMAN

SCHWAMM = Path(sys.executable).with_name("schwamm")
ONLINE = ("--protocol", "online", "--model", "none")


def letter(number: int, *, is_spam: bool) -> bytes:
    words = "lottery prize claim now" if is_spam else "minutes of our meeting"
    return f"From: a{number}@b.example\nSubject: {words}\n\n{words} number {number}\n".encode()


@pytest.fixture
def index(tmp_path):
    """Twenty messages, every second one spam."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    lines = []
    for number in range(20):
        is_spam = number % 2 == 1
        (corpus / f"{number}.eml").write_bytes(letter(number, is_spam=is_spam))
        lines.append(f"{'spam' if is_spam else 'ham'} {number}.eml\n")
    (corpus / "index").write_text("".join(lines))
    return corpus / "index"


def call(*arguments, language="en"):
    return CliRunner().invoke(
        schwamm, ["--language", language, "evaluate", *map(str, arguments)], obj={}
    )


def test_a_report_without_a_folder_is_refused_before_the_run(index, tmp_path):
    done = call("--index", index, *ONLINE, "--json", "--report", tmp_path / "gone" / "r.html")
    assert done.exit_code == 2
    assert done.stdout == ""  # nothing was measured
    assert f"{tmp_path / 'gone'}: there is no such folder; create it first" in done.stderr
    arguments = ("--index", index, *ONLINE, "--report", tmp_path / "gone" / "r.html")
    assert "diesen Ordner gibt es nicht" in call(*arguments, language="de").stderr


def test_a_report_that_cannot_be_written_is_refused_before_the_run(index, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    done = call("--index", index, *ONLINE, "--json", "--report", tmp_path / "loop")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert f"the report {tmp_path / 'loop'} cannot be written" in done.stderr
    assert "choose another place" in done.stderr


def test_a_report_never_replaces_the_index(index):
    before = index.read_bytes()
    done = call("--index", index.parent, *ONLINE, "--report", index)
    assert done.exit_code == 2
    assert "is the index" in done.stderr
    assert index.read_bytes() == before


def test_asking_for_the_place_leaves_nothing_and_takes_nothing(index, tmp_path):
    old, new, link = tmp_path / "old.html", tmp_path / "new.html", tmp_path / "link.html"
    old.write_text("the last report")
    link.symlink_to(tmp_path / "target.html")
    index.write_text("ham gone.eml\n")
    for place in (old, new, link):
        assert call("--index", index, *ONLINE, "--report", place).exit_code == 1
    assert old.read_text() == "the last report"
    assert not new.exists()
    assert link.is_symlink()
    assert not link.exists()


@pytest.mark.parametrize("kind", ["ham", "spam"])
def test_mail_of_one_kind_has_a_report_of_what_it_can_tell(index, tmp_path, kind):
    lines = [line for line in index.read_text().splitlines() if line.startswith(kind)]
    index.write_text("\n".join(lines))
    page = tmp_path / "report.html"
    done = call("--index", index, *ONLINE, "--json", "--report", page)
    assert done.exit_code == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count(ENGLISH["needs_both"]) == 4
    assert text.count("<svg") == 3  # errors, calibration, scores
    assert ENGLISH["roc_title"] not in text


def test_an_index_that_can_be_read_only_once_is_called_that(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = call("--index", tmp_path / "pipe", *ONLINE)
    assert done.exit_code == 2
    assert (
        "this is no regular file; the index is read more than once, so save it first" in done.stderr
    )
    assert (
        "das ist keine gewöhnliche Datei"
        in call("--index", tmp_path / "pipe", language="de").stderr
    )


def test_a_german_table_has_german_numbers(index):
    done = call("--index", index, *ONLINE, language="de")
    assert done.exit_code == 0, done.stderr
    assert GERMAN["ham_misclassified_percent"] in done.stdout
    assert "0,000 bis" in done.stdout
    assert "0.000" not in done.stdout


def test_progress_knows_how_many_messages_mailboxes_and_folders_hold(tmp_path):
    box = mailbox.mbox(tmp_path / "box")
    padding = b"x " * 30_000
    for number in range(7):
        box.add(letter(number, is_spam=False) + padding)
    box.close()
    (tmp_path / "spam").mkdir()
    for number in range(5):
        (tmp_path / "spam" / f"{number}.eml").write_bytes(letter(number, is_spam=True))
    index = tmp_path / "index"
    index.write_text("ham box\nspam spam\nspam gone\n")
    done = call("--index", index, *ONLINE, "--json", "--progress")
    assert json.loads(done.stdout)["messages"] == 12
    assert "12/12" in done.stderr
    done = call("--index", index, *ONLINE, "--json", "--progress", "--limit", 9)
    assert "9/9" in done.stderr


def test_progress_never_promises_an_end_that_has_passed(tmp_path):
    """Small mailboxes are not looked into beforehand: then the number is open, not wrong."""
    box = mailbox.mbox(tmp_path / "box")
    for number in range(30):
        box.add(letter(number, is_spam=number % 2 == 1))
    box.close()
    (tmp_path / "index").write_text("ham box\n")
    done = call("--index", tmp_path, *ONLINE, "--json", "--progress")
    assert json.loads(done.stdout)["messages"] == 30
    assert "30/?" in done.stderr


def test_the_gateways_own_model_tells_the_words_of_its_mistakes(mail_data, tmp_path):
    page = tmp_path / "report.html"
    done = call("--index", mail_data / "index", "--scorer", "pipeline", "--report", page, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["spam_misclassified_percent"] > 0.0
    text = page.read_text(encoding="utf-8")
    assert ENGLISH["no_words"] not in text
    assert 'class="against"' in text


def test_what_the_pipeline_scored_is_what_its_model_learns(mail_data):
    """The gateway sees CRLF; a model taught the LF of stored mail would know other patterns."""
    model, teacher = learning_model(None)
    expected = OnlineFilter()
    for message, is_spam in read_index(mail_data / "index", on_problem=pytest.fail):
        received = message.raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        assert model.score(scan(received), received).log_odds == expected.score(received).log_odds
        teacher.train(message.raw, is_spam)
        expected.train(received, is_spam)


def test_a_full_disk_behind_standard_output_is_one_sentence(index):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [SCHWAMM, "evaluate", "--index", index, *ONLINE, "--json"],
            stdout=full, stderr=subprocess.PIPE, check=False, timeout=60,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode() == "schwamm: No space left on device\n"
