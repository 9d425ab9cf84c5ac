"""The judge's line protocol, in one process and over real pipes."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from training.evaluate_filters import open_filter
from training.jig import Jig, exact_decimal
from training.protocols import MORE_LIKELY_SPAM

HAM = b"From: ann@example.org\nSubject: minutes\n\nThe minutes of our meeting\n"
SPAM = b"From: win@example.com\nSubject: prize\n\nClaim your lottery prize money now\n"
ANSWER = re.compile(r"class=(ham|spam) score=(-?\d+(?:\.\d+)?)")


class LengthFilter:
    """Spam is what is longer than the longest ham it was taught: small, but it does learn."""

    def __init__(self):
        self.longest_ham = 0
        self.seen = []

    def classify(self, raw):
        if raw == b"crash":
            raise RuntimeError("boom")
        return 0.98 if len(raw) > self.longest_ham else 0.02

    def train(self, raw, is_spam):
        self.seen.append((raw, is_spam))
        if not is_spam:
            self.longest_ham = max(self.longest_ham, len(raw))


@pytest.fixture
def session():
    """Run commands against a fresh LengthFilter; return (filter, answers, complaints)."""

    def run(*commands: bytes, learns=True):
        tested, answers, complaints = LengthFilter(), [], []
        jig = Jig(
            tested,
            learn=tested.train if learns else None,
            answer=answers.append,
            complain=complaints.append,
        )
        jig.run(io.BytesIO(b"".join(command + b"\n" for command in commands)))
        return tested, answers, complaints

    return run


def test_classify_and_train(session, tmp_path):
    short, long = tmp_path / "short mail", tmp_path / "long"
    short.write_bytes(b"A: b\n\nx")
    long.write_bytes(b"A: b\n\nxyz")
    tested, answers, complaints = session(
        b"initialize",
        b"classify " + bytes(short),
        b"train ham " + bytes(short) + b"\r",
        b"classify " + bytes(short) + b"\r",
        b"",
        b"judge spam " + bytes(long),
        b"classify " + bytes(long),
        b"finalize",
        b"classify " + bytes(long),
    )
    assert answers == ["class=spam score=0.98", "class=ham score=0.02", "class=spam score=0.98"]
    assert complaints == []
    assert tested.seen == [(b"A: b\n\nx", False), (b"A: b\n\nxyz", True)]
    tested, _, complaints = session(b"train SPAM " + bytes(long))
    assert (tested.seen, complaints) == ([(b"A: b\n\nxyz", True)], [])


def test_every_classify_is_answered_and_every_problem_is_one_line(session, tmp_path):
    (tmp_path / "crash").write_bytes(b"crash")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    place = bytes(tmp_path)
    tested, answers, complaints = session(
        b"classify " + place + b"/gone",
        b"classify " + place,
        b"classify",
        b"classify " + place + b"/crash",
        b"classify " + place + b"/empty",
        b"classify " + place + b"/binary",
        b"classify a\0b",
        b"train ham " + place + b"/gone",
        b"train eggs " + place + b"/empty",
        b"train ham",
        b"dance " + b"x" * 1000,
    )
    no_answer = "class=ham score=0"
    readable = ["class=ham score=0.02", "class=spam score=0.98"]
    assert answers == [no_answer] * 4 + readable + [no_answer]
    assert len(complaints) == 9
    assert all("\n" not in complaint and len(complaint) < 400 for complaint in complaints)
    assert "gone: there is no such file" in complaints[0]
    assert "boom" in complaints[3]
    assert tested.seen == []


@pytest.mark.parametrize("model", [None, "none"])
def test_a_filter_that_was_taught_nothing_says_one_half_and_condemns_nobody(tmp_path, model):
    mail = tmp_path / "m"
    mail.write_bytes(b"")
    tested = open_filter("classifier", model, None, str, learning=True)
    answers = []
    jig = Jig(
        tested.scorer,
        learn=tested.learn,
        answer=answers.append,
        complain=answers.append,
        threshold=tested.threshold,
    )
    jig.run(io.BytesIO(b"classify " + bytes(mail) + b"\n"))
    (answer,) = answers
    if model == "none":
        assert answer == "class=ham score=0.5"
    else:
        assert ANSWER.fullmatch(answer)
    assert 0.5 < MORE_LIKELY_SPAM < 0.5 + 1e-15


def test_a_file_that_fails_while_it_is_read_does_not_end_the_run(session, tmp_path, monkeypatch):
    def broken(path):
        raise RuntimeError("a disk of a kind nobody knows")

    mail = tmp_path / "m"
    mail.write_bytes(HAM)
    monkeypatch.setattr("training.jig.read_bytes", broken)
    _, answers, complaints = session(b"train ham " + bytes(mail), b"classify " + bytes(mail))
    assert answers == ["class=ham score=0"]
    assert [complaint.rpartition(": ")[2] for complaint in complaints] == [
        "a disk of a kind nobody knows"
    ] * 2


def test_the_end_of_a_line_that_is_too_long_is_no_command(session, tmp_path):
    mail = tmp_path / "m"
    mail.write_bytes(HAM)
    rest = b"x" * (64 * 1024 - len("classify /"))
    _, answers, _ = session(
        b"classify /" + rest + b"finalize", b"y" * 200_000, b"classify " + bytes(mail)
    )
    assert answers == ["class=ham score=0", "class=spam score=0.98"]


@pytest.mark.parametrize(
    "command", [b"classify\t%s", b"  CLASSIFY   %s  \r", b"\xef\xbb\xbfclassify %s"]
)
def test_a_judge_that_writes_commands_its_own_way_is_not_left_waiting(session, tmp_path, command):
    (tmp_path / "m").write_bytes(HAM)
    mail = bytes(tmp_path / "m")
    tested, answers, complaints = session(
        command % mail, b"Train\tHam\t" + mail, b"classify " + mail
    )
    assert answers == ["class=spam score=0.98", "class=ham score=0.02"]
    assert complaints == []
    assert tested.seen == [(HAM, False)]


def test_a_scorer_that_cannot_learn_says_so_once(session, tmp_path):
    mail = tmp_path / "m"
    mail.write_bytes(HAM)
    train = b"train ham " + bytes(mail)
    _, answers, complaints = session(train, train, b"classify " + bytes(mail), learns=False)
    assert answers == ["class=spam score=0.98"]
    assert complaints == ["this scorer cannot learn: train commands change nothing"]


@pytest.mark.parametrize(
    "score", [0.0, 1.0, 0.5, 0.98, 1e-300, 5e-324, 1 - 2**-53, 1 / 3, 123.456, -7.25]
)
def test_scores_lose_nothing_on_their_way(score):
    text = exact_decimal(score)
    assert "e" not in text.lower()
    assert float(text) == score


@pytest.mark.parametrize("model", ["none", None])
def test_over_real_pipes_a_judge_teaches_and_is_answered_at_once(tmp_path, model):
    for name, data in (("ham", HAM), ("spam", SPAM)):
        (tmp_path / name).write_bytes(data)
    arguments = [] if model is None else ["--model", model]
    judge = subprocess.Popen(
        [str(Path(sys.executable).with_name("schwamm")), "jig", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )

    def ask(name: str) -> tuple[str, float]:
        judge.stdin.write(b"classify " + os.fsencode(tmp_path / name) + b"\n")
        answer = ANSWER.fullmatch(judge.stdout.readline().decode().rstrip("\n"))
        return answer[1], float(answer[2])

    with judge:
        first = {name: ask(name) for name in ("ham", "spam")}
        for name in ("ham", "spam") * 3:
            judge.stdin.write(f"train {name} {tmp_path / name}\n".encode())
        taught = {name: ask(name) for name in ("ham", "spam")}
        judge.stdin.write(b"finalize\n")
        assert judge.stdout.read() == b""
        assert judge.stderr.read() == b""
        assert judge.wait(timeout=20) == 0
    assert taught["ham"][0] == "ham"
    assert taught["spam"][0] == "spam"
    assert taught["ham"][1] < taught["spam"][1]
    assert taught["spam"][1] - taught["ham"][1] > first["spam"][1] - first["ham"][1]


def jig(**options) -> subprocess.Popen:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("schwamm")), "jig", "--model", "none"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **options,
    )


def test_complaints_are_in_the_language_of_the_judge(tmp_path):
    mail = tmp_path / "m"
    mail.write_bytes(HAM)
    commands = f"dance\nclassify\nclassify /gone\ntrain eggs x\nclassify {mail}\n".encode()
    environment = {**os.environ, "LC_ALL": "de_DE.UTF-8"}
    judge = jig(stderr=subprocess.PIPE, env=environment)
    answers, complaints = judge.communicate(commands, timeout=60)
    assert judge.returncode == 0
    assert answers.decode().splitlines() == [*["class=ham score=0"] * 2, "class=ham score=0.5"]
    assert complaints.decode().splitlines() == [
        "unbekannter Befehl 'dance'",
        "ein Pfad fehlt",
        "/gone: diese Datei gibt es nicht",
        "erwartet wird 'train ham PFAD' oder 'train spam PFAD': 'eggs x'",
    ]


def test_a_judge_that_closed_standard_error_is_answered_on(tmp_path):
    mail = tmp_path / "m"
    mail.write_bytes(HAM)
    reading, writing = os.pipe()
    os.close(reading)
    judge = jig(stderr=writing)
    os.close(writing)
    answers, _ = judge.communicate(f"classify /gone\nclassify {mail}\n".encode(), timeout=60)
    assert answers.decode().splitlines() == ["class=ham score=0", "class=ham score=0.5"]
    assert judge.returncode == 0


def test_a_judge_that_never_reads_standard_error_is_answered_on(tmp_path):
    """A pipe takes 64 KiB: the complaints of 3,000 missing files filled it, and both sides hung."""
    reading, writing = os.pipe()
    judge = jig(stderr=writing)
    os.close(writing)
    commands = b"".join(b"classify /gone/%d\n" % number for number in range(3000))
    answers, _ = judge.communicate(commands, timeout=60)
    assert answers.decode().splitlines() == ["class=ham score=0"] * 3000
    assert judge.returncode == 0
    os.close(reading)
