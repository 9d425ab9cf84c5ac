"""What was learned to see in archived mail, kept beside it: a retraining need not read it again.

One small file a message, named by the digest of its bytes, in a folder named by the feature
specification: another version of the features starts another folder. A file that is torn or
damaged does not fit its checksum; it is made anew from the message.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.features import FEATURE_SPEC, Features, extract
from models.features_stored import StoredFeaturesError
from models.fingerprint import Fingerprint, StoredFingerprintError, fingerprint_of
from models.mailboxes.message import CorpusMessage, OnProblem
from models.message import scan
from training.corpus.archive import Archive
from training.lessons import Lessons
from training.protocols import LabelledStream
from training.split import LATEST, arrival_time
from training.train import Example

_HEAD = struct.Struct("<dII")
_CHECKSUM_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The features of a message as stored, its time of arrival (UTC s) if any, its fingerprint."""

    stored: bytes
    time: float | None
    prints: Fingerprint


def seen(raw: bytes) -> Seen:
    """Look at a message."""
    mail = scan(raw)
    return Seen(
        stored=extract(mail, raw).to_bytes(), time=arrival_time(mail), prints=fingerprint_of(mail)
    )


class SeenMail:
    """The files of one archive."""

    def __init__(self, archive: Path) -> None:
        self._folder = archive / "features" / FEATURE_SPEC

    def read(self, digest: str) -> Seen | None:
        """Return what is kept of a message, or None."""
        try:
            content = self._path(digest).read_bytes()
            body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
            if _checksum(body) != checksum:
                return None
            time, stored, prints = _HEAD.unpack_from(body)
            middle = _HEAD.size + stored
            kept = body[_HEAD.size : middle]
            Features.from_bytes(kept)
            return Seen(
                stored=kept,
                time=time if 0.0 <= time <= LATEST else None,  # also NaN, for no time at all
                prints=Fingerprint.from_bytes(body[middle : middle + prints]),
            )
        except (OSError, struct.error, StoredFeaturesError, StoredFingerprintError):
            return None

    def write(self, digest: str, found: Seen) -> None:
        """Keep what was seen; a disk that is full only costs time later."""
        prints = found.prints.to_bytes()
        time = math.nan if found.time is None else found.time
        body = _HEAD.pack(time, len(found.stored), len(prints)) + found.stored + prints
        path = self._path(digest)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body + _checksum(body))

    def watch(self, stream: LabelledStream) -> Iterator[tuple[CorpusMessage, bool]]:
        """Pass messages on, and keep what is seen in those that are new."""
        for message, is_spam in stream:
            digest = hashlib.sha256(message.raw).hexdigest()
            if not self._path(digest).is_file():
                self.write(digest, seen(message.raw))
            yield message, is_spam

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def gather_archived(
    archive: Archive,
    directory: Path,
    *,
    on_problem: OnProblem,
    on_step: Callable[[], None] = lambda: None,
) -> Lessons:
    """Return the lessons of all labels that stand; a message is read only if it was never seen."""
    kept, lessons = SeenMail(directory), Lessons()
    for digest, decision in archive.labels(on_problem=on_problem).items():
        if decision.is_spam is None:
            continue
        found = kept.read(digest)
        if found is None:
            message = archive.message(digest, on_problem=on_problem)
            if message is None:
                continue
            found = seen(message.raw)
            kept.write(digest, found)
        example = Example(stored=found.stored, is_spam=decision.is_spam)
        lessons.add(example, found.time, found.prints, name=digest)
        on_step()
    return lessons


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()
