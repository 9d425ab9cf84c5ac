"""A label given in the quarantine of a running gateway is what training learns."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.ids import received_at_ms
from gateway.store.index import Index
from models.features import extract
from models.fingerprint import fingerprint_of
from models.message import scan
from tests.fakes.gateway import Gateway, running, wait_until
from tests.functional.test_loop import HAM, SPAM, send


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, f"maildir:{tmp_path}/mail") as one:
        yield one


def learned(gateway: Gateway) -> list[tuple[int, int]]:
    """Ham and spam of each slab that training would learn now."""
    out = str(gateway.directory / "counts.npz")
    told = json.loads(gateway.run("train", "--counts", out, "--json").stdout)
    return [(slab["ham"], slab["spam"]) for slab in told["slabs"]]


def test_labels_reach_training_and_leave_it_again(gateway: Gateway) -> None:
    assert learned(gateway) == []
    for number in (b"1", b"2"):
        content = SPAM.replace(b"You won", b"You won " + number)
        assert send(gateway, content, "bert@trial.example")[0] == 250
    assert send(gateway, HAM, "bert@trial.example")[0] == 250
    wait_until(lambda: len(gateway.rows("quarantine", "list")) == 2, "the held mail")
    one, two = (str(row["id"]) for row in gateway.rows("quarantine", "list"))
    gateway.run("quarantine", "delete", two)
    wait_until(lambda: len(gateway.rows("quarantine", "list")) == 1, "the deletion")
    assert learned(gateway) == []  # neither a deletion nor the gateway's own verdict teaches

    gateway.run("quarantine", "label", one, "spam")
    wait_until(lambda: learned(gateway) == [(0, 1)], "the label")
    gateway.run("quarantine", "label", one, "ham")
    wait_until(lambda: learned(gateway) == [(1, 0)], "the changed label to count once")
    assert "taken back" in gateway.run("quarantine", "label", one, "none").stdout
    wait_until(lambda: learned(gateway) == [], "the label to be forgotten")

    gateway.run("quarantine", "release", "--ham", one)
    wait_until(lambda: not gateway.rows("quarantine", "list"), "the release")
    wait_until(lambda: learned(gateway) == [(1, 0)], "a label that outlives its mail")


def test_who_said_what_when_and_why_is_shown(gateway: Gateway) -> None:
    assert send(gateway, SPAM, "bert@trial.example")[0] == 250
    wait_until(lambda: len(gateway.rows("quarantine", "list")) == 1, "the held mail")
    (row,) = gateway.rows("quarantine", "list")
    one = str(row["id"])
    gateway.run("quarantine", "label", one, "ham", "--reason", "our own newsletter")
    wait_until(
        lambda: json.loads(gateway.run("quarantine", "show", one, "--json").stdout)["labels"],
        "the label",
    )
    (given,) = json.loads(gateway.run("quarantine", "show", one, "--json").stdout)["labels"]
    assert (given["label"], given["role"], given["source"]) == ("ham", "admin", "cli")
    assert given["reason"] == "our own newsletter"
    shown = gateway.run("quarantine", "show", one).stdout
    (line,) = [line for line in shown.splitlines() if given["at"] in line]
    assert given["person"] in line
    assert "our own newsletter" in line


def delivered(gateway: Gateway, content: bytes = HAM) -> str:
    """The id of a mail that went on and of which no byte is here any more."""
    assert send(gateway, content, "bert@trial.example")[0] == 250
    wait_until(lambda: gateway.rows("track", "bert@trial.example"), "the delivered mail")
    (row,) = gateway.rows("track", "bert@trial.example")
    assert not list((gateway.state / "records").rglob(f"{row['id']}*"))
    return str(row["id"])


def test_a_missed_spam_is_labelled_by_its_id(gateway: Gateway) -> None:
    missed = delivered(gateway)
    gateway.run("quarantine", "label", missed, "spam", "--reason", "bert called")
    wait_until(lambda: learned(gateway) == [(0, 1)], "the label")
    index = Index.open(f"sqlite:///{gateway.state}/index.db", node="n1")
    try:
        (label,) = index.labels.book().standing
    finally:
        index.close()
    assert (label.is_spam, label.mail_id) == (True, missed)
    mail = scan(HAM)
    assert label.lesson.hashes == extract(mail, HAM).to_bytes()
    assert label.lesson.fingerprint == fingerprint_of(mail).to_bytes()
    assert 0 <= label.lesson.arrived_at_ms - received_at_ms(missed) < 1000
    gateway.run("quarantine", "label", missed, "none")
    wait_until(lambda: learned(gateway) == [], "the label to be forgotten")


def test_held_mail_needs_no_features_beside_its_bytes(gateway: Gateway) -> None:
    assert send(gateway, SPAM, "bert@trial.example")[0] == 250
    wait_until(lambda: len(gateway.rows("quarantine", "list")) == 1, "the held mail")
    assert not (gateway.state / "features").exists()


def test_features_that_cannot_be_kept_cost_no_mail(gateway: Gateway) -> None:
    (gateway.state / "features").write_text("in the way")
    missed = delivered(gateway)
    assert "features not kept" in gateway.log.read_text()
    told_the_way(gateway, missed)


def told_the_way(gateway: Gateway, missed: str) -> None:
    done = gateway.run("quarantine", "label", missed, "spam", check=False)
    assert done.returncode == 1
    assert "schwamm corpus import FILE --label spam" in done.stderr


def test_a_missed_spam_that_is_not_kept_is_told_the_way_into_training(tmp_path: Path) -> None:
    environment = {"SCHWAMM_RETENTION__FEATURES_DAYS": "0"}
    with running(tmp_path, f"maildir:{tmp_path}/mail", environment=environment) as gateway:
        missed = delivered(gateway)
        assert not (gateway.state / "features").exists()
        told_the_way(gateway, missed)
