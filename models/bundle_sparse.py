"""The sparse layout of a model: only what is not zero, in the fewest bytes that plain arrays take.

Indices are stored as gaps; a gap of 65,535 or more takes one unit of 65,535 for each such stretch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import ArrayFileError, read_array
from models.counts import Counts
from models.features import LEXICAL, SPACE
from models.features_stored import StoredFeaturesError, from_gaps, to_gaps
from models.manifest import BundleError, Manifest

_MAX_COUNT: Final = 0xFFFF


def pack(
    counts: Counts, weights: npt.NDArray[np.int16], energy: npt.NDArray[np.float16]
) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of the sparse layout by name.

    Raises ValueError if a count does not fit 16 bits: such a model is not one to ship in git.
    """
    table = counts.sparse()
    if len(table) and int(table[:, 1:].max()) > _MAX_COUNT:
        raise ValueError("counts above 65,535 don't fit the sparse layout")
    used = np.flatnonzero((weights != 0) | (energy != 0)).astype(np.uint32)
    return {
        "counted": to_gaps(table[:, 0])[:, None],
        "counts": table[:, 1:].astype("<u2"),
        "weighed": to_gaps(used)[:, None],
        "weights": weights[used].astype("<i2")[:, None],
        "energy": energy[used].astype("<f2")[:, None],
    }


def load(
    directory: Path, manifest: Manifest
) -> tuple[Counts, npt.NDArray[np.int16], npt.NDArray[np.float16]]:
    """Read the sparse layout. Raises ArrayFileError or BundleError."""

    def read(name: str, dtype: npt.DTypeLike, columns: int = 1) -> npt.NDArray[Any]:
        return read_array(directory / f"{name}.npy", dtype=dtype, columns=columns)

    try:
        counted = from_gaps(read("counted", np.uint16)[:, 0], LEXICAL)
        weighed = from_gaps(read("weighed", np.uint16)[:, 0], SPACE)
    except StoredFeaturesError as error:
        raise BundleError(f"the features of the model do not add up: {error}") from error
    table = read("counts", np.uint16, 2)
    weights, energy = np.zeros(SPACE, np.int16), np.zeros(SPACE, np.float16)
    stored = read("weights", np.int16), read("energy", np.float16)
    if len(table) != len(counted) or any(len(values) != len(weighed) for values in stored):
        raise ArrayFileError("the arrays of the model have different lengths")
    counts = Counts(ham_messages=manifest.ham_messages, spam_messages=manifest.spam_messages)
    counts.ham[counted], counts.spam[counted] = table[:, 0], table[:, 1]
    weights[weighed], energy[weighed] = stored[0][:, 0], stored[1][:, 0]
    check_values(counts, energy)
    return counts, weights, energy


def check_values(counts: Counts, energy: npt.NDArray[np.float16]) -> None:
    """Refuse numbers no training can have produced. Raises BundleError."""
    for name, values, messages in (
        ("ham", counts.ham, counts.ham_messages),
        ("spam", counts.spam, counts.spam_messages),
    ):
        if int(values.min()) < 0 or int(values.max()) > messages:
            raise BundleError(f"{name} counts lie outside 0 to {messages} messages")
    # A comparison with NaN is false, so this refuses NaN as well as infinity.
    if not bool(np.all((energy >= 0) & (energy < np.inf))):
        raise BundleError("the second stage holds numbers that are none")
