"""Features as bytes, for labels that outlive their mail: compact, versioned, exact."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.uint32]

_FORMAT: Final = 1
_HEADER: Final = struct.Struct("<B8sII")
_ESCAPE: Final = 0xFFFF


class StoredFeaturesError(ValueError):
    """Bytes that are no stored features, or of another specification; the text says which."""


def to_gaps(indices: Indices) -> npt.NDArray[np.uint16]:
    """Write sorted indices as gaps of two bytes; a larger gap is a run of escapes before it."""
    gaps = indices.copy()
    gaps[1:] -= indices[:-1]
    return _units(gaps)[0]


def _units(gaps: Indices) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
    """Write gaps in two bytes each, with escapes; also return where each one ends."""
    wide = (gaps >= _ESCAPE).nonzero()[0]
    if not len(wide):
        return gaps.astype("<u2"), np.arange(1, len(gaps) + 1)
    before = np.zeros(len(gaps), np.int64)
    before[wide] = gaps[wide] // _ESCAPE
    gaps[wide] %= _ESCAPE
    places = before.cumsum()
    places += np.arange(len(gaps))
    out: npt.NDArray[np.uint16] = np.full(places[-1] + 1, _ESCAPE, "<u2")
    out[places] = gaps
    return out, places + 1


def from_gaps(units: npt.NDArray[np.uint16], space: int) -> Indices:
    """Read what `to_gaps` wrote. Raises StoredFeaturesError unless sorted and below ``space``."""
    ends: npt.NDArray[np.int64] = units.cumsum(dtype=np.int64)
    whole = units != _ESCAPE
    if not whole[-1:].all():
        raise StoredFeaturesError("stored features end inside a gap")
    values = ends if whole.all() else ends[whole]
    if len(values) and (values[-1] >= space or not (values[1:] > values[:-1]).all()):
        raise StoredFeaturesError("stored features lie outside the feature space")
    indices: Indices = values.astype(np.uint32)
    return indices


def pack(spec: str, indices: Indices) -> bytes:
    """Write the sorted indices of one message with the name of their specification."""
    out = to_gaps(indices)
    return _HEADER.pack(_FORMAT, spec.encode("ascii"), len(indices), len(out)) + out.tobytes()


def pack_many(spec: str, indices: Indices, bounds: Sequence[int]) -> list[bytes]:
    """Write the indices of several messages, each sorted, one behind the other.

    Those of the first message are ``bounds[0]`` to ``bounds[1]``, and so on.
    """
    gaps = indices.copy()
    gaps[1:] -= indices[:-1]
    firsts = [begin for begin, end in pairwise(bounds) if begin < end]
    gaps[firsts] = indices[firsts]
    units, ends = _units(gaps)
    cuts = np.concatenate([[0], ends])[bounds].tolist()
    name = spec.encode("ascii")
    return [
        _HEADER.pack(_FORMAT, name, end - begin, last - first) + units[first:last].tobytes()
        for (begin, end), (first, last) in zip(pairwise(bounds), pairwise(cuts), strict=True)
    ]


def unpack(spec: str, stored: bytes, space: int, max_features: int) -> Indices:
    """Read what `pack` wrote.

    Raises StoredFeaturesError for anything else, also for indices outside ``space``.
    """
    if len(stored) < _HEADER.size:
        raise StoredFeaturesError("stored features are cut off")
    version, name, count, length = _HEADER.unpack_from(stored)
    if version != _FORMAT or name.rstrip(b"\0") != spec.encode("ascii"):
        found = name.rstrip(b"\0").decode("ascii", "replace")
        raise StoredFeaturesError(
            f"stored features are of specification {found!r} (format {version}), not {spec!r}"
        )
    if len(stored) != _HEADER.size + 2 * length or count > max_features:
        raise StoredFeaturesError("stored features have a wrong length")
    values = from_gaps(np.frombuffer(stored, "<u2", offset=_HEADER.size), space)
    if len(values) != count:
        raise StoredFeaturesError("stored features do not add up")
    return values


def unpack_checked(stored: bytes) -> Indices:
    """Read what `unpack` has read before."""
    units = np.frombuffer(stored, "<u2", offset=_HEADER.size)
    ends: Indices = units.cumsum(dtype=np.uint32)
    count: int = _HEADER.unpack_from(stored)[2]
    return ends if count == len(units) else ends[units != _ESCAPE]
