"""What is wrong with a model, said by the real registry about really broken models, in German."""

import json
import shutil
from pathlib import Path

import pytest

from gateway.locale import translator
from gateway.locale.bundles import explain_bundle_error
from models.bundle import Bundle, BundleError
from models.registry import Registry, expand_baseline

GERMAN = translator("de")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    expand_baseline(folder)
    return folder


def said(models: Path, name: str) -> str:
    with pytest.raises(BundleError) as caught:
        Registry(models).load(name)
    english = explain_bundle_error(caught.value, translator("en"))
    assert english == str(caught.value)
    return explain_bundle_error(caught.value, GERMAN)


def copy(models: Path, name: str) -> Path:
    (source,) = models.rglob("baseline-*")
    shutil.rmtree(source.parent / name, ignore_errors=True)
    return Path(shutil.copytree(source, source.parent / name))


NAME = "site-0123456789ab"


def test_another_feature_specification(models: Path) -> None:
    manifest = copy(models, NAME) / "manifest.json"
    changed = json.loads(manifest.read_text()) | {"feature_spec": "f0"}
    manifest.write_text(json.dumps(changed))
    assert said(models, NAME).startswith(f"{NAME}: das Modell wurde mit Merkmalen 'f0' gelernt")


def test_a_cut_off_array(models: Path) -> None:
    with (copy(models, NAME) / "weights.npy").open("r+b") as file:
        file.truncate(1000)
    assert said(models, NAME).startswith(f"{NAME}: weights.npy: 1000 Byte statt ")


def test_no_manifest_no_json_wrong_place_no_name(models: Path) -> None:
    folder = copy(models, NAME)
    assert ": darin liegt baseline-" in said(models, NAME)
    (folder / "manifest.json").write_text("{")
    assert said(models, NAME) == f"{NAME}: manifest.json ist kein lesbares JSON"
    (folder / "manifest.json").unlink()
    assert said(models, NAME) == f"{NAME}: manifest.json: diese Datei gibt es nicht"
    shutil.rmtree(folder)
    assert said(models, NAME) == f"{NAME}: diesen Ordner eines Modells gibt es nicht"
    assert said(models, "../etc") == "'../etc' ist kein Name eines Modells"


def test_what_is_not_known_stays_as_it_was() -> None:
    assert explain_bundle_error(BundleError("quite another thing"), GERMAN) == "quite another thing"


def test_a_folder_with_blanks_in_its_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle.load(tmp_path / "mit zwei Leerzeichen")
    said_so = explain_bundle_error(caught.value, GERMAN)
    assert said_so == "mit zwei Leerzeichen: diesen Ordner eines Modells gibt es nicht"
