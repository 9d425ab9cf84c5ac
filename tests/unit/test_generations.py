"""Snapshots: served from whole or not at all, replaced in one step, older ones to fall back to."""

import errno
from pathlib import Path

import pytest

from gateway.core.errors import ConfigError, StorageFullError
from gateway.core.routing import Domain, Generation, OnOutage, parse_next_hop
from gateway.store import generations
from tests.fakes.power_loss import RecordingFiles


def generation(number: int, *names: str) -> Generation:
    return Generation(
        number=number,
        created_at_ms=1000 + number,
        domains=tuple(
            Domain(
                name=name,
                next_hops=(parse_next_hop("[::1]:25"), parse_next_hop("maildir:/srv/mail")),
                customer="Müller",
                aliases=(f"alias.{name}",),
                on_outage=OnOutage.DEFER,
                reject=True,
                unsure_score=1.5,
                spam_score=2.5,
                reject_score=3.5,
                retention_days=3,
                queue_hours=6,
                subject_tag="[Spam?]",
            )
            for name in names
        ),
    )


def test_what_is_published_is_loaded(tmp_path: Path) -> None:
    directory = tmp_path / "generations"
    first, second = generation(1, "a.example"), generation(2, "a.example", "b.example")
    generations.publish(directory, first)
    generations.publish(directory, second)
    assert generations.load_current(directory) == second
    assert generations.current_number(directory) == 2
    assert generations.load(directory, 1) == first
    assert generations.numbers(directory) == [1, 2]
    assert generations.load_current(directory).domain("alias.b.example") == second.domains[1]
    generations.publish(directory, first)  # back to the older one
    assert generations.load_current(directory) == first


def test_a_number_keeps_its_meaning(tmp_path: Path) -> None:
    generations.publish(tmp_path, generation(1, "a.example"))
    generations.publish(tmp_path, generation(1, "a.example"))
    with pytest.raises(ConfigError, match="keep its meaning"):
        generations.publish(tmp_path, generation(1, "b.example"))
    assert generations.load_current(tmp_path) == generation(1, "a.example")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"schwamm-generation 1", b"schwamm-generation 2", "format 2"),
        (b"schwamm-generation", b"schwamm-record", "first line"),
        (b"a.example", b"e.example", "digest"),
        (b"]\n}\n", b"]\n", "digest"),
    ],
)
def test_a_damaged_snapshot_is_named_and_the_one_before_stays(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    generations.publish(tmp_path, generation(1, "a.example"))
    generations.publish(tmp_path, generation(2, "a.example"))
    path = tmp_path / "2.json"
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(ConfigError, match=reason):
        generations.load_current(tmp_path)
    assert generations.newest_good(tmp_path) == generation(1, "a.example")


@pytest.mark.parametrize("pointer", ["", "two", "99999999999999999999", "-1", "3"])
def test_a_useless_pointer_is_named(tmp_path: Path, pointer: str) -> None:
    generations.publish(tmp_path, generation(1))
    (tmp_path / "current").write_text(pointer)
    with pytest.raises(ConfigError, match="schwamm domain"):
        generations.load_current(tmp_path)


def test_nothing_there_is_named_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="schwamm domain"):
        generations.load_current(tmp_path / "none")
    with pytest.raises(ConfigError, match="no readable snapshot"):
        generations.newest_good(tmp_path / "none")
    assert generations.numbers(tmp_path / "none") == []


def test_a_power_loss_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir()
    layer = RecordingFiles(root)
    generations.publish(root / "generations", generation(1, "a.example"), file_layer=layer)
    left = layer.survivors(tmp_path / "after 1")
    assert generations.load_current(left / "generations") == generation(1, "a.example")
    layer.fail["rename"] = errno.EIO  # it stops somewhere in the next one
    with pytest.raises(Exception, match="Input/output"):
        generations.publish(root / "generations", generation(2), file_layer=layer)
    left = layer.survivors(tmp_path / "after 2")
    assert generations.load_current(left / "generations") == generation(1, "a.example")


@pytest.mark.parametrize("call", ["create", "write", "fsync", "rename", "sync_directory"])
def test_no_room_leaves_the_one_in_force(tmp_path: Path, call: str) -> None:
    layer = RecordingFiles(tmp_path)
    generations.publish(tmp_path / "g", generation(1, "a.example"), file_layer=layer)
    layer.fail[call] = errno.ENOSPC
    with pytest.raises(StorageFullError):
        generations.publish(tmp_path / "g", generation(2), file_layer=layer)
    assert generations.load_current(tmp_path / "g") == generation(1, "a.example")
    layer.fail.clear()
    generations.publish(tmp_path / "g", generation(2), file_layer=layer)
    assert generations.load_current(tmp_path / "g") == generation(2)
    assert sorted(path.name for path in (tmp_path / "g").iterdir()) == [
        "1.json",
        "2.json",
        "current",
    ]
