"""Spam behind 64 KiB of harmless text keeps its points; ham in the same place gets none.

The short test takes the real messages of ``tests/data``, which the shipped model has seen. The
long one takes CSDMC2010, which it has not, from ``../shared/corpus`` or SCHWAMM_CORPUS.
"""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle
from models.message import scan
from models.registry import baseline_directory
from training.ablation_behind import (
    HARMLESS_BYTES,
    Harmless,
    behind_part,
    behind_text,
    foreign,
    points_behind,
    table,
)
from training.bench_accuracy_streams import Corpora


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(baseline_directory())


def mails(folder: Path, label: str) -> list[bytes]:
    lines = (folder / "index").read_text().splitlines()
    return [(folder / path).read_bytes() for kind, path in map(str.split, lines) if kind == label]


@pytest.mark.parametrize("hide", [behind_text, behind_part])
def test_hidden_spam_is_really_behind_that_much_text(mail_data: Path, hide: object) -> None:
    assert callable(hide)
    harmless = Harmless(mails(mail_data, "ham")).text()
    for raw in mails(mail_data, "spam"):
        mail = scan(hide(raw, harmless))
        own = scan(raw)
        words = own.text.split()
        assert mail.size_bytes > HARMLESS_BYTES
        assert mail.from_address == own.from_address
        assert mail.text.split()[:50] == harmless.split()[:50]
        if words:
            assert mail.text.split()[-3:] == words[-3:]


@pytest.mark.parametrize("place", ["behind the text", "in the last part"])
def test_known_spam_keeps_half_its_points_and_ham_gets_none(
    mail_data: Path, bundle: Bundle, place: str
) -> None:
    ham, spam = mails(mail_data, "ham"), mails(mail_data, "spam")
    given = np.array(points_behind(bundle, spam, ham, place))
    assert np.mean(given >= bundle.points_cap / 2) >= 0.8
    assert max(points_behind(bundle, ham, ham, place)) <= 0.0


@pytest.mark.long
def test_foreign_spam_keeps_nearly_as_many_points_as_alone(tmp_path: Path, bundle: Bundle) -> None:
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("SCHWAMM_CORPUS") or root.parent / "shared" / "corpus")
    if not (folder / "csdmc2010").is_dir():
        for name in ("spamassassin", "csdmc2010"):
            with tarfile.open(folder / f"{name}.tar.xz") as archive:
                archive.extractall(tmp_path, filter="data")
        folder = tmp_path
    ham, spam = foreign(Corpora(folder, complain=pytest.fail))
    print(table(bundle, ham, spam))
    half = bundle.points_cap / 2
    alone = np.mean(np.array(points_behind(bundle, spam, ham, "alone")) >= half)
    assert alone >= 0.6
    for place in ("behind the text", "in the last part"):
        hidden = np.mean(np.array(points_behind(bundle, spam, ham, place)) >= half)
        assert hidden >= 0.75 * alone, place
        assert max(points_behind(bundle, ham, ham, place)) <= 0.0, place
