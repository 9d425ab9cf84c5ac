"""The archive of labelled mail: what people decided, and the messages they decided about.

Two things lie in its folder. ``messages/ab/abcd....eml.gz`` holds each message once, named by the
SHA-256 of its bytes and never changed. ``labels.jsonl`` grows by one line for each decision; the
last line about a message counts, a line with the label ``null`` takes its label back. A line is
written only after its message is on disk, so no label can point to nothing.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.mailboxes.message import CorpusMessage, CorpusProblem, OnProblem, ProblemCode

FORMAT_VERSION = 1
_GROUP = 64
_DIGEST_CHARS = frozenset("0123456789abcdef")
_LABEL_NAMES = {True: "spam", False: "ham", None: None}
_LABEL_VALUES: dict[object, bool | None] = {"spam": True, "ham": False, None: None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One line of the log: who said what about which message, when and why.

    ``is_spam`` is None for a label that was taken back. ``at_ms`` is UTC milliseconds. ``source``
    says where the message came from (a file, the quarantine), ``reason`` is a code.
    """

    digest: str
    is_spam: bool | None
    who: str
    source: str
    reason: str
    at_ms: int

    def as_line(self) -> str:
        """Return the log line, without its line end."""
        fields = {
            "v": FORMAT_VERSION,
            "at": self.at_ms,
            "digest": self.digest,
            "label": _LABEL_NAMES[self.is_spam],
            "who": self.who,
            "source": self.source,
            "reason": self.reason,
        }
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Decision:
        """Read a log line. Raises ValueError when it is torn, or of a newer format."""
        fields = json.loads(line)
        if not isinstance(fields, dict) or fields.get("v") != FORMAT_VERSION:
            raise ValueError(f"not a label of format {FORMAT_VERSION}")
        digest, label, at_ms = fields.get("digest"), fields.get("label"), fields.get("at")
        if not isinstance(digest, str) or len(digest) != 64 or not set(digest) <= _DIGEST_CHARS:
            raise ValueError("the digest is damaged")
        if label not in ("spam", "ham", None) or not isinstance(at_ms, int):
            raise ValueError("the label or its time is damaged")
        return cls(
            digest=digest,
            is_spam=_LABEL_VALUES[label],
            who=str(fields.get("who", "")),
            source=str(fields.get("source", "")),
            reason=str(fields.get("reason", "")),
            at_ms=at_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What an import did: messages new to the archive, labels changed, labels known before.

    A label that was taken back is a changed one; there being none to take back is known before.
    """

    new: int
    changed: int
    known: int


class Archive:
    """The labelled mail of a site, in one folder; made when first written to."""

    def __init__(self, directory: Path) -> None:
        self._messages = directory / "messages"
        self._log = directory / "labels.jsonl"
        self._directory = directory

    def add(
        self, labelled: Iterable[tuple[CorpusMessage, bool | None]], *, who: str, reason: str
    ) -> Added:
        """Store messages with their labels, durably; what is known already costs nothing.

        None takes the label of a message back, and stores nothing.

        Raises OSError when the disk is full or not writable; what was added before stays.
        """
        current = {digest: decision.is_spam for digest, decision in self.labels().items()}
        new = changed = known = 0
        waiting: list[Decision] = []
        for message, is_spam in labelled:
            digest = hashlib.sha256(message.raw).hexdigest()
            if current.get(digest) is is_spam:
                known += 1
                continue
            if digest in current:
                changed += 1
            else:
                new += 1
            if is_spam is not None:
                self._store(digest, message.raw)
            current[digest] = is_spam
            waiting.append(_decision(digest, is_spam, who, message.source, reason))
            if len(waiting) >= _GROUP:
                self._append(waiting)
                waiting.clear()
        self._append(waiting)
        return Added(new=new, changed=changed, known=known)

    def withdraw(self, digest: str, *, who: str, reason: str) -> bool:
        """Take a message's label back (unlearn); return whether it had one."""
        return self.relabel(digest, None, who=who, reason=reason)

    def relabel(self, digest: str, is_spam: bool | None, *, who: str, reason: str) -> bool:
        """Change the label of a message, None takes it back; return whether anything changed."""
        decision = self.labels().get(digest)
        if decision is None or decision.is_spam is is_spam:
            return False
        self._append([_decision(digest, is_spam, who, decision.source, reason)])
        return True

    def decisions(self, *, on_problem: OnProblem = lambda _: None) -> Iterator[Decision]:
        """Yield the log from its start; a damaged line (a torn last one) is reported."""
        if not self._log.exists():
            return
        with self._log.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    yield Decision.from_line(line)
                except (ValueError, RecursionError) as error:
                    where, detail = f"{self._log}:{number}", str(error)
                    code = ProblemCode.UNREADABLE
                    on_problem(CorpusProblem(code=code, where=where, detail=detail))

    def labels(self, *, on_problem: OnProblem = lambda _: None) -> dict[str, Decision]:
        """Return the decision that counts for each message, by digest, in order of first label."""
        counting: dict[str, Decision] = {}
        for decision in self.decisions(on_problem=on_problem):
            counting[decision.digest] = decision
        return counting

    def stream(self, *, on_problem: OnProblem) -> Iterator[tuple[CorpusMessage, bool]]:
        """Yield (message, is spam) for every label that stands; its source is the digest.

        A message whose file is gone or no longer matches its digest is reported and left out.
        """
        for digest, decision in self.labels(on_problem=on_problem).items():
            if decision.is_spam is None:
                continue
            message = self.message(digest, on_problem=on_problem)
            if message is not None:
                yield message, decision.is_spam

    def message(self, digest: str, *, on_problem: OnProblem) -> CorpusMessage | None:
        """Return one message; None, with the problem told, if it is gone or was changed."""
        path = self._path(digest)
        try:
            raw = gzip.decompress(path.read_bytes())
        except FileNotFoundError:
            on_problem(CorpusProblem(code=ProblemCode.MISSING, where=str(path)))
            return None
        except (OSError, EOFError, ValueError, zlib.error) as error:
            code, detail = ProblemCode.BROKEN_GZIP, str(error)
            on_problem(CorpusProblem(code=code, where=str(path), detail=detail))
            return None
        if hashlib.sha256(raw).hexdigest() != digest:
            code, detail = ProblemCode.UNREADABLE, "its bytes are not those that were stored"
            on_problem(CorpusProblem(code=code, where=str(path), detail=detail))
            return None
        return CorpusMessage(raw=raw, source=digest)

    def _path(self, digest: str) -> Path:
        return self._messages / digest[:2] / f"{digest}.eml.gz"

    def _store(self, digest: str, raw: bytes) -> None:
        path = self._path(digest)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(gzip.compress(raw, compresslevel=6, mtime=0))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)

    def _append(self, decisions: list[Decision]) -> None:
        if not decisions:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab+") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            end = log.seek(0, os.SEEK_END)
            if end:
                log.seek(end - 1)
                if log.read(1) != b"\n":  # a crash tore the last line: do not write onto it
                    log.write(b"\n")
            log.write(b"".join(f"{decision.as_line()}\n".encode() for decision in decisions))
            log.flush()
            os.fsync(log.fileno())
        _sync_directory(self._directory)
        _sync_directory(self._messages)


def _decision(digest: str, is_spam: bool | None, who: str, source: str, reason: str) -> Decision:
    return Decision(
        digest=digest,
        is_spam=is_spam,
        who=who,
        source=source.encode("utf-8", "backslashreplace").decode(),
        reason=reason,
        at_ms=time.time_ns() // 1_000_000,
    )


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
