"""The file in which one machine hands its labelled mail to another: counts, and features to refit.

The counts (``training.slabs``) carry the naive Bayes; its second stage is refitted from the stored
features in canonical order. So a model of merged files is that of one run over all the mail, to
the last bit. The same lessons give the same bytes. No text of any mail is in it.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.locale import N_, Translator
from models.features import FEATURE_SPEC, Features
from models.features_stored import StoredFeaturesError
from models.fingerprint import Fingerprint, StoredFingerprintError
from training.lessons import Lessons
from training.slabs import Slab, SlabKey, slab_keys, slabs_of
from training.train import Example

FORMAT = 1
_MOST_BYTES = 4 << 30
_NAMES = ("head", "slab", "spam", "time", "voice", "stored", "stored_at", "prints", "prints_at")
_COUNTS = ("messages", "rows", "rows_at")

Array = npt.NDArray[Any]


class CountFileError(ValueError):
    """A file that is no count file, damaged, or of another version; the text says which.

    It is made from a sentence of ours and what fills its gaps.
    """

    def __init__(self, sentence: str, **values: object) -> None:
        super().__init__(sentence.format(**values))
        self._sentence = sentence
        self._values = values

    def told(self, _: Translator) -> str:
        """Return the text in a language."""
        return _(self._sentence).format(**self._values)

    def at(self, path: Path) -> CountFileError:
        """Return the same, naming the file."""
        return CountFileError(self._sentence, **{**self._values, "file": path})


_DAMAGED = N_("{file}: is no count file, or damaged")
_TOO_LARGE = N_("{file}: is larger than any count file")
_OTHER_FORMAT = N_("{file}: is of format {found}, this version reads {wanted}")
_OTHER_FEATURES = N_("{file}: holds features {found}, this version extracts {wanted}")
_NOT_ITS_COUNTS = N_("{file}: its counts are not those of its messages")
_UNREADABLE = N_("{file}: cannot be read ({error})")


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
        arrays = _loaded(path)
        lessons, keys = _lessons(arrays)
        slabs = _slabs(arrays, keys)
    except CountFileError as error:
        raise error.at(path) from error
    except OSError as error:
        why = error.strerror or error
        raise CountFileError(_UNREADABLE, file=path, error=why) from error
    except (ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as error:
        raise CountFileError(_DAMAGED, file=path) from error
    if not _same(slabs, slabs_of(lessons)):
        raise CountFileError(_NOT_ITS_COUNTS, file=path)
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
        raise CountFileError(_DAMAGED, file="")
    return [content[begin:end] for begin, end in pairwise(ends)]


def _loaded(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
            raise CountFileError(_TOO_LARGE, file="")
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in (*_NAMES, *_COUNTS)}


def _lessons(arrays: dict[str, Array]) -> tuple[Lessons, list[SlabKey]]:
    head = json.loads(arrays["head"].tobytes())
    if head["format"] != FORMAT:
        found = repr(head["format"])
        raise CountFileError(_OTHER_FORMAT, file="", found=found, wanted=FORMAT)
    if head["feature_spec"] != FEATURE_SPEC:
        found = repr(head["feature_spec"])
        raise CountFileError(_OTHER_FEATURES, file="", found=found, wanted=repr(FEATURE_SPEC))
    keys = [(str(month), str(customer)) for month, customer in head["slabs"]]
    lessons = Lessons(trusted={str(person) for person in head["trusted"]})
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
            raise CountFileError(_DAMAGED, file="") from error
        example = Example(stored=stored, is_spam=bool(spam))
        person, customer = str(head["voices"][voice]), keys[slab][1]
        lessons.add(example, float(time), known, voice=person, customer=customer)
    return lessons, keys


def _slabs(arrays: dict[str, Array], keys: Sequence[SlabKey]) -> list[Slab]:
    ends, messages = arrays["rows_at"].tolist(), arrays["messages"].tolist()
    rows = arrays["rows"].astype(np.uint32)
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
