"""Marks: loops are counted per final recipient, releases are bound to mail, recipient, time."""

import stat
from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.delivery.marks import LOOP_FIELD, RELEASED_FIELD, Marks, load_key

MARKS = Marks(b"\x02" * 32)
OTHERS = Marks(b"\x03" * 32)
ME = "me@one.example"
YOU = "you@two.example"
NOW_MS = 1_764_000_000_000
MAIL = b"From: a@example.org\r\nSubject: hi\r\nDate: now\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"


def passed(content: bytes, number: int, *recipients: str, marks: Marks = MARKS) -> bytes:
    mark = marks.loop_mark(f"1jd8m3q7k-n1-{number:07d}", recipients)
    return f"{LOOP_FIELD}: {mark}\r\n".encode() + content


def test_passes_are_counted_per_final_recipient() -> None:
    once = passed(MAIL, 1, ME, YOU)
    twice = passed(once, 2, YOU)
    assert [MARKS.passes(one, ME) for one in (MAIL, once, twice)] == [0, 1, 1]
    assert [MARKS.passes(one, YOU) for one in (MAIL, once, twice)] == [0, 1, 2]
    assert not MARKS.is_loop(twice, YOU)  # one customer forwards to another behind us: everyday
    assert MARKS.is_loop(passed(twice, 3, YOU), YOU)
    assert not MARKS.is_loop(passed(twice, 3, YOU), ME)


def test_strangers_cannot_make_a_loop_mark() -> None:
    forged = passed(passed(passed(MAIL, 1, ME, marks=OTHERS), 2, ME, marks=OTHERS), 3, ME)
    assert MARKS.passes(forged, ME) == 1


def test_a_mark_of_another_mail_or_recipient_does_not_count() -> None:
    mark = MARKS.loop_mark("1jd8m3q7k-n1-0000001", [ME])
    assert MARKS.is_loop_mark(mark.encode())
    other_id = mark.replace("0000001", "0000002")
    assert not MARKS.is_loop_mark(other_id.encode())
    assert not MARKS.is_loop_mark(mark.upper().encode())
    assert not MARKS.is_loop_mark(mark.encode()[:-1])


def test_marks_tell_a_reader_nothing_about_others() -> None:
    """The same recipient has another token in every mail: blind copies stay blind."""
    tokens = [MARKS.loop_mark(f"1jd8m3q7k-n1-{n:07d}", [ME]).split(" ")[1] for n in range(50)]
    assert len(set(tokens)) == 50
    assert ME not in "".join(tokens)


def test_a_mark_survives_folding_and_many_recipients() -> None:
    recipients = [f"r{number}@one.example" for number in range(100)]
    mark = MARKS.loop_mark("1jd8m3q7k-n1-0000001", recipients)
    folded = mark.replace(" ", "\r\n\t")
    content = f"x-schwamm-mark :\r\n {folded}\r\n".encode() + MAIL
    assert all(MARKS.passes(content, recipient) == 1 for recipient in recipients)


@pytest.mark.parametrize(
    "value", [b"", b" ", b"\xff" * 100, b"a b c", b"-" * 19_000, b"a " * 9_000, b"x" * 10**6]
)
def test_nonsense_is_no_mark(value: bytes) -> None:
    content = b"X-Schwamm-Mark: " + value + b"\r\nX-Schwamm-Released: " + value + b"\r\n" + MAIL
    assert MARKS.passes(content, ME) == 0
    assert not MARKS.is_released(content, ME, NOW_MS)


def test_only_so_many_fields_are_looked_at() -> None:
    content = MAIL
    for number in range(30):
        content = passed(content, number, ME)
    assert MARKS.passes(content, ME) == 20


def released(content: bytes = MAIL, recipient: str = ME, until_ms: int = NOW_MS) -> bytes:
    mark = MARKS.released_mark(content, recipient, until_ms)
    return f"{RELEASED_FIELD}: {mark}\r\n".encode() + content


def test_a_released_mail_is_known_again_for_its_recipient_until_it_expires() -> None:
    back = released()
    assert MARKS.is_released(back, ME, NOW_MS)
    assert not MARKS.is_released(back, ME, NOW_MS + 1)
    assert not MARKS.is_released(back, YOU, NOW_MS)
    assert not OTHERS.is_released(back, ME, NOW_MS)
    assert not MARKS.is_released(MAIL, ME, NOW_MS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"body", b"evil"),
        (b"Subject: hi", b"Subject: ho"),
        (b"From: a@", b"From: b@"),
        (b"Date: now\r\n", b""),
        (b"From:", b"From: x\r\nFrom:"),
        (b"body\r\n", b"body\r\nmore\r\n"),
        (b"\r\n\r\nbody", b"\r\nSubject: second\r\n\r\nbody"),
        (str(NOW_MS).encode(), str(NOW_MS + 1).encode()),
    ],
)
def test_a_mark_cannot_be_moved_to_another_mail_or_time(old: bytes, new: bytes) -> None:
    back = released()
    assert old in back
    assert not MARKS.is_released(back.replace(old, new, 1), ME, NOW_MS)


def test_what_relays_do_on_the_way_does_not_matter() -> None:
    travelled = (
        b"Received: from a by b\r\nDKIM-Signature: v=1\r\n"
        + released().replace(b"Subject: hi", b"Subject:\r\n  hi")
        + b"\r\n\r\n"
    )
    assert MARKS.is_released(travelled, ME, NOW_MS)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"body only", b"a: b", b"\r\n" * 200_000])
def test_odd_mail_can_be_released_too(content: bytes) -> None:
    assert MARKS.is_released(released(content), ME, NOW_MS)


def test_the_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "mark.key"
    key = load_key(path)
    assert load_key(path) == key
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["mark.key"]
    assert load_key(tmp_path / "other.key") != key


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mark.key"
    path.write_bytes(b"short")
    with pytest.raises(ConfigError, match=r"mark\.key"):
        load_key(path)
