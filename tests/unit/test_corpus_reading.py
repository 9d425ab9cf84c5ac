"""Whatever lies at a path: mail is read as it is, everything else gets one line."""

import gzip
import io
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.mailboxes import reading
from models.mailboxes.mbox import split_mbox, without_from_line
from training.corpus import CorpusProblem, ProblemCode, ReadLimits, read_messages, read_one

LF = b"From: a@example.org\nSubject: one\n\nHello\n"
CRLF = LF.replace(b"\n", b"\r\n")
FROM_LINE = b"From a@example.org Thu Aug 22 12:36:23 2002\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x01\x00\x08\x06\x00\x00\x00"


class Problems(list):
    @property
    def codes(self):
        return [problem.code for problem in self]


@pytest.fixture
def problems():
    return Problems()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def raws(path: Path, problems) -> list[bytes]:
    return [message.raw for message in read_messages(path, on_problem=problems.append)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(LF, id="lf"),
        pytest.param(CRLF, id="crlf"),
        pytest.param(b"Subject: gr\xfc\xdfe\n\nSch\xf6n \xff\xfe\n", id="8bit"),
        pytest.param(b"Subject: nul\n\nbroken \x00\x01\x02 body", id="nul-after-header"),
        pytest.param(b"no header at all, only a line of text\n", id="text-without-header"),
        pytest.param(b"X" * 5000 + b": long name\n\nbody", id="overlong-field-name"),
        pytest.param(b"Subject: header only", id="header-only"),
    ],
)
def test_a_message_file_is_read_unchanged(tmp_path, problems, data):
    assert raws(write(tmp_path / "m.eml", data), problems) == [data]
    assert problems == []


def test_a_leading_from_line_is_no_part_of_the_message(tmp_path, problems):
    assert raws(write(tmp_path / "m", FROM_LINE + LF), problems) == [LF]
    assert raws(write(tmp_path / "c", FROM_LINE.replace(b"\n", b"\r\n") + CRLF), problems) == [CRLF]
    ending = FROM_LINE + LF + b"\n\n"
    assert raws(write(tmp_path / "e", ending), problems) == [LF + b"\n\n"]
    assert read_one(tmp_path / "e", on_problem=problems.append).raw == LF + b"\n\n"
    assert without_from_line(b">From x\nFrom y\nA: b\n") == b"A: b\n"
    assert without_from_line(b"From without end") == b"From without end"


def test_a_million_from_lines_are_dropped_in_linear_time():
    assert without_from_line(b"From \n" * 1_000_000 + b"A: b\n") == b"A: b\n"


def test_a_file_that_would_make_us_wait_is_a_problem(tmp_path, problems, monkeypatch):
    class Silent(io.BytesIO):
        def read(self, size=-1, /):
            return None

        def peek(self, size=0, /):
            return b""

    @contextmanager
    def opened(path):
        yield Silent()

    monkeypatch.setattr(reading, "_opened", opened)
    (tmp_path / "kmsg").write_bytes(b"From ")  # nothing that is read at once
    found = reading.read_bytes(tmp_path / "kmsg")
    assert isinstance(found, CorpusProblem)
    assert found.code is ProblemCode.UNREADABLE
    assert list(reading.read_messages(tmp_path / "kmsg", on_problem=problems.append)) == []
    assert [problem.code for problem in problems] == [ProblemCode.UNREADABLE]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ProblemCode.EMPTY),
        (b"\r\n \n", ProblemCode.EMPTY),
        (PNG, ProblemCode.NOT_MAIL),
        (bytes(range(256)) * 4, ProblemCode.NOT_MAIL),
        (gzip.compress(LF, mtime=0)[:20], ProblemCode.BROKEN_GZIP),
        (gzip.compress(LF, mtime=0)[:-6] + b"damage", ProblemCode.BROKEN_GZIP),
        (b"\x1f\x8b not gzip", ProblemCode.BROKEN_GZIP),
        (gzip.compress(b"", mtime=0), ProblemCode.EMPTY),
    ],
)
def test_what_is_no_mail_gets_one_problem(tmp_path, problems, data, code):
    path = write(tmp_path / "file", data)
    assert raws(path, problems) == []
    assert problems.codes == [code]
    assert str(problems[0]).startswith(f"{path}: ")
    assert read_one(path, on_problem=problems.append) is None
    assert problems.codes == [code, code]


def test_missing_pipe_and_empty_folder_get_one_problem_each(tmp_path, problems):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("gone", "empty", "pipe"):
        assert raws(tmp_path / name, problems) == []
    assert problems.codes == [
        ProblemCode.MISSING,
        ProblemCode.NO_MAIL_INSIDE,
        ProblemCode.UNREADABLE,
    ]
    assert read_one(tmp_path / "empty", on_problem=problems.append) is None


def test_a_problem_is_one_printable_line():
    problem = CorpusProblem(code=ProblemCode.MISSING, where="a\nb\x1b[2J\udcff", detail="x\r\ny")
    assert "\n" not in str(problem)
    assert "\r" not in str(problem)
    assert "\x1b" not in str(problem)
    str(problem).encode("utf-8")


