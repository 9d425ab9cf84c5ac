"""What is kept of archived mail: the same lessons as from the mail itself, or made anew."""

from pathlib import Path

import pytest

from models.mailboxes.message import CorpusProblem
from training.archived_lessons import SeenMail, gather_archived
from training.corpus import read_index
from training.corpus.archive import Archive
from training.lessons import Lessons, gather


@pytest.fixture
def folder(tmp_path: Path, mail_data: Path) -> Path:
    """An archive of real mail, imported as the command line does."""
    stream = read_index(mail_data / "index", on_problem=lambda _: None)
    Archive(tmp_path).add(SeenMail(tmp_path).watch(stream), who="anna", reason="import")
    return tmp_path


Told = list[tuple[object, ...]]


def told(lessons: Lessons) -> Told:
    prints = [one.to_bytes() for one in lessons.prints]
    return list(zip(lessons.examples, lessons.times, prints, lessons.names, strict=True))


def archived(folder: Path) -> tuple[Told, list[CorpusProblem]]:
    problems: list[CorpusProblem] = []
    found = gather_archived(Archive(folder), folder, on_problem=problems.append)
    return told(found), problems


def from_mail(folder: Path) -> Told:
    return told(gather(Archive(folder).stream(on_problem=lambda _: None)))


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "features").rglob("*") if path.is_file())


def test_the_lessons_are_those_of_the_mail(folder: Path) -> None:
    found, problems = archived(folder)
    assert found == from_mail(folder)
    assert len(found) == len(kept(folder)) > 20
    assert problems == []


def test_labels_teach_when_the_mail_is_gone(folder: Path) -> None:
    before, _ = archived(folder)
    for path in (folder / "messages").rglob("*.eml.gz"):
        path.unlink()
    assert archived(folder) == (before, [])


@pytest.mark.parametrize("damage", [b"", b"torn", None], ids=["empty", "torn", "one-bit"])
def test_what_is_damaged_is_made_anew(folder: Path, damage: bytes | None) -> None:
    before, _ = archived(folder)
    first = kept(folder)[0]
    whole = first.read_bytes()
    first.write_bytes(bytes([whole[0] ^ 1]) + whole[1:] if damage is None else damage)
    assert archived(folder) == (before, [])
    assert first.read_bytes() == whole


def test_damaged_and_without_its_mail_it_is_a_problem(folder: Path) -> None:
    before, _ = archived(folder)
    first = kept(folder)[0]
    first.write_bytes(b"")
    (folder / "messages" / first.name[:2] / f"{first.name}.eml.gz").unlink()
    found, problems = archived(folder)
    assert len(found) == len(before) - 1
    assert [first.name in problem.where for problem in problems] == [True]
