"""Which model served when, and who changed that: the memory behind ``model rollback``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.bundle import BundleError
from models.registry import Registry

_FILE = "history.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One change of the serving model; ``previous`` is empty for the first. Times are UTC ms."""

    name: str
    previous: str
    who: str
    why: str
    at_ms: int


class History:
    """The promotions of one models directory, oldest first, appended durably."""

    def __init__(self, directory: Path) -> None:
        self._registry = Registry(directory)
        self._file = directory / _FILE

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

        Raises BundleError if it cannot serve; then nothing has changed.
        """
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

    def rollback(self, *, who: str) -> Promotion:
        """Go back to the model that served before the serving one.

        Going back twice goes two steps back. Raises BundleError if there is nothing before.
        """
        serving = self._serving()
        earlier = self._before(serving)
        if not earlier:
            raise BundleError("no earlier model is on record: nothing to go back to")
        return self.promote(earlier, who=who, why="rollback")

    def _before(self, serving: str) -> str:
        steps = [p for p in self.promotions() if p.why != "rollback" and p.previous != p.name]
        for promotion in reversed(steps):
            if promotion.name == serving:
                return promotion.previous
        return ""

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