def test_a_message_above_the_limit_is_reported(tmp_path, problems):
    limits = ReadLimits(max_message_bytes=100)
    path = write(tmp_path / "m", LF + b"x" * 100)
    assert list(read_messages(path, on_problem=problems.append, limits=limits)) == []
    box = write(tmp_path / "box", FROM_LINE + LF + b"y" * 500 + b"\n\n" + FROM_LINE + LF)
    read = list(read_messages(box, on_problem=problems.append, limits=limits))
    assert [message.raw for message in read] == [LF]
    assert problems.codes == [ProblemCode.TOO_LARGE] * 2


def test_an_mbox_gives_its_messages_with_numbers(tmp_path, problems):
    box = FROM_LINE + LF + b"\n" + FROM_LINE + LF.replace(b"one", b"two")
    path = write(tmp_path / "box", box)
    read = list(read_messages(path, on_problem=problems.append))
    assert [message.raw for message in read] == [LF, LF.replace(b"one", b"two")]
    assert [message.source for message in read] == [f"{path}#1", f"{path}#2"]
    assert raws(write(tmp_path / "box.gz", gzip.compress(box)), problems) == [
        message.raw for message in read
    ]
    crlf = write(tmp_path / "crlf", box.replace(b"\n", b"\r\n"))
    assert raws(crlf, problems) == [message.raw.replace(b"\n", b"\r\n") for message in read]
    assert problems == []


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param(b"text\nFrom a@b Thu Aug 22 12:36:23 2002\nA: b\n", id="no-blank-line-before"),
        pytest.param(b"\nFrom now on at 12:30 we meet\nA: b\n", id="no-year"),
        pytest.param(b"\nFrom a@b Thu Aug 22 12:36:23 2002\nand then text\n", id="no-field-after"),
        pytest.param(b"\n>From a@b Thu Aug 22 12:36:23 2002\nA: b\n", id="quoted"),
        pytest.param(b"\nFrom " + b"x" * 200_000 + b" 12:30 2002\nA: b\n", id="endless-line"),
    ],
)
def test_a_from_line_in_a_body_does_not_split(tmp_path, problems, inside):
    first, second = LF + inside, LF.replace(b"one", b"two")
    box = write(tmp_path / "box", FROM_LINE + first + b"\n" + FROM_LINE + second)
    assert raws(box, problems) == [first, second]


def test_splitting_needs_memory_for_one_message_only(tmp_path):
    class Endless:
        """Ten million messages, made as they are read; reading all would take minutes."""

        def __init__(self):
            self.reads = 0

        def readline(self, limit):
            self.reads += 1
            return [FROM_LINE, b"A: b\n", b"\n", b"body\n", b"\n"][(self.reads - 1) % 5]

    stream = Endless()
    messages = split_mbox(stream)
    assert [next(messages) for _ in range(3)] == [b"A: b\n\nbody\n"] * 3
    assert stream.reads < 20


def test_a_maildir_is_read_in_order_of_arrival_without_tmp(tmp_path, problems):
    box = tmp_path / "Maildir"
    write(box / "new" / "1700000300.b.host", LF + b"3")
    write(box / "cur" / "1700000200.a.host:2,S", LF + b"2")
    write(box / "cur" / "999999999.z.host:2,S", gzip.compress(LF + b"1"))
    write(box / "tmp" / "1700000400.c.host", LF + b"half")
    write(box / ".Junk" / "cur" / "1700000100.d.host", LF + b"junk")
    write(box / "cur" / ".hidden", LF)
    assert raws(box, problems) == [LF + b"1", LF + b"2", LF + b"3"]
    assert raws(box / ".Junk", problems) == [LF + b"junk"]
    assert problems == []


def test_a_tree_goes_on_after_each_bad_file(tmp_path, problems):
    write(tmp_path / "b" / "2.eml", LF + b"2")
    write(tmp_path / "a" / "1.eml.gz", gzip.compress(LF + b"1"))
    write(tmp_path / "b" / "empty.eml", b"")
    write(tmp_path / "b" / "photo.png", PNG)
    write(tmp_path / "b" / "index", b"spam 2.eml\n")
    write(tmp_path / "c" / "box", FROM_LINE + LF + b"\n" + FROM_LINE + LF)
    write(tmp_path / ".git" / "config", LF)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "loop").symlink_to(tmp_path)
    assert raws(tmp_path, problems) == [LF + b"1", LF + b"2", LF, LF]
    assert problems.codes == [ProblemCode.EMPTY, ProblemCode.NOT_MAIL]


@pytest.mark.parametrize("size", [0, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_messages_of_every_size_are_read_whole_up_to_the_limit(tmp_path, size, packed):
    data = b"A: b\n\n" + b"x" * size
    path = write(tmp_path / "m", gzip.compress(data) if packed else data)
    assert reading.read_bytes(path) == data
    cut = reading.read_bytes(path, ReadLimits(max_message_bytes=100_000))
    assert cut == data[:100_001]
