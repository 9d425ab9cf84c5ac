"""Promote, promote again, go back: what an administrator does on a Friday evening, and two at once.

The models are small ones; what happens to their folder and its history is the real thing.
"""

import contextlib
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from gateway.cli import doctor, schwamm
from gateway.cli.findings import Finding
from models.features import Features
from models.manifest import Manifest
from models.registry import Registry, expand_baseline
from training.cli import model, train
from training.cli_model import GATE
from training.cli_model_history import History
from training.online import OnlineFilter
from training.publish import publish

pytestmark = pytest.mark.usefixtures("english")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    expand_baseline(folder(path))
    return path


def folder(config: Path) -> Path:
    return config.parent / "var" / "models"


def call(config: Path, *words: str) -> Result:
    return CliRunner().invoke(model, [*words, "--config", str(config)])


def made(config: Path, size: int, metrics: dict[str, float] | None = None) -> str:
    """A model of this site that passed its gate, unless other metrics are given."""
    learner = OnlineFilter()
    for number in range(size):
        indices = np.array([number, number + 1, 900], np.uint32)
        learner.learn(Features(indices), is_spam=number % 2 == 0)
    metrics = {GATE: 1.0} if metrics is None else metrics
    manifest = Manifest(origin="site", ham_messages=0, spam_messages=0, metrics=metrics)
    return publish(learner.publishable(manifest), folder(config))


def serving(config: Path) -> str:
    return Registry(folder(config)).pointed()


def damage(config: Path, name: str) -> None:
    path = folder(config) / "bundles" / name / "weights.npy"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def test_going_back_never_goes_forward_again(config: Path) -> None:
    """Promoted, back by hand, promoted again: each step back is a step back."""
    shipped, one, two = serving(config), made(config, 10), made(config, 20)
    for name in (one, two, one):
        assert call(config, "promote", name).exit_code == 0
    seen = []
    while call(config, "rollback").exit_code == 0:
        seen.append(serving(config))
        assert len(seen) < 5
    assert seen == [two, one, shipped]
    assert "nothing to go back to" in call(config, "rollback").stderr


@pytest.mark.parametrize("step", ["promote", "rollback"])
def test_a_death_between_record_and_change_costs_no_step(
    config: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, one, two = serving(config), made(config, 10), made(config, 20)
    for name in (one, two):
        assert call(config, "promote", name).exit_code == 0
    promoted = [step, shipped] if step == "promote" else [step]

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(Registry, "promote", dies)
        for _ in range(3):
            call(config, *promoted)
    assert serving(config) == two
    assert len(list(History(Registry(folder(config))).promotions())) == 5
    for expected in (one, shipped):
        assert call(config, "rollback").exit_code == 0
        assert serving(config) == expected


def test_what_serves_already_is_said_to(config: Path) -> None:
    one = made(config, 10)
    assert "before it: baseline-" in call(config, "promote", one).stdout
    assert call(config, "promote", one).stdout == f"{one} served already\n"
    assert call(config, "rollback").exit_code == 0
    assert serving(config).startswith("baseline-")


PROMOTES = """
import sys
from pathlib import Path
from models.registry import Registry
from training.cli_model_history import History
done = History(Registry(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
for name in sys.argv[2:] * 8:
    done.promote(name, who="x", why="promoted")
"""


def test_of_two_who_promote_at_once_each_is_told_what_served_before(config: Path) -> None:
    first, names = serving(config), [made(config, size) for size in (10, 20, 30, 40)]
    with contextlib.ExitStack() as both:
        admins = [
            both.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PROMOTES, str(folder(config)), *mine],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for mine in (names[:2], names[2:])
        ]
        for admin in admins:
            assert admin.stdout is not None
            assert admin.stdout.readline() == "ready\n"
        for admin in admins:
            assert admin.stdin is not None
            admin.stdin.write("go\n")
            admin.stdin.flush()
        assert [admin.wait(120) for admin in admins] == [0, 0]
    done = list(History(Registry(folder(config))).promotions())
    assert len(done) == 32
    assert [one.previous for one in done] == [first, *(one.name for one in done[:-1])]
    assert serving(config) == done[-1].name


def test_a_damaged_shipped_model_is_made_anew_when_it_is_wanted(config: Path) -> None:
    shipped, one = serving(config), made(config, 10)
    assert call(config, "promote", one).exit_code == 0
    damage(config, shipped)
    assert call(config, "rollback").exit_code == 0
    assert serving(config) == shipped
    damage(config, shipped)
    assert call(config, "promote", shipped).exit_code == 0
    assert "whole and untouched" in call(config, "verify", shipped).stdout


def test_a_model_of_this_site_without_a_gate_serves_by_force_only(config: Path) -> None:
    strange = made(config, 10, metrics={})
    done = call(config, "promote", strange)
    assert done.exit_code == 1
    assert "was never judged by a gate" in done.stderr
    assert serving(config) != strange
    assert call(config, "promote", strange, "--force").exit_code == 0
    assert serving(config) == strange


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_list_fits_a_terminal_of_eighty_columns(
    config: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", f"{language}_XX.UTF-8")
    monkeypatch.setenv("COLUMNS", "80")
    failed, broken = made(config, 10, metrics={GATE: 0.0}), made(config, 20)
    damage(config, broken)
    lines = call(config, "list").stdout.splitlines()
    assert len(lines) == 5  # a heading, one line a model, and one sentence
    assert {line.split()[0] for line in lines[1:4]} == {failed, broken, serving(config)}
    why = {"en": "cannot be used", "de": "nicht zu gebrauchen"}[language]
    assert lines[4].startswith(f"{why}: {broken}: ")


@pytest.mark.parametrize(
    ("language", "said"), [("en", "damaged or tampered with"), ("de", "beschädigt oder verändert")]
)
def test_doctor_tells_in_the_reader_s_language_why_a_model_cannot_serve(
    config: Path, language: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_network(*_: object) -> list[Finding]:
        return []

    monkeypatch.setattr(doctor, "_network", no_network)
    damage(config, serving(config))
    words = ["--language", language, "doctor", "--json", "--config", str(config)]
    rows = map(json.loads, CliRunner().invoke(schwamm, words, obj={}).stdout.splitlines())
    (row,) = [row for row in rows if row["check"] == "model"]
    assert row["ok"] is False
    assert said in row["text"]
    assert "schwamm model promote NAME" in row["mend"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_folder_that_takes_no_model_is_named_with_the_step(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is empty yet, and the shipped model has to be put there first."""
    config = tmp_path / "gateway.toml"
    config.write_text("")

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("models.bundle.write_array", refused)
    step = {errno.ENOSPC: "make room in ", errno.EROFS: "writable for the user"}[number]
    for command, words in ((model, ["list"]), (model, ["promote", "x"]), (train, [])):
        done = CliRunner().invoke(command, [*words, "--config", str(config)])
        assert done.exit_code == 1, done.exception
        assert f"cannot be written: {os.strerror(number)}; " in done.stderr
        assert step in done.stderr
        assert str(folder(config)) in done.stderr
