"""The shipped fixed set: whole campaigns, no part of the baseline, and honest when damaged."""

from pathlib import Path

import pytest

from models.features import Features
from training import fixed_set
from training.baseline_sources import SourceMessage
from training.dedup import campaigns, fingerprint
from training.fixed_set import FILE, Divided, divide, load, save
from training.train import Example

LETTERS = str.maketrans("0123456789", "bcdfghklmn")


def words(start: int, count: int = 60) -> str:
    """Numbers make no campaign another one, so each word is spelled in letters."""
    numbers = (f"{start * 1000 + number:07}" for number in range(count))
    return " ".join(number.translate(LETTERS) for number in numbers)


def letter(path: str, text: str, *, is_spam: bool, head: str = "Subject: x") -> SourceMessage:
    raw = f"From: a@b.example\n{head}\n\n{text}\n".encode()
    return SourceMessage(path=path, raw=raw, is_spam=is_spam)


@pytest.fixture(scope="module")
def divided() -> Divided:
    """Each text twice, as a campaign: with another number in it and another name."""
    english = [
        letter(f"{n}-{copy}", f"{words(n)} {copy}", is_spam=n % 2 == 0)
        for n in range(400)
        for copy in range(2)
    ]
    recent = [letter(f"r{n}", words(1000 + n), is_spam=True) for n in range(60)]
    german = [
        SourceMessage(path=f"g{n}", raw=words(2000 + n).encode(), is_spam=False) for n in range(300)
    ]
    return divide(english, recent, german)


def test_no_campaign_is_in_the_set_and_in_the_baseline(divided: Divided) -> None:
    left = [*divided.english, *divided.recent, *divided.german]
    whole = 400 * 2 + 60 + 300
    out = whole - len(left)
    assert 0 < len(divided.fixed) < out  # the second copies are in neither
    kept = {message.path for message in divided.english}
    assert all((f"{n}-0" in kept) is (f"{n}-1" in kept) for n in range(400))
    assert len(set(campaigns([fingerprint(one.raw) for one in left]).tolist())) < len(left)


def test_it_holds_ham_and_spam_and_is_the_same_each_time(divided: Divided) -> None:
    assert 0 < sum(one.is_spam for one in divided.fixed) < len(divided.fixed)
    assert all(len(Features.from_bytes(one.stored)) > 0 for one in divided.fixed)


def test_without_mail_there_is_no_set() -> None:
    assert divide([], [], []).fixed == []


@pytest.fixture
def folder(tmp_path: Path, divided: Divided) -> Path:
    save(divided.fixed, tmp_path / FILE)
    return tmp_path


def test_what_was_saved_is_read_and_always_the_same_bytes(folder: Path, divided: Divided) -> None:
    assert load(folder) == divided.fixed
    first = (folder / FILE).read_bytes()
    save(divided.fixed, folder / FILE)
    assert (folder / FILE).read_bytes() == first


def test_none_shipped_is_an_empty_set(tmp_path: Path) -> None:
    assert load(tmp_path) == []


def test_another_feature_specification_judges_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed_set, "FEATURE_SPEC", "f0")
    assert load(folder) == []


@pytest.mark.parametrize("damage", ["cut", "other", "features", "rotten"])
def test_damage_is_named(folder: Path, damage: str) -> None:
    path = folder / FILE
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "rotten":
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 200] = bytes(200)
        path.write_bytes(content)
    elif damage == "other":
        path.write_bytes(b"not at all")
    else:
        save([Example(stored=b"nothing", is_spam=True)], path)
    with pytest.raises(ValueError, match="is no fixed set, or damaged"):
        load(folder)
