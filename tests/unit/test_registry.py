"""The pointer decides which model serves; a bad one never replaces a good one."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle, BundleError
from models.features import Features
from models.manifest import Manifest
from models.registry import Registry, baseline_directory, expand_baseline
from training.online import OnlineFilter
from training.publish import publish


def model(size: int) -> Bundle:
    learner = OnlineFilter()
    for number in range(size):
        indices = np.array([number, number + 1, 900], np.uint32)
        learner.learn(Features(indices), is_spam=number % 2 == 0)
    return learner.publishable(Manifest(origin="site", ham_messages=0, spam_messages=0))


@pytest.fixture(scope="module")
def two() -> tuple[Bundle, Bundle]:
    return model(10), model(20)


def test_promotion_switches_and_rolls_back(tmp_path: Path, two: tuple[Bundle, Bundle]) -> None:
    first, second = (publish(bundle, tmp_path) for bundle in two)
    registry = Registry(tmp_path)
    with pytest.raises(BundleError, match="no model was promoted"):
        registry.current()
    registry.promote(first)
    assert registry.refresh() is True
    assert registry.current().model_id == first
    assert registry.refresh() is False
    watching = Registry(tmp_path)
    assert watching.current().model_id == first
    registry.promote(second)
    assert watching.current().model_id == first
    assert watching.refresh() is True
    assert watching.current().model_id == second
    registry.promote(first)
    assert watching.refresh() is True
    assert watching.current().model_id == first
    assert set(registry.names()) == {first, second}


def test_a_shadow_scores_beside_and_never_instead(
    tmp_path: Path, two: tuple[Bundle, Bundle]
) -> None:
    first, second = (publish(bundle, tmp_path) for bundle in two)
    registry, watching = Registry(tmp_path), Registry(tmp_path)
    registry.promote(first)
    watching.refresh()
    assert watching.shadow() is None
    registry.set_shadow(second)
    assert registry.shadowed() == second
    assert watching.refresh() is False  # the serving model is the same
    shadow = watching.shadow()
    assert shadow is not None
    assert shadow.model_id == second
    assert watching.current().model_id == first
    registry.promote(second)
    assert watching.refresh() is True
    assert watching.shadow() is None  # nothing to compare it with
    registry.promote(first)
    watching.refresh()
    assert watching.shadow() is not None
    registry.set_shadow(None)
    assert registry.shadowed() == ""
    watching.refresh()
    assert watching.shadow() is None
    registry.set_shadow(None)


@pytest.mark.parametrize("pointer", ["site-xyz", "../current", "site-0123456789ab", ""])
def test_a_bad_shadow_harms_nothing(
    tmp_path: Path, two: tuple[Bundle, Bundle], pointer: str
) -> None:
    first, second = (publish(bundle, tmp_path) for bundle in two)
    registry = Registry(tmp_path)
    registry.promote(first)
    registry.set_shadow(second)
    registry.refresh()
    with pytest.raises(BundleError):
        registry.set_shadow(pointer)
    assert registry.shadowed() == second
    (tmp_path / "shadow").write_text(pointer)
    assert registry.refresh() is False
    assert registry.shadow() is None
    assert registry.shadow_problem is not None
    assert (registry.current().model_id, registry.problem) == (first, None)


def test_a_damaged_shadow_harms_nothing(tmp_path: Path, two: tuple[Bundle, Bundle]) -> None:
    first, second = (publish(bundle, tmp_path) for bundle in two)
    registry = Registry(tmp_path)
    registry.set_shadow(second)
    array = tmp_path / "bundles" / second / "weights.npy"
    array.write_bytes(array.read_bytes()[:-2])
    registry.promote(first)
    assert registry.current().model_id == first
    assert registry.shadow() is None
    assert "cut off or tampered" in str(registry.shadow_problem)


def test_a_bad_new_model_leaves_the_old_one_serving(
    tmp_path: Path, two: tuple[Bundle, Bundle]
) -> None:
    first, second = (publish(bundle, tmp_path) for bundle in two)
    registry = Registry(tmp_path)
    registry.promote(first)
    registry.refresh()
    array = tmp_path / "bundles" / second / "weights.npy"
    array.write_bytes(array.read_bytes()[:-2])
    with pytest.raises(BundleError, match="cut off or tampered"):
        registry.promote(second)
    (tmp_path / "current").write_text(second + "\n")
    assert registry.refresh() is False
    assert registry.current().model_id == first
    assert "cut off or tampered" in str(registry.problem)
    registry.promote(first)
    registry.refresh()
    assert registry.problem is None


@pytest.mark.parametrize(
    "name", ["../elsewhere", "/etc/passwd", "site-xyz", "", "site-0123456789ab/../x", "\0"]
)
def test_a_pointer_that_is_no_name_is_refused(
    tmp_path: Path, two: tuple[Bundle, Bundle], name: str
) -> None:
    registry = Registry(tmp_path)
    registry.promote(publish(two[0], tmp_path))
    registry.refresh()
    (tmp_path / "current").write_text(name)
    assert registry.refresh() is False
    assert "no name of a model" in str(registry.problem)
    assert registry.current().digest == two[0].digest
    with pytest.raises(BundleError):
        registry.promote(name)


def test_a_pointer_that_is_a_link_is_refused(tmp_path: Path, two: tuple[Bundle, Bundle]) -> None:
    name = publish(two[0], tmp_path)
    (tmp_path / "secret").write_text(name)
    (tmp_path / "current").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="pointer"):
        Registry(tmp_path).current()


def test_a_model_under_another_name_is_refused(tmp_path: Path, two: tuple[Bundle, Bundle]) -> None:
    first, second = (publish(bundle, tmp_path) for bundle in two)
    bundles = tmp_path / "bundles"
    (bundles / first).rename(bundles / "site-000000000000")
    with pytest.raises(BundleError, match="somebody moved it"):
        Registry(tmp_path).load("site-000000000000")
    assert Registry(tmp_path).load(second).digest == two[1].digest


def test_installing_twice_is_harmless_and_leaves_no_litter(
    tmp_path: Path, two: tuple[Bundle, Bundle]
) -> None:
    assert publish(two[0], tmp_path) == publish(two[0], tmp_path)
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [two[0].model_id]


def test_what_a_killed_process_left_is_taken_away_after_an_hour(
    tmp_path: Path, two: tuple[Bundle, Bundle]
) -> None:
    bundles = tmp_path / "bundles"
    for name, age_s in ((".new-old", 7200), (".new-now", 60)):
        (bundles / name).mkdir(parents=True)
        (bundles / name / "weights.npy").write_bytes(b"half")
        then = time.time() - age_s
        os.utime(bundles / name, (then, then))
    publish(two[0], tmp_path)
    assert sorted(entry.name for entry in bundles.iterdir()) == [".new-now", two[0].model_id]


def test_expanding_the_baseline_makes_it_current_once(
    tmp_path: Path, two: tuple[Bundle, Bundle]
) -> None:
    place = expand_baseline(tmp_path)
    registry = Registry(tmp_path)
    assert registry.current().origin == "baseline"
    assert registry.current().model_id == place.name
    assert registry.current().digest == Bundle.load(baseline_directory()).digest
    registry.promote(publish(two[0], tmp_path))
    assert expand_baseline(tmp_path) == place
    assert Registry(tmp_path).current().digest == two[0].digest


def test_a_signature_is_asked_for_when_there_is_a_key(
    tmp_path: Path, two: tuple[Bundle, Bundle]
) -> None:
    name = publish(two[0], tmp_path)
    with pytest.raises(BundleError, match="not signed"):
        Registry(tmp_path, public_key=bytes(32)).load(name)


def test_serving_needs_neither_scikit_learn_nor_sqlalchemy(root: Path, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from models.registry import Registry, expand_baseline\n"
        "from models.message import scan\n"
        "expand_baseline(pathlib.Path(sys.argv[1]))\n"
        "raw = b'Subject: hello\\n\\ncheap pills\\n'\n"
        "Registry(pathlib.Path(sys.argv[1])).current().score(scan(raw), raw, words=3)\n"
        "bad = {'sklearn', 'scipy', 'joblib', 'sqlalchemy', 'gateway', 'training'}\n"
        "print(sorted(bad & {name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=root, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_the_caps_of_both_origins(two: tuple[Bundle, Bundle]) -> None:
    site = replace(two[0].manifest, points_cap=9.0)
    assert Manifest.from_json(site.to_json()).points_cap == 9.0
    with pytest.raises(BundleError, match="may give 3"):
        Manifest.from_json(replace(site, origin="baseline").to_json())
