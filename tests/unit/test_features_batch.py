"""Features of many messages at once are those of each by itself, byte for byte."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features import FEATURE_SPEC, SPACE, Features, extract
from models.features_batch import StoredFeatures
from models.features_stored import pack, pack_many
from models.message import scan
from models.tokens import MAX_BUFFER_BYTES

ODD = [b"", b"\n", b"a", b"x:y\n\nabc", b"\0" * 100, b"Subject: " + b"w " * 60_000]


def together(raws: list[bytes], take_after: int) -> list[bytes]:
    batch, stored = StoredFeatures(), []
    for number, raw in enumerate(raws, start=1):
        batch.add(scan(raw), raw)
        if number % take_after == 0:
            stored += batch.take()
    return stored + batch.take()


def apart(raws: list[bytes]) -> list[bytes]:
    return [extract(scan(raw), raw).to_bytes() for raw in raws]


@pytest.mark.parametrize("take_after", [1, 7, 1000])
def test_real_mail(mail_data: Path, take_after: int) -> None:
    raws = [path.read_bytes() for path in sorted(mail_data.glob("*/*.eml"))] * 2
    assert len(raws) > 100
    assert together(raws, take_after) == apart(raws)


def test_more_than_is_read_of_a_message_stands_between_others() -> None:
    large = b"Subject: x\n\n" + b" ".join(b"w%x" % number for number in range(30_000))
    fields = b"".join(b"X-F%d: %s\n" % (n, b"v%x " % n * 80) for n in range(300))
    assert min(len(large), len(fields + large)) > MAX_BUFFER_BYTES
    raws = [ODD[3], large, *ODD, fields + large, ODD[3]]
    assert together(raws, 1000) == apart(raws)


@given(st.lists(st.binary(max_size=300), max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_bytes(raws: list[bytes]) -> None:
    assert together(raws, 1000) == apart(raws)


def test_nothing_gives_nothing() -> None:
    assert StoredFeatures().take() == []


@given(st.lists(st.sets(st.integers(0, SPACE - 1), max_size=30), max_size=8))
@settings(deadline=None)
def test_packed_together_is_packed_apart(chosen: list[set[int]]) -> None:
    arrays = [np.array(sorted(one), np.uint32) for one in chosen]
    bounds = [0, *np.cumsum([len(one) for one in arrays]).tolist()]
    joined = np.concatenate([np.zeros(0, np.uint32), *arrays])
    apart = [pack(FEATURE_SPEC, one) for one in arrays]
    assert pack_many(FEATURE_SPEC, joined, bounds) == apart
    for stored, indices in zip(apart, arrays, strict=True):
        assert np.array_equal(Features.from_checked(stored).indices, indices)
        assert np.array_equal(Features.from_bytes(stored).indices, indices)
