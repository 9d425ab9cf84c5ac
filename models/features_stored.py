"""Features as bytes, for labels that outlive their mail: compact, versioned, exact."""

from __future__ import annotations

import struct
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
    gaps = np.diff(indices.astype(np.int64), prepend=0)
    escapes, rest = np.divmod(gaps, _ESCAPE)
    out: npt.NDArray[np.uint16] = np.full(int(escapes.sum()) + len(gaps), _ESCAPE, "<u2")
    out[np.cumsum(escapes + 1) - 1] = rest
    return out


def from_gaps(units: npt.NDArray[np.uint16], space: int) -> Indices:
    """Read what `to_gaps` wrote. Raises StoredFeaturesError unless sorted and below ``space``."""
    wide = units.astype(np.int64)
    values: npt.NDArray[np.int64] = np.cumsum(wide)[wide != _ESCAPE]
    if len(wide) and wide[-1] == _ESCAPE:
        raise StoredFeaturesError("stored features end inside a gap")
    if len(values) and (values[-1] >= space or np.any(np.diff(values) <= 0)):
        raise StoredFeaturesError("stored features lie outside the feature space")
    indices: Indices = values.astype(np.uint32)
    return indices


def pack(spec: str, indices: Indices) -> bytes:
    """Write the sorted indices of one message with the name of their specification."""
    out = to_gaps(indices)
    return _HEADER.pack(_FORMAT, spec.encode("ascii"), len(indices), len(out)) + out.tobytes()


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
