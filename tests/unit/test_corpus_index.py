"""Index files: the lines of the TREC corpora, and the lines people get wrong."""

import pytest

from training.corpus import ProblemCode, read_index, read_index_entries
from training.corpus.index import expected_messages, find_index

MAIL = b"Subject: x\n\nbody\n"


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "full").mkdir()
    for name in ("inmail.1", "inmail.2", "with space"):
        (tmp_path / "data" / name).write_bytes(MAIL + name.encode())
    return tmp_path


def read(index, problems):
    return [
        (message.raw.removeprefix(MAIL).decode(), is_spam)
        for message, is_spam in read_index(index, on_problem=problems.append)
    ]


def test_lines_of_the_track_with_paths_relative_to_the_index(corpus):
    index = corpus / "full" / "index"
    index.write_bytes(
        b"spam ../data/inmail.1\r\n"
        b"\n# a comment\n"
        b"HAM\t../data/inmail.2\n"
        b"ham ../data/with space\n"
        b"spam ../data/inmail.2 user-7 work\n" + b"ham " + bytes(corpus / "data" / "inmail.1")
    )
    problems = []
    assert read(index, problems) == [
        ("inmail.1", True),
        ("inmail.2", False),
        ("with space", False),
        ("inmail.2", True),
        ("inmail.1", False),
    ]
    assert problems == []


def test_bad_lines_get_one_problem_each_and_the_rest_goes_on(corpus):
    index = corpus / "index"
    index.write_bytes(
        b"spam\n"
        b"eggs data/inmail.1\n"
        b"ham data/\0x\n"
        b"spam " + b"x" * 20_000 + b"\n"
        b"ham data/gone\n"
        b"ham data/inmail.1\n"
    )
    problems = []
    assert read(index, problems) == [("inmail.1", False)]
    assert [problem.code for problem in problems] == [
        ProblemCode.BAD_LINE,
        ProblemCode.BAD_LINE,
        ProblemCode.BAD_LINE,
        ProblemCode.BAD_LINE,
        ProblemCode.MISSING,
    ]
    assert f"{index}:2: " in str(problems[1])
    assert "eggs" in str(problems[1])


def test_file_names_of_any_bytes(corpus):
    (corpus / "data" / "gr\udcfc\udcdfe").write_bytes(MAIL + b"latin")
    index = corpus / "index"
    index.write_bytes(b"ham data/gr\xfc\xdfe\n")
    assert read(index, []) == [("latin", False)]


def test_lines_are_numbered(corpus):
    index = corpus / "index"
    index.write_bytes(b"\nham a\nspam b\n")
    entries = list(read_index_entries(index, on_problem=pytest.fail))
    assert [(entry.line, entry.is_spam) for entry in entries] == [(2, False), (3, True)]


def test_a_corpus_folder_stands_for_its_index(corpus):
    with pytest.raises(FileNotFoundError, match="no file named 'index'"):
        find_index(corpus)
    with pytest.raises(FileNotFoundError, match="no such file"):
        find_index(corpus / "gone")
    (corpus / "full" / "index").write_bytes(b"")
    assert find_index(corpus) == corpus / "full" / "index"
    (corpus / "index").write_bytes(b"")
    assert find_index(corpus) == corpus / "index"
    assert find_index(corpus / "index") == corpus / "index"


def test_a_byte_order_mark_costs_no_message(corpus):
    index = corpus / "index"
    index.write_bytes(b"\xef\xbb\xbfspam data/inmail.1\r\nham data/inmail.2\r\n")
    problems = []
    assert read(index, problems) == [("inmail.1", True), ("inmail.2", False)]
    assert problems == []


def test_lines_that_end_in_bare_cr_are_told_and_not_taken_for_one(corpus):
    index = corpus / "index"
    index.write_bytes(b"spam data/inmail.1\rham data/inmail.2\rham data/inmail.1\r")
    problems = []
    assert read(index, problems) == []
    assert [problem.code for problem in problems] == [ProblemCode.BAD_LINE]


def test_how_many_messages_an_index_names(corpus):
    box = corpus / "box"
    mail = b"From a@b Thu Aug 22 12:36:23 2002\n" + MAIL + b"x" * 100_000 + b"\n\n"
    box.write_bytes(mail * 3)
    index = corpus / "index"
    index.write_bytes(b"spam data/inmail.1\nham data\nham box\nham gone\neggs data\n")
    assert expected_messages(index) == 1 + 3 + 3
    for limit in range(1, 9):
        assert expected_messages(index, limit) == min(limit, 7)
