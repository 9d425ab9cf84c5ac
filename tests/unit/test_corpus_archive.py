"""The archive of labelled mail: durable, each message once, the last word counts."""

import gzip
import json

import pytest

from training.corpus import CorpusMessage, ProblemCode
from training.corpus.archive import Archive, Decision


def mail(text: str) -> CorpusMessage:
    return CorpusMessage(raw=f"Subject: {text}\n\n{text}\n".encode(), source=f"{text}.eml")


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "corpus")


def standing(archive, problems=None):
    found = [] if problems is None else problems
    return [(message.raw, is_spam) for message, is_spam in archive.stream(on_problem=found.append)]


def test_what_was_added_comes_back_with_its_label(archive, tmp_path):
    assert standing(archive) == []
    added = archive.add([(mail("a"), True), (mail("b"), False)], who="ann", reason="import")
    assert (added.new, added.changed, added.known) == (2, 0, 0)
    again = Archive(tmp_path / "corpus")
    assert standing(again) == [(mail("a").raw, True), (mail("b").raw, False)]
    decision = next(again.decisions())
    assert (decision.who, decision.reason, decision.source) == ("ann", "import", "a.eml")
    assert decision.at_ms > 1_700_000_000_000


def test_the_same_message_counts_once_and_a_changed_label_counts_once(archive):
    archive.add([(mail("a"), True), (mail("a"), True)], who="ann", reason="import")
    added = archive.add([(mail("a"), False), (mail("a"), False)], who="bob", reason="review")
    assert (added.new, added.changed, added.known) == (0, 1, 1)
    assert standing(archive) == [(mail("a").raw, False)]
    assert [decision.who for decision in archive.decisions()] == ["ann", "bob"]


def test_a_label_can_be_taken_back_and_given_again(archive):
    archive.add([(mail("a"), True)], who="ann", reason="import")
    digest = next(iter(archive.labels()))
    assert archive.withdraw(digest, who="ann", reason="mistake")
    assert not archive.withdraw(digest, who="ann", reason="mistake")
    assert not archive.withdraw("0" * 64, who="ann", reason="mistake")
    assert standing(archive) == []
    assert archive.add([(mail("a"), True)], who="ann", reason="import").changed == 1
    assert standing(archive) == [(mail("a").raw, True)]


def test_a_torn_last_line_costs_that_line_only(archive, tmp_path):
    archive.add([(mail("a"), True)], who="ann", reason="import")
    log = tmp_path / "corpus" / "labels.jsonl"
    line = log.read_bytes()
    log.write_bytes(line + line[:40])
    problems = []
    assert standing(archive, problems) == [(mail("a").raw, True)]
    assert [problem.code for problem in problems] == [ProblemCode.UNREADABLE]
    archive.add([(mail("b"), False)], who="ann", reason="import")
    assert standing(archive) == [(mail("a").raw, True), (mail("b").raw, False)]


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"digest": "../../etc/passwd"},
        {"digest": "Z" * 64},
        {"label": "eggs"},
        {"label": ["ham"]},
        {"at": "now"},
    ],
)
def test_a_line_that_is_no_label_is_refused(archive, change):
    archive.add([(mail("a"), True)], who="ann", reason="import")
    fields = json.loads(next(archive.decisions()).as_line()) | change
    with pytest.raises(ValueError):
        Decision.from_line(json.dumps(fields))


def test_damaged_and_missing_messages_are_reported_not_used(archive, tmp_path):
    names = ("gone", "cut", "swapped", "rotten", "good")
    archive.add([(mail(name), True) for name in names], who="ann", reason="import")
    paths = [
        tmp_path / "corpus" / "messages" / digest[:2] / f"{digest}.eml.gz"
        for digest in archive.labels()
    ]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:15])
    paths[2].write_bytes(gzip.compress(b"another mail"))
    paths[3].write_bytes(paths[3].read_bytes()[:12] + b"\xff" * 20)
    problems = []
    assert standing(archive, problems) == [(mail("good").raw, True)]
    assert [problem.code for problem in problems] == [
        ProblemCode.MISSING,
        ProblemCode.BROKEN_GZIP,
        ProblemCode.UNREADABLE,
        ProblemCode.BROKEN_GZIP,
    ]


def test_a_failed_write_leaves_no_label_without_its_message(archive, tmp_path, monkeypatch):
    archive.add([(mail("a"), True)], who="ann", reason="import")

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.corpus.archive.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        archive.add([(mail("b"), True)], who="ann", reason="import")
    monkeypatch.undo()
    assert standing(archive) == [(mail("a").raw, True)]
    assert not list((tmp_path / "corpus").rglob("*.tmp"))
