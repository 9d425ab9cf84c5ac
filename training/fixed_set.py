"""The fixed set that ships with the baseline: public mail which no model has ever learned.

A site model that has forgotten what mail in general looks like does worse on it than the model
that serves. It holds stored features, no text. Its messages, and all near-duplicates of them, are
kept out of the baseline; German texts stand in the headers of ham of the set, as they do there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from models.arrays import open_regular
from models.features import FEATURE_SPEC, Features, extract
from models.features_stored import StoredFeaturesError
from models.message import scan
from training.array_archive import read_arrays
from training.baseline_sources import Dresser, SourceMessage
from training.dedup import campaigns, fingerprint
from training.train import Example

FILE: Final = "fixed_set.npz"
_SEED: Final = 3
_MOST_FILE_BYTES: Final = 64 << 20
_ARRAYS: Final = {"head": "u1", "spam": "u1", "stored": "u1", "ends": "<i8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Of one kind of mail one campaign in ``one_in`` is chosen, up to ``most`` messages."""

    most: int
    one_in: int


ENGLISH_HAM: Final = Quota(most=150, one_in=20)
ENGLISH_SPAM: Final = Quota(most=120, one_in=10)
RECENT_SPAM: Final = Quota(most=30, one_in=5)
GERMAN_HAM: Final = Quota(most=60, one_in=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """The sources without the fixed set, and the fixed set itself."""

    english: list[SourceMessage]
    recent: list[SourceMessage]
    german: list[SourceMessage]
    fixed: list[Example]


def divide(
    english: Sequence[SourceMessage],
    recent: Sequence[SourceMessage],
    german: Sequence[SourceMessage],
) -> Divided:
    """Take the fixed set out of the sources, whole campaigns at a time; the same each time."""
    sources = [list(english), list(recent), list(german)]
    everything = [message for source in sources for message in source]
    kinds = [kind for kind, source in enumerate(sources) for _ in source]
    groups = campaigns([fingerprint(message.raw) for message in everything])
    chosen = [
        *_chosen(everything, kinds, groups, (0, False), ENGLISH_HAM),
        *_chosen(everything, kinds, groups, (0, True), ENGLISH_SPAM),
        *_chosen(everything, kinds, groups, (1, True), RECENT_SPAM),
        *_chosen(everything, kinds, groups, (2, False), GERMAN_HAM),
    ]
    rest = (
        np.flatnonzero(~np.isin(groups, groups[chosen])).tolist() if chosen else range(len(kinds))
    )
    left = [[everything[at] for at in rest if kinds[at] == kind] for kind in range(len(sources))]
    fixed = list(_examples([everything[at] for at in chosen], [kinds[at] == 2 for at in chosen]))
    return Divided(english=left[0], recent=left[1], german=left[2], fixed=fixed)


def _chosen(
    messages: Sequence[SourceMessage],
    kinds: Sequence[int],
    groups: np.ndarray[tuple[int], np.dtype[np.int64]],
    wanted: tuple[int, bool],
    quota: Quota,
) -> list[int]:
    found: dict[int, int] = {}
    for place, message in enumerate(messages):
        group = int(groups[place])
        if (kinds[place], message.is_spam) != wanted or group in found:
            continue
        digest = hashlib.sha256(messages[group].path.encode()).digest()
        if int.from_bytes(digest[:4]) % quota.one_in == 0:
            found[group] = place
    return list(found.values())[: quota.most]


def _examples(messages: Sequence[SourceMessage], is_text: Sequence[bool]) -> Iterator[Example]:
    headers = [
        message.raw
        for message, text in zip(messages, is_text, strict=True)
        if not message.is_spam and not text
    ]
    dresser = Dresser(headers, _SEED) if headers else None
    for message, text in zip(messages, is_text, strict=True):
        raw = dresser.dress(message.raw) if text and dresser else message.raw
        stored = extract(scan(raw), raw).to_bytes()
        yield Example(stored=stored, is_spam=message.is_spam)


def save(examples: Sequence[Example], path: Path) -> None:
    """Write the set; the same examples give the same bytes. Raises OSError."""
    head = json.dumps({"format": 1, "feature_spec": FEATURE_SPEC}).encode()
    content = io.BytesIO()
    np.savez_compressed(
        content,
        allow_pickle=False,
        head=np.frombuffer(head, np.uint8),
        spam=np.array([example.is_spam for example in examples], np.uint8),
        stored=np.frombuffer(b"".join(example.stored for example in examples), np.uint8),
        ends=np.cumsum([len(example.stored) for example in examples], dtype="<i8"),
    )
    path.write_bytes(content.getvalue())


def load(directory: Path) -> list[Example]:
    """Return the set that lies beside a baseline; nothing where there is none.

    A set of another feature specification judges nothing, so it counts as none. Raises ValueError
    when the file is damaged.
    """
    path = directory / FILE
    if not path.is_file():
        return []
    if path.stat().st_size > _MOST_FILE_BYTES:
        raise ValueError(f"{path}: is larger than any fixed set")
    try:
        with open_regular(path) as file:
            arrays = read_arrays(file, _ARRAYS)
        head = json.loads(arrays["head"].tobytes())
        if head != {"format": 1, "feature_spec": FEATURE_SPEC}:
            return []
        return list(_read(arrays["stored"].tobytes(), arrays["ends"], arrays["spam"]))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: is no fixed set, or damaged") from error


def _read(
    content: bytes,
    ends: np.ndarray[tuple[int], np.dtype[np.int64]],
    spam: np.ndarray[tuple[int], np.dtype[np.uint8]],
) -> Iterator[Example]:
    begin = 0
    for end, is_spam in zip(ends.tolist(), spam.tolist(), strict=True):
        stored = content[begin:end]
        try:
            Features.from_bytes(stored)
        except StoredFeaturesError as error:
            raise ValueError(str(error)) from error
        yield Example(stored=stored, is_spam=bool(is_spam))
        begin = end
