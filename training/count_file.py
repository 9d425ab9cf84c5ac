"""The file in which one machine hands its labelled mail to another: counts, and features to refit.

The counts (``training.slabs``) carry the naive Bayes; its second stage is refitted from the stored
features in canonical order. So a model of merged files is that of one run over all the mail, to
the last bit. The same lessons give the same bytes. No text of any mail is in it.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gateway.core.handoff import printable
from gateway.locale import N_, Translator
from models.arrays import ArrayFileError, open_regular
from models.features import FEATURE_SPEC, Features
from models.features_stored import StoredFeaturesError
from models.fingerprint import Fingerprint, StoredFingerprintError
from training.array_archive import Array, read_arrays
from training.lessons import Lessons
from training.slabs import Slab, SlabKey, slab_keys, slabs_of
from training.split import LATEST
from training.train import Example

FORMAT = 1
_ARRAYS: dict[str, npt.DTypeLike] = {
    "head": "u1",
    "slab": "<i4",
    "spam": "u1",
    "time": "<f8",
    "voice": "<i4",
    "stored": "u1",
    "stored_at": "<i8",
    "prints": "u1",
    "prints_at": "<i8",
    "messages": "<i8",
    "rows": "<u4",
    "rows_at": "<i8",
}
_DAMAGED = N_("it is no count file, or it is damaged; write it anew: schwamm train --counts")


class CountFileError(ValueError):
    """A file that is no count file, damaged, or of another version; the text says which."""

    def __init__(
        self, sentence: str = _DAMAGED, path: Path | None = None, **values: object
    ) -> None:
        self.sentence, self.path, self.values = sentence, path, values
        super().__init__(self.told(str))

    def told(self, _: Translator) -> str:
        """Return what is wrong in the reader's language."""
        return f"{self.path}: {_(self.sentence).format(**self.values)}"


@dataclass(frozen=True, slots=True)
class CountFile:
    """What one machine knows; a `training.slabs.SlabSource`."""

    lessons: Lessons
    counted: Sequence[Slab]

    def slabs(self) -> Iterator[Slab]:
        """All slabs."""
        yield from self.counted


def write_count_file(path: Path, lessons: Lessons) -> Sequence[Slab]:
    """Write lessons with their counts, durably and in one step; return the slabs.

    Raises OSError.
    """
    ordered = lessons.in_canonical_order()
    slabs = slabs_of(ordered)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **_arrays(ordered, slabs))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.getvalue())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return slabs


def read_count_file(path: Path) -> CountFile:
    """Read and check a file: its counts must be those of its messages.

    Raises CountFileError.
    """
    try:
        with open_regular(path.resolve()) as file:
            arrays = read_arrays(file, _ARRAYS)
        lessons, keys = _lessons(arrays)
        slabs = _slabs(arrays, keys)
    except CountFileError as error:
        raise CountFileError(error.sentence, path, **error.values) from error
    except ArrayFileError as error:
        reason = error.__cause__
        if isinstance(reason, OSError) and reason.strerror:
            cannot = N_("it cannot be read ({error})")
            raise CountFileError(cannot, path, error=reason.strerror) from error
        raise CountFileError(path=path) from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
        raise CountFileError(path=path) from error
    if not _same(slabs, slabs_of(lessons)):
        raise CountFileError(N_("its counts are not those of its messages"), path)
    return CountFile(lessons, slabs)


def _arrays(lessons: Lessons, slabs: Sequence[Slab]) -> dict[str, Array]:
    keys = [slab.key for slab in slabs]
    place = {key: number for number, key in enumerate(keys)}
    voices = sorted(set(lessons.voices))
    head = {
        "format": FORMAT,
        "feature_spec": FEATURE_SPEC,
        "slabs": keys,
        "voices": voices,
        "trusted": sorted(lessons.trusted),
    }
    stored, stored_at = _packed([example.stored for example in lessons.examples])
    prints, prints_at = _packed([one.to_bytes() for one in lessons.prints])
    return {
        "head": np.frombuffer(json.dumps(head).encode(), np.uint8),
        "slab": np.array([place[key] for key in slab_keys(lessons)], "<i4"),
        "spam": lessons.labels().astype(np.uint8),
        "time": np.array(lessons.times, "<f8"),
        "voice": np.array([voices.index(voice) for voice in lessons.voices], "<i4"),
        "stored": stored,
        "stored_at": stored_at,
        "prints": prints,
        "prints_at": prints_at,
        "messages": np.array([(s.ham_messages, s.spam_messages) for s in slabs], "<i8"),
        "rows": np.concatenate([np.zeros((0, 3), np.uint32), *(s.rows for s in slabs)]),
        "rows_at": np.cumsum([0, *(len(slab.rows) for slab in slabs)], dtype="<i8"),
    }


