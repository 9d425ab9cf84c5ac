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

from gateway.locale import Translator
from gateway.locale.mailboxes import explain_problem
from models.mailboxes.reading import read_bytes
from training.corpus import CorpusProblem
from training.protocols import MORE_LIKELY_SPAM, Scorer

_MAX_LINE_BYTES = 64 * 1024
_NO_ANSWER = "class=ham score=0"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
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
        say: Translator = str,
    ) -> None:
        self._scorer = scorer
        self._learn = learn
        self._answer = answer
        self._complain = complain
        self._threshold = threshold
        self._say = say
        self._told_no_learning = False

    def run(self, commands: BinaryIO) -> None:
        """Obey one command a line until ``finalize`` or the end of the input."""
        mark = _BYTE_ORDER_MARK  # some shells put it before the first line of a pipe
        while line := commands.readline(_MAX_LINE_BYTES):
            ended = line.endswith(b"\n")
            if not self.obey(os.fsdecode(line.removeprefix(mark)).strip("\r\n")):
                return
            mark = b""
            while not ended and (rest := commands.readline(_MAX_LINE_BYTES)):
                ended = rest.endswith(b"\n")  # the end of a line is no command of its own

    def obey(self, command: str) -> bool:
        """Do what one line says; return False after ``finalize``.

        Blanks, tabs and capitals are taken as they come: a judge that waits for an answer to
        ``Classify<tab>PATH`` would wait for ever.
        """
        verb, rest = _first_word(command)
        match verb.lower():
            case "" | "initialize":
                pass
            case "finalize":
                return False
            case "classify":
                self._answer(self._classify(rest))
            case "train" | "judge":
                self._train(rest)
            case _:
                _ = self._say
                text = _("unknown command '{command}'")
                self._complain(text.format(command=_shown(command)))
        return True

    def _classify(self, name: str) -> str:
        try:
            raw = self._read(name)
            if raw is None:
                return _NO_ANSWER
            score = self._scorer.classify(raw)
        except Exception as error:  # noqa: BLE001  # one message must not end a judge's long run
            self._complain_of_failure(name, error)
            return _NO_ANSWER
        label = "spam" if score >= self._threshold else "ham"
        return f"class={label} score={exact_decimal(score)}"

    def _train(self, rest: str) -> None:
        _ = self._say
        label, name = _first_word(rest)
        is_spam = _LABELS.get(label.lower())
        if is_spam is None or not name:
            text = _("expected 'train ham PATH' or 'train spam PATH': '{found}'")
            self._complain(text.format(found=_shown(rest)))
            return
        if self._learn is None:
            if not self._told_no_learning:
                self._complain(_("this scorer cannot learn: train commands change nothing"))
            self._told_no_learning = True
            return
        try:
            raw = self._read(name)
            if raw is not None:
                self._learn(raw, is_spam)
        except Exception as error:  # noqa: BLE001  # as above
            self._complain_of_failure(name, error)

    def _read(self, name: str) -> bytes | None:
        _ = self._say
        if not name:
            self._complain(_("a path is missing"))
            return None
        if "\0" in name:
            self._complain(_("{name}: not a path").format(name=_shown(name)))
            return None
        read = read_bytes(Path(name))
        if isinstance(read, CorpusProblem):
            self._complain(explain_problem(read, _))
            return None
        return read

    def _complain_of_failure(self, name: str, error: Exception) -> None:
        _ = self._say
        text = _("{name}: the filter failed: {error}")
        self._complain(
            text.format(name=_shown(name), error=_shown(f"{type(error).__name__}: {error}"))
        )


def _first_word(text: str) -> tuple[str, str]:
    """Return the first word of a line and the rest, which may hold blanks."""
    word, *rest = text.strip().split(None, 1) or [""]
    return word, rest[0] if rest else ""


def exact_decimal(score: float) -> str:
    """Write a score so that it reads back as the same number, without an exponent."""
    return str(np.format_float_positional(score, unique=True, trim="-"))


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[
        :200
    ]
