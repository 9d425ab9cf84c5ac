"""How a filter meets a stream of labelled mail: the TREC spam track's protocols.

``online``: each message is scored, then learned. ``delayed:N``: only the first N messages are
learned, each after it was scored. ``batch``: nothing is learned while messages are scored.
"""

from __future__ import annotations

import heapq
import math
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

import numpy as np

from training.corpus import CorpusMessage
from training.measures import BoolArray, FloatArray

MORE_LIKELY_SPAM: Final = math.nextafter(0.5, 1.0)
"""The lowest probability that says spam: one half says nothing, and who knows nothing says ham."""

LabelledStream = Iterable[tuple[CorpusMessage, bool]]
WordWeights = Sequence[tuple[str, float]]


class Scorer(Protocol):
    """Gives a message a spam probability, 0 to 1; ranks count, so it must not saturate."""

    def classify(self, raw: bytes) -> float:
        """Score one message; never raises on any bytes."""


class LearningFilter(Scorer, Protocol):
    """A scorer that a person can correct."""

    def train(self, raw: bytes, is_spam: bool) -> None:
        """Learn one message as ham or spam."""


class ProtocolKind(StrEnum):
    """The names on the command line."""

    BATCH = "batch"
    ONLINE = "online"
    DELAYED = "delayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationProtocol:
    """A protocol; ``feedback`` is how many of the first messages are learned, None is all."""

    kind: ProtocolKind
    feedback: int | None

    @classmethod
    def parse(cls, text: str) -> EvaluationProtocol:
        """Read ``batch``, ``online`` or ``delayed:N``. Raises ValueError with a plain sentence."""
        name, colon, count = text.partition(":")
        match name, colon:
            case "batch", "":
                return cls(kind=ProtocolKind.BATCH, feedback=0)
            case "online", "":
                return cls(kind=ProtocolKind.ONLINE, feedback=None)
            case "delayed", ":" if count.isascii() and count.isdigit():
                return cls(kind=ProtocolKind.DELAYED, feedback=int(count))
        raise ValueError(f"'{text}' is none of batch, online, delayed:N (N a number of messages)")

    def __str__(self) -> str:
        return f"delayed:{self.feedback}" if self.kind is ProtocolKind.DELAYED else self.kind.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A message far on the wrong side, with the words that put it there at that moment.

    ``position`` counts from 1 in the order of scoring: the first messages of a stream meet a
    filter that knows little.
    """

    source: str
    position: int
    is_spam: bool
    score: float
    raw_head: bytes
    words: WordWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one filter answered on one stream, in order.

    ``seconds`` is wall time for the whole run, ``filter_seconds`` the filter's share of it.
    """

    is_spam: BoolArray
    scores: FloatArray
    threshold: float
    seconds: float
    filter_seconds: float
    learned: int
    mistakes: tuple[Mistake, ...] = field(default=())


class WorstMistakes:
    """Keeps the few worst errors of each kind while a stream passes, in bounded memory."""

    _HEAD_BYTES = 32 * 1024

    def __init__(
        self,
        *,
        threshold: float,
        explain: Callable[[bytes], WordWeights] | None,
        per_class: int = 12,
    ) -> None:
        self._threshold = threshold
        self._explain = explain
        self._per_class = per_class
        self._heaps: dict[bool, list[tuple[float, int, Mistake]]] = {False: [], True: []}

    def note(self, message: CorpusMessage, score: float, *, is_spam: bool, position: int) -> None:
        """Keep the message if it is an error and worse than the mildest one kept."""
        badness = self._threshold - score if is_spam else score - self._threshold
        if badness < 0.0 or (is_spam and badness == 0.0):
            return
        heap = self._heaps[is_spam]
        if len(heap) >= self._per_class and badness <= heap[0][0]:
            return
        mistake = Mistake(
            source=message.source,
            position=position,
            is_spam=is_spam,
            score=score,
            raw_head=message.raw[: self._HEAD_BYTES],
            words=() if self._explain is None else tuple(self._explain(message.raw)),
        )
        heapq.heappush(heap, (badness, -position, mistake))
        if len(heap) > self._per_class:
            heapq.heappop(heap)

    def worst_first(self) -> tuple[Mistake, ...]:
        """Return the kept errors: ham called spam first, then missed spam."""
        ordered = (
            sorted(self._heaps[kind], key=lambda kept: kept[:2], reverse=True)
            for kind in (False, True)
        )
        return tuple(mistake for heap in ordered for _, _, mistake in heap)


def run_stream(
    stream: LabelledStream,
    scorer: Scorer,
    *,
    learn: Callable[[bytes, bool], None] | None,
    feedback: int | None,
    threshold: float = 0.5,
    explain: Callable[[bytes], WordWeights] | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Run:
    """Score each message of the stream in order, then learn it while feedback lasts.

    ``learn`` is None for a filter that cannot; ``feedback`` counts messages from the first.
    """
    labels, scores = array("b"), array("d")
    worst = WorstMistakes(threshold=threshold, explain=explain)
    learned, filter_seconds = 0, 0.0
    started = time.perf_counter()
    for position, (message, is_spam) in enumerate(stream):
        begun = time.perf_counter()
        score = scorer.classify(message.raw)
        filter_seconds += time.perf_counter() - begun
        labels.append(is_spam)
        scores.append(score)
        worst.note(message, score, is_spam=is_spam, position=position + 1)
        if learn is not None and (feedback is None or position < feedback):
            begun = time.perf_counter()
            learn(message.raw, is_spam)
            filter_seconds += time.perf_counter() - begun
            learned += 1
        on_step()
    return Run(
        is_spam=np.array(labels, dtype=np.bool_),
        scores=np.array(scores, dtype=np.float64),
        threshold=threshold,
        seconds=time.perf_counter() - started,
        filter_seconds=filter_seconds,
        learned=learned,
        mistakes=worst.worst_first(),
    )
