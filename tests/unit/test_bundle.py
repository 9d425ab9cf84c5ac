"""A published model comes back whole; anything else is refused in plain words."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.arrays import write_array
from models.bundle import Bundle, BundleError
from models.calibration import PointsScale
from models.classifier import ScoreParameters
from models.features import LEXICAL, SPACE, Features
from models.manifest import Manifest
from training.online import OnlineFilter
from training.publish import dated, signed

Spoil = Callable[[Path], None]


def trained() -> OnlineFilter:
    learner = OnlineFilter()
    generator = np.random.default_rng(1)
    for number in range(60):
        is_spam = number % 2 == 0
        lexical = generator.integers(0, 200, 20) + 300 * is_spam
        patterns = generator.integers(LEXICAL, LEXICAL + 900, 20)
        indices = np.unique(np.concatenate([lexical, patterns])).astype(np.uint32)
        learner.learn(Features(indices), is_spam=is_spam)
    return learner


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    manifest = Manifest(origin="site", ham_messages=0, spam_messages=0, points_cap=9.0)
    return trained().publishable(manifest)


@pytest.fixture(scope="module")
def saved(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundles") / "model"
    bundle.save(place)
    return place


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


PROBE = Features(np.array([1, 5, 310, 320, 330, LEXICAL + 3], np.uint32))


def test_a_saved_model_scores_the_same(bundle: Bundle, saved: Path) -> None:
    again = Bundle.load(saved)
    assert again.digest == bundle.digest
    assert again.model_id == f"site-{bundle.digest[:12]}"
    assert again.score_features(PROBE) == bundle.score_features(PROBE)
    assert isinstance(again.weights.base, np.memmap)
    assert again.points_cap == 9.0


def test_both_layouts_hold_the_same_model(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save_sparse(tmp_path / "sparse")
    again = Bundle.load(tmp_path / "sparse")
    assert again.digest == bundle.digest
    assert np.array_equal(again.weights, bundle.weights)
    assert np.array_equal(again.energy, bundle.energy)
    size = sum(path.stat().st_size for path in (tmp_path / "sparse").iterdir())
    assert size < 100_000


def test_a_model_is_at_most_64_mb(saved: Path) -> None:
    assert sum(path.stat().st_size for path in saved.iterdir()) <= 64 * 1000 * 1000


def test_the_same_training_gives_the_same_digest(bundle: Bundle) -> None:
    again = trained().publishable(replace(bundle.manifest, digest="", created_at="later"))
    assert again.digest == bundle.digest
    assert dated(again).digest == bundle.digest
    assert dated(again).compute_digest() == bundle.digest


def test_a_full_disk_is_called_that() -> None:
    with pytest.raises(OSError, match="No space left on device"):
        write_array(Path("/dev/full"), np.zeros(100_000))


def test_a_published_model_is_never_overwritten(bundle: Bundle, saved: Path) -> None:
    with pytest.raises(FileExistsError):
        bundle.save(saved)


def _truncate(model: Path) -> None:
    path = model / "weights.npy"
    path.write_bytes(path.read_bytes()[:-1000])


def _append(model: Path) -> None:
    with (model / "ham.npy").open("ab") as file:
        file.write(b"more")


def _wrong_dtype(model: Path) -> None:
    np.save(model / "ham.npy", np.zeros(LEXICAL, np.float32))


def _wrong_shape(model: Path) -> None:
    np.save(model / "spam.npy", np.zeros((2, LEXICAL), np.int32))


def _object_array(model: Path) -> None:
    np.save(model / "energy.npy", np.array([{"a": 1}], object), allow_pickle=True)


def _structured(model: Path) -> None:
    np.save(model / "weights.npy", np.zeros(SPACE, [("w", np.int16)]))


def _fortran(model: Path) -> None:
    np.save(model / "ham.npy", np.asfortranarray(np.zeros((LEXICAL, 2), np.int32)))


def _huge_header(model: Path) -> None:
    header = b"{'descr': '<i4', 'fortran_order': False, 'shape': (" + b"1," * 30_000 + b")}\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
    (model / "ham.npy").write_bytes(start + header + bytes(100))


def _code_in_header(model: Path) -> None:
    header = b"{'descr': '<i4', 'fortran_order': False, 'shape': (__import__('os').getpid(),)}\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
    (model / "ham.npy").write_bytes(start + header)


def _negative_shape(model: Path) -> None:
    header = b"{'descr': '<i4', 'fortran_order': False, 'shape': (-4,)}\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
    (model / "ham.npy").write_bytes(start + header)


def _not_an_array(model: Path) -> None:
    (model / "spam.npy").write_bytes(b"\x80\x04\x95 a pickle, not an array")


def _nan(model: Path) -> None:
    values = np.load(model / "energy.npy")
    values[7] = np.nan
    np.save(model / "energy.npy", values)


def _infinite(model: Path) -> None:
    values = np.load(model / "energy.npy")
    values[7] = np.inf
    np.save(model / "energy.npy", values)


def _negative_count(model: Path) -> None:
    values = np.load(model / "ham.npy")
    values[0] = -1
    np.save(model / "ham.npy", values)


def _too_many(model: Path) -> None:
    values = np.load(model / "spam.npy")
    values[0] = 31
    np.save(model / "spam.npy", values)


def _tampered_count(model: Path) -> None:
    values = np.load(model / "spam.npy")
    values[int(np.flatnonzero(values)[0])] -= 1
    np.save(model / "spam.npy", values)


def _tampered_weight(model: Path) -> None:
    values = np.load(model / "weights.npy")
    values[5] += 1
    np.save(model / "weights.npy", values)


def _missing(model: Path) -> None:
    (model / "energy.npy").unlink()


def _symlink(model: Path) -> None:
    (model / "ham.npy").rename(model.parent / "elsewhere.npy")
    (model / "ham.npy").symlink_to(model.parent / "elsewhere.npy")


def _pipe(model: Path) -> None:
    (model / "ham.npy").unlink()
    os.mkfifo(model / "ham.npy")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_truncate, "cut off or tampered"),
        (_append, "cut off or tampered"),
        (_wrong_dtype, "type float32, not int32"),
        (_wrong_shape, "shape"),
        (_object_array, "type object"),
        (_structured, "type"),
        (_fortran, "type int32, not int32|shape"),
        (_huge_header, "no readable array header"),
        (_code_in_header, "no readable array header"),
        (_negative_shape, "is no shape"),
        (_not_an_array, "no readable array header"),
        (_nan, "numbers that are none"),
        (_infinite, "numbers that are none"),
        (_negative_count, "outside 0 to 30"),
        (_too_many, "outside 0 to 30"),
        (_tampered_count, "does not fit the digest"),
        (_tampered_weight, "does not fit the digest"),
        (_missing, "No such file"),
        (_symlink, "ham.npy"),
        (_pipe, "not a regular file"),
    ],
)
def test_a_damaged_array_is_refused(model: Path, spoil: Spoil, words: str) -> None:
    spoil(model)
    with pytest.raises(BundleError, match=words):
        Bundle.load(model)


def edited(model: Path, **changes: object) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    manifest.update(changes)
    (model / "manifest.json").write_text(json.dumps(manifest))


FALLING = {**asdict(PointsScale()), "unsure_from": 0.999}
KNOWS_BACKWARDS = {**asdict(PointsScale()), "knows_little": 0.9}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"feature_spec": "f0"}, "trained on features 'f0'"),
        ({"format": 2}, "format 2"),
        ({"format": "\x1b[2J"}, r"format '\\x1b\[2J'"),
        ({"points_cap": 10.0}, "may give 9"),
        ({"origin": "baseline"}, "may give 3"),
        ({"points_cap": float("nan")}, "not readable JSON"),
        ({"points_cap": True}, "no number"),
        ({"ham_messages": -1}, "no number of messages"),
        ({"ham_messages": 31}, "does not fit the digest"),
        ({"metrics": {"roca": 0.0}}, "does not fit the digest"),
        ({"origin": "elsewhere"}, "none of baseline, site"),
        ({"layout": "../other"}, "none of mapped, sparse"),
        ({"parameters": {"smoothing": 1.0}}, "does not have exactly"),
        ({"calibration": {"slope": 0.0, "offset": 0.0}}, "turn or hide"),
        ({"points_scale": FALLING}, "do not rise"),
        ({"points_scale": KNOWS_BACKWARDS}, "known shares"),
        ({"sources": {"a": 1}}, "names to texts"),
        ({"digest": None}, "no text"),
        ({"points_cap": 10**400}, "no number"),
        ({"metrics": {"roca": 10**400}}, "no number"),
        ({"calibration": {"slope": 10**400, "offset": 0}}, "no number"),
        ({"created_at": "\ud800"}, "no text"),
        ({"created_at": "\x1b[2J"}, "no text"),
        ({"signature": "\x1b[2J"}, "no text"),
        ({"sources": {"\x1b[2J": "free"}}, "names to texts"),
        ({"metrics": {"\x1b[2J": 1}}, "names to numbers"),
    ],
)
def test_a_wrong_manifest_is_refused(model: Path, changes: dict[str, object], words: str) -> None:
    edited(model, **changes)
    with pytest.raises(BundleError, match=words):
        Bundle.load(model)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "not readable JSON"),
        (b"[" * 100_000, "not readable JSON"),
        (b"[]", "not an object"),
        (b"\xff\xfe", "not readable JSON"),
        (b" " * 300_000, "too large"),
    ],
)
def test_a_manifest_that_is_none_is_refused(model: Path, text: bytes, words: str) -> None:
    (model / "manifest.json").write_bytes(text)
    with pytest.raises(BundleError, match=words):
        Bundle.load(model)


def test_no_directory_and_a_linked_one_are_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(saved)
    for name in ("link", "nothing"):
        with pytest.raises(BundleError, match="no such model"):
            Bundle.load(tmp_path / name)


def _sparse_lengths(model: Path) -> None:
    np.save(model / "weights.npy", np.load(model / "weights.npy")[:-1])


def _sparse_gaps(model: Path) -> None:
    gaps = np.load(model / "weighed.npy")
    gaps[:] = 0xFFFF
    np.save(model / "weighed.npy", gaps)


def _sparse_range(model: Path) -> None:
    gaps = np.load(model / "counted.npy")
    gaps[:] = 0xFFFE
    np.save(model / "counted.npy", gaps)


def _sparse_bomb(model: Path) -> None:
    """A file that takes no room on disk and 1.7 GiB of memory, were it read."""
    np.save(model / "counted.npy", np.zeros((0, 1), "<u2"))
    with (model / "counted.npy").open("r+b") as file:
        header = file.read().replace(b"(0, 1), }        ", b"(67108864, 1), } ")
        file.seek(0)
        file.write(header)
        file.truncate(len(header) + 2 * 67108864)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_sparse_bomb, r"shape \(67108864, 1\)"),
        (_sparse_lengths, "different lengths"),
        (_sparse_gaps, "inside a gap"),
        (_sparse_range, "outside"),
    ],
)
def test_a_damaged_sparse_model_is_refused(
    bundle: Bundle, tmp_path: Path, spoil: Spoil, words: str
) -> None:
    bundle.save_sparse(tmp_path / "sparse")
    spoil(tmp_path / "sparse")
    with pytest.raises(BundleError, match=words):
        Bundle.load(tmp_path / "sparse")


def test_a_signature_is_checked_when_a_key_is_given(bundle: Bundle, tmp_path: Path) -> None:
    private, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    signed(bundle, private).save_sparse(tmp_path / "signed")
    signed(bundle, other).save_sparse(tmp_path / "forged")
    bundle.save_sparse(tmp_path / "unsigned")
    assert Bundle.load(tmp_path / "signed", public_key=public).digest == bundle.digest
    with pytest.raises(BundleError, match="does not fit"):
        Bundle.load(tmp_path / "forged", public_key=public)
    with pytest.raises(BundleError, match="not signed"):
        Bundle.load(tmp_path / "unsigned", public_key=public)


def test_a_model_from_before_a_parameter_was_added_is_still_whole() -> None:
    before = ScoreParameters(naive_prior=0.0, label_slips=0.0)
    older = Manifest(
        origin="site", ham_messages=1, spam_messages=1, digest="0" * 64, parameters=before
    )
    text = older.to_json()
    assert b"naive_prior" not in text
    assert b"label_slips" not in text
    assert Manifest.from_json(text).parameters == before
    for parameters in (replace(before, naive_prior=8.0), replace(before, label_slips=0.01)):
        newer = replace(older, parameters=parameters)
        assert Manifest.from_json(newer.to_json()).parameters == parameters
        assert newer.canonical() != older.canonical()
