"""Near-duplicates: the many copies of one campaign, with other names, numbers and links in each.

Fingerprints (``models.fingerprint``) are compared only where a band of their sketches is equal
(Indyk and Motwani 1998), so the work is linear in the messages but for one sort per band.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.fingerprint import (
    PRIMES,
    SKETCH_SIZE,
    Fingerprint,
    Sketch,
    fingerprint,
    fingerprint_of,
    fingerprint_text,
    similarity,
)

__all__ = [
    "SAME_CAMPAIGN",
    "SKETCH_SIZE",
    "Fingerprint",
    "Sketch",
    "campaigns",
    "fingerprint",
    "fingerprint_of",
    "fingerprint_text",
    "similarity",
]

_BANDS = 16
_ROWS = SKETCH_SIZE // _BANDS
SAME_CAMPAIGN = 0.6
"""Share of common word triples from which two messages count as one campaign."""


def campaigns(fingerprints: Sequence[Fingerprint]) -> npt.NDArray[np.int64]:
    """Number the campaigns: equal numbers for near-duplicates, each that of its first message."""
    groups = _Groups(len(fingerprints))
    _join_equal(fingerprints, groups)
    wordy = [index for index, prints in enumerate(fingerprints) if not prints.exact]
    if len(wordy) > 1:
        sketches = np.stack([fingerprints[index].sketch for index in wordy])
        _join_similar(np.array(wordy, dtype=np.int64), sketches, groups)
    return groups.numbers()


def _join_equal(fingerprints: Sequence[Fingerprint], groups: _Groups) -> None:
    seen: dict[bytes, int] = {}
    for index, prints in enumerate(fingerprints):
        if prints.exact:
            groups.join(seen.setdefault(prints.exact, index), index)


def _join_similar(
    indices: npt.NDArray[np.int64], sketches: npt.NDArray[np.uint64], groups: _Groups
) -> None:
    """Join messages that share a band of their sketches, if the whole sketches agree."""
    for band in range(_BANDS):
        rows = sketches[:, band * _ROWS : (band + 1) * _ROWS]
        keys = (rows * np.array([1, *PRIMES], dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        near = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        one, two = order[near], order[near + 1]
        alike = (sketches[one] == sketches[two]).mean(axis=1) >= SAME_CAMPAIGN
        for first, second in zip(indices[one[alike]], indices[two[alike]], strict=True):
            groups.join(int(first), int(second))


class _Groups:
    """Disjoint sets of messages; a set is named by its first member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def _root(self, index: int) -> int:
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def join(self, first: int, second: int) -> None:
        one, two = self._root(first), self._root(second)
        self._parent[max(one, two)] = min(one, two)

    def numbers(self) -> npt.NDArray[np.int64]:
        return np.array([self._root(index) for index in range(len(self._parent))], dtype=np.int64)
