"""Which model served when, and who changed that: the memory behind ``model rollback``."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.bundle import BundleError
from models.registry import Registry, mend_shipped

_FILE = "history.jsonl"
_BACK = "rollback"
_TWO = 2  # the serving model and one before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One change of the serving model; ``previous`` is empty for the first. Times are UTC ms."""

    name: str
    previous: str
    who: str
    why: str
    at_ms: int


class History:
    """The promotions of one registry, oldest first, appended durably."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._file = registry.directory / _FILE

    def promotions(self) -> Iterator[Promotion]:
        """Yield what is on record; a damaged line is passed over, it only costs a step back."""
        if not self._file.exists():
            return
        with self._file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                promotion = _parsed(line)
                if promotion is not None:
                    yield promotion

    def promote(self, name: str, *, who: str, why: str) -> Promotion:
        """Make a model the serving one and remember which it replaced.

        The shipped model is written anew if it was damaged.

        Raises BundleError if it cannot serve; then nothing has changed.
        """
        with self._alone():
            return self._promote(name, who=who, why=why)

    def rollback(self, *, who: str) -> Promotion:
        """Go back to the model that served before the serving one.

        Going back twice goes two steps back. Raises BundleError if there is nothing before.
        """
        with self._alone():
            path = self._path()
            if len(path) < _TWO:
                raise BundleError("no earlier model is on record: nothing to go back to")
            return self._promote(path[-2], who=who, why=_BACK)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for whoever promotes in the same moment: each is told what served before."""
        with self._file.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _promote(self, name: str, *, who: str, why: str) -> Promotion:
        mend_shipped(self._registry.directory, name)
        self._registry.load(name)
        promotion = Promotion(
            name=name,
            previous=self._serving(),
            who=who,
            why=why,
            at_ms=time.time_ns() // 1_000_000,
        )
        # First the record: a crash in between leaves a line too many, never a change unknown.
        self._append(promotion)
        self._registry.promote(name)
        return promotion

    def _path(self) -> tuple[str, ...]:
        """The models that led to the serving one, without what was gone back from."""
        before: tuple[str, ...] = ()
        path: tuple[str, ...] = ()
        for one in self.promotions():
            before = _as_it_was(before, path, one.previous)
            path = before
            if one.why == _BACK and one.name in before[:-1]:
                path = before[: _last(before[:-1], one.name) + 1]
            elif one.name != one.previous:
                path = (*before, one.name)
        return _as_it_was(before, path, self._serving())

    def _serving(self) -> str:
        try:
            return self._registry.pointed()
        except BundleError:
            return ""

    def _append(self, promotion: Promotion) -> None:
        fields = {
            "v": 1,
            "at": promotion.at_ms,
            "name": promotion.name,
            "previous": promotion.previous,
            "who": promotion.who,
            "why": promotion.why,
        }
        with self._file.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":  # a full disk tore the last line: do not write onto it
                    file.write(b"\n")
            file.write(f"{json.dumps(fields)}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def _as_it_was(before: tuple[str, ...], path: tuple[str, ...], serving: str) -> tuple[str, ...]:
    """Of two paths the one that ends in what serves: the last change may not have come to be.

    Neither does where the pointer was set by other means, as by a restored backup.
    """
    for one in (path, before):
        if one and one[-1] == serving:
            return one
    return (*path, serving) if serving else ()


def _last(path: tuple[str, ...], name: str) -> int:
    return len(path) - 1 - path[::-1].index(name)


def _parsed(line: str) -> Promotion | None:
    try:
        fields = json.loads(line)
        return Promotion(
            name=str(fields["name"]),
            previous=str(fields["previous"]),
            who=str(fields["who"]),
            why=str(fields["why"]),
            at_ms=int(fields["at"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
