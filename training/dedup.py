"""Near-duplicates: the many copies of one campaign, with other names, numbers and links in each.

A message becomes the set of its word triples (w-shingles, Broder 1997), numbers and addresses left
out; a minhash sketch estimates how much two sets share. Sketches are compared only where a band of
them is equal (Indyk and Motwani 1998), so the work is linear in the messages but for one sort per
band.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.message import ParsedMail, scan

SKETCH_SIZE = 64
_BANDS = 16
_ROWS = SKETCH_SIZE // _BANDS
SAME_CAMPAIGN = 0.6
"""Share of common word triples from which two messages count as one campaign."""

_MIN_SHINGLES = 16
_MAX_TEXT_CHARS = 20_000
_WORD = re.compile(r"[^\W\d_]{2,40}")
_SEED = np.uint64(0x9E3779B97F4A7C15)
_PRIMES = tuple(
    np.uint64(value) for value in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
)

Sketch = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What of a message is compared: a minhash sketch of its text.

    ``exact`` is set for messages of few words, which are alike only when they are equal: two
    people's "thank you" are no campaign.
    """

    sketch: Sketch
    exact: bytes


def fingerprint(raw: bytes) -> Fingerprint:
    """Return the fingerprint of a message; never raises on any bytes."""
    return fingerprint_of(scan(raw))


def fingerprint_of(mail: ParsedMail) -> Fingerprint:
    """Return the fingerprint of a message that was parsed already."""
    text = mail.text[:_MAX_TEXT_CHARS]
    subject = mail.subject[:1000]
    prints = fingerprint_text(f"{subject}\n{text}")
    if not prints.exact:
        return prints
    # Little text: what else the mail carries (an image, a link) tells campaigns apart.
    body = hashlib.blake2b(prints.exact, digest_size=16)
    for part in mail.parts:
        body.update(f"{part.content_type}:{part.size_bytes};".encode())
    return Fingerprint(sketch=prints.sketch, exact=body.digest())


def fingerprint_text(text: str) -> Fingerprint:
    """Return the fingerprint of a text: linear in its length."""
    # Numbers and addresses are what a campaign varies from copy to copy.
    plain = (one for one in text.lower().split() if "@" not in one and "://" not in one)
    words = _WORD.findall(" ".join(plain))
    shingles = _shingles(words)
    if len(shingles) < _MIN_SHINGLES:
        exact = hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()
        return Fingerprint(sketch=np.zeros(SKETCH_SIZE, np.uint64), exact=exact)
    return Fingerprint(sketch=_sketch(shingles), exact=b"")


def campaigns(fingerprints: Sequence[Fingerprint]) -> npt.NDArray[np.int64]:
    """Number the campaigns: equal numbers for near-duplicates, each that of its first message."""
    groups = _Groups(len(fingerprints))
    _join_equal(fingerprints, groups)
    wordy = [index for index, prints in enumerate(fingerprints) if not prints.exact]
    if len(wordy) > 1:
        sketches = np.stack([fingerprints[index].sketch for index in wordy])
        _join_similar(np.array(wordy, dtype=np.int64), sketches, groups)
    return groups.numbers()


def similarity(first: Sketch, second: Sketch) -> float:
    """Estimate the Jaccard similarity of two sets of shingles from their sketches."""
    return float(np.mean(first == second))


def _shingles(words: list[str]) -> Sketch:
    """Hash each run of three words; a set, so that repeated text counts once."""
    hashed = np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint64)
    if len(hashed) < 3:
        return hashed[:0]
    mixed = hashed[:-2] * _PRIMES[0] + hashed[1:-1] * _PRIMES[1] + hashed[2:] * _PRIMES[2]
    mixed = (mixed ^ (mixed >> np.uint64(31))) * _SEED
    return np.unique(mixed ^ (mixed >> np.uint64(29)))


def _sketch(shingles: Sketch) -> Sketch:
    """One-permutation minhash (Li, Owen, Zhang 2012): the least hash in each of 64 bins.

    An empty bin borrows from the next filled one (rotation, Shrivastava and Li 2014).
    """
    bins = (shingles >> np.uint64(64 - 6)).astype(np.int64)
    filled, first = np.unique(bins, return_index=True)  # shingles are sorted, so are bins
    sketch = np.zeros(SKETCH_SIZE, np.uint64)
    donor = np.searchsorted(filled, np.arange(SKETCH_SIZE)) % len(filled)
    distance = (filled[donor] - np.arange(SKETCH_SIZE)) % SKETCH_SIZE
    sketch[:] = shingles[first[donor]] + distance.astype(np.uint64) * _SEED
    return sketch


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
        keys = (rows * np.array([1, *_PRIMES], dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
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
