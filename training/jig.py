"""The line protocol by which an outside judge drives a filter over standard input.

Verbs and answers follow the TREC Spam Filter Evaluation Toolkit (Lynam and Cormack 2005):
``initialize``, ``classify PATH``, ``train ham PATH``, ``train spam PATH``, ``finalize``;
``judge`` is another word for ``train``.
Only ``classify`` answers, with exactly one line ``class=spam score=0.98``; a judge may wait for
it. As the track recorded a crashed filter, a message that cannot be read is answered
``class=ham score=0``, and the reason goes to the error stream. Exactly one half, as all mail gets
from a filter that was taught nothing, is ham: who knows nothing condemns nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from models.mailboxes.reading import read_bytes
from training.corpus import CorpusProblem
from training.protocols import MORE_LIKELY_SPAM, Scorer

_MAX_LINE_BYTES = 64 * 1024
_NO_ANSWER = "class=ham score=0"
_LABELS = {"ham": False, "spam": True}


class Jig:
    """One judge's session with one filter."""

    def __init__(
        self,
        scorer: Scorer,
        *,
        learn: Callable[[bytes, bool], None] | None,
        answer: Callable[[str], None],
        complain: Callable[[str], None],
        threshold: float = MORE_LIKELY_SPAM,
    ) -> None:
        self._scorer = scorer
        self._learn = learn
        self._answer = answer
        self._complain = complain
        self._threshold = threshold
        self._told_no_learning = False

    def run(self, commands: BinaryIO) -> None:
        """Obey one command a line until ``finalize`` or the end of the input."""
        while line := commands.readline(_MAX_LINE_BYTES):
            ended = line.endswith(b"\n")
            if not self.obey(os.fsdecode(line).strip("\r\n")):
                return
            while not ended and (rest := commands.readline(_MAX_LINE_BYTES)):
                ended = rest.endswith(b"\n")  # the end of a line is no command of its own

    def obey(self, command: str) -> bool:
        """Do what one line says; return False after ``finalize``."""
        verb, _, rest = command.strip().partition(" ")
        match verb:
            case "" | "initialize":
                pass
            case "finalize":
                return False
            case "classify":
                self._answer(self._classify(rest.strip()))
            case "train" | "judge":
                self._train(rest.strip())
            case _:
                self._complain(f"unknown command '{_shown(command)}'")
        return True

    def _classify(self, name: str) -> str:
        try:
            raw = self._read(name)
            if raw is None:
                return _NO_ANSWER
            score = self._scorer.classify(raw)
        except Exception as error:  # noqa: BLE001  # one message must not end a judge's long run
            self._complain(f"{_shown(name)}: the filter failed: {type(error).__name__}: {error}")
            return _NO_ANSWER
        label = "spam" if score >= self._threshold else "ham"
        return f"class={label} score={exact_decimal(score)}"

    def _train(self, rest: str) -> None:
        label, _, name = rest.partition(" ")
        is_spam = _LABELS.get(label.lower())
        if is_spam is None or not name.strip():
            self._complain(f"expected 'train ham PATH' or 'train spam PATH': '{_shown(rest)}'")
            return
        if self._learn is None:
            if not self._told_no_learning:
                self._complain("this scorer cannot learn: train commands change nothing")
            self._told_no_learning = True
            return
        try:
            raw = self._read(name.strip())
            if raw is not None:
                self._learn(raw, is_spam)
        except Exception as error:  # noqa: BLE001  # as above
            self._complain(f"{_shown(name)}: the filter failed: {type(error).__name__}: {error}")

    def _read(self, name: str) -> bytes | None:
        if not name:
            self._complain("a path is missing")
            return None
        if "\0" in name:
            self._complain(f"{_shown(name)}: not a path")
            return None
        read = read_bytes(Path(name))
        if isinstance(read, CorpusProblem):
            self._complain(str(read))
            return None
        return read


def exact_decimal(score: float) -> str:
    """Write a score so that it reads back as the same number, without an exponent."""
    return str(np.format_float_positional(score, unique=True, trim="-"))


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[
        :200
    ]