def _packed(pieces: Sequence[bytes]) -> tuple[Array, Array]:
    ends = np.cumsum([0, *(len(piece) for piece in pieces)], dtype="<i8")
    return np.frombuffer(b"".join(pieces), np.uint8), ends


def _unpacked(arrays: dict[str, Array], name: str) -> list[bytes]:
    content, ends = arrays[name].tobytes(), arrays[f"{name}_at"].tolist()
    if ends[:1] != [0] or ends[-1] != len(content) or ends != sorted(ends):
        raise CountFileError
    return [content[begin:end] for begin, end in pairwise(ends)]


def _lessons(arrays: dict[str, Array]) -> tuple[Lessons, list[SlabKey]]:
    head = json.loads(arrays["head"].tobytes())
    if head["format"] != FORMAT:
        wrong = N_("it has format {found}, this version reads {wanted}")
        raise CountFileError(wrong, found=printable(str(head["format"])[:20]), wanted=FORMAT)
    if head["feature_spec"] != FEATURE_SPEC:
        wrong = N_("it holds features {found}, this version extracts {wanted}")
        found = str(head["feature_spec"])[:20]
        raise CountFileError(wrong, found=printable(found), wanted=FEATURE_SPEC)
    keys = [(_shown(month), _shown(customer)) for month, customer in head["slabs"]]
    voices = [_shown(person) for person in head["voices"]]
    lessons = Lessons(trusted={_shown(person) for person in head["trusted"]})
    _check_columns(arrays, len(keys), len(voices))
    columns = zip(
        arrays["slab"].tolist(),
        arrays["spam"].tolist(),
        arrays["time"].tolist(),
        arrays["voice"].tolist(),
        _unpacked(arrays, "stored"),
        _unpacked(arrays, "prints"),
        strict=True,
    )
    for slab, spam, time, voice, stored, prints in columns:
        try:
            Features.from_bytes(stored)
            known = Fingerprint.from_bytes(prints)
        except (StoredFeaturesError, StoredFingerprintError) as error:
            raise CountFileError from error
        example = Example(stored=stored, is_spam=bool(spam))
        lessons.add(example, time, known, voice=voices[voice], customer=keys[slab][1])
    return lessons, keys


def _check_columns(arrays: dict[str, Array], slabs: int, voices: int) -> None:
    """Refuse places that are none, and times that no clock shows; NaN is none, too."""
    time, slab, voice = arrays["time"], arrays["slab"], arrays["voice"]
    fits = [
        bool(np.all((time >= 0.0) & (time <= LATEST))),
        bool(np.all((slab >= 0) & (slab < slabs))),
        bool(np.all((voice >= 0) & (voice < voices))),
    ]
    if not all(fits) or any(one.ndim != 1 for one in (time, slab, voice)):
        raise CountFileError


def _shown(text: object) -> str:
    """Names of people and customers are printed; those of others must not steer a terminal."""
    if not isinstance(text, str) or not text.isprintable():
        raise CountFileError
    return text


def _slabs(arrays: dict[str, Array], keys: Sequence[SlabKey]) -> list[Slab]:
    ends, messages = arrays["rows_at"].tolist(), arrays["messages"].tolist()
    rows = arrays["rows"].astype(np.uint32)
    if rows.shape[1:] != (3,):
        raise CountFileError
    return [
        Slab(
            month=month,
            customer=customer,
            ham_messages=ham,
            spam_messages=spam,
            rows=rows[ends[number] : ends[number + 1]],
        )
        for number, ((month, customer), (ham, spam)) in enumerate(zip(keys, messages, strict=True))
    ]


def _same(first: Sequence[Slab], second: Sequence[Slab]) -> bool:
    return len(first) == len(second) and all(
        one.key == two.key
        and (one.ham_messages, one.spam_messages) == (two.ham_messages, two.spam_messages)
        and np.array_equal(one.rows, two.rows)
        for one, two in zip(first, second, strict=True)
    )
