"""What the trained classifier says of a mail; the only check whose points are computed."""

import mmap
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gateway.checks.check import ConnectionFacts
from gateway.core.details import write_details
from gateway.core.lesson import Lesson
from gateway.core.mail import Mail
from gateway.core.verdict import (
    ContentFinding,
    Outcome,
    ShadowFinding,
    Status,
    Symbol,
    WordReason,
)
from models.bundle import Bundle, BundleError
from models.classifier import ContentScore
from models.features import FEATURE_SPEC, Features
from models.fingerprint import fingerprint_of
from models.message import ParsedMail

_RAW_HEAD_BYTES = 320 * 1024  # of a mapped file: the model looks at a few kilobytes behind the
_RAW_TAIL_BYTES = 64 * 1024  # header, which it seeks in the first 256 KB, and at a few at the end


class ContentModels(Protocol):
    """Where the model in service comes from: ``models.registry.Registry``."""

    def current(self) -> Bundle:
        """The model that serves.

        Raises:
            BundleError: when there is none that can.
        """


class ContentCheck:
    """Asks the model in service; without one it is an ERROR, and the mail is judged by the rest.

    ``words`` is how many words for and against the verdict names. ``shadow`` gives the model that
    is only watched, if there is one; its probability is noted and gives no points.
    """

    name = "content"

    def __init__(
        self,
        models: ContentModels,
        *,
        words: int,
        shadow: Callable[[], Bundle | None] = lambda: None,
    ) -> None:
        self._models = models
        self._words = words
        self._shadow = shadow

    async def examine(self, mail: Mail, parsed: ParsedMail, facts: ConnectionFacts) -> Outcome:
        """One ``BAYES_`` symbol with points within the model's cap, and the words that made it."""
        del facts
        started = time.perf_counter()
        try:
            bundle = self._models.current()
        except BundleError:
            return Outcome(check=self.name, status=Status.ERROR, error="no_model")
        raw = _bytes_of(mail)
        score = bundle.score(parsed, raw, self._words)
        points = bundle.points(score)
        return Outcome(
            check=self.name,
            status=Status.HIT,
            symbols=(_symbol(score, points),),
            elapsed_ms=round((time.perf_counter() - started) * 1000, 3),
            content=ContentFinding(
                probability=score.probability,
                known_share=score.known_share,
                model_id=bundle.model_id,
                words=tuple(WordReason(word=w.word, weight=w.weight) for w in score.words),
                shadow=_watched(self._shadow(), parsed, raw),
                lesson=None if score.whole is None else partial(_lesson, score.whole, parsed, mail),
            ),
        )


def _symbol(score: ContentScore, points: float) -> Symbol:
    name = "BAYES_SPAM" if points > 0 else "BAYES_HAM" if points < 0 else "BAYES_UNSURE"
    detail = write_details(p=f"{score.probability:.2f}", known=f"{score.known_share:.2f}")
    return Symbol(name=name, detail=detail, points=points)


def _lesson(whole: Features, parsed: ParsedMail, mail: Mail) -> Lesson:
    return Lesson(
        feature_spec=FEATURE_SPEC,
        hashes=whole.to_bytes(),
        fingerprint=fingerprint_of(parsed).to_bytes(),
        arrived_at_ms=mail.received_at_ms,
    )


def _watched(bundle: Bundle | None, parsed: ParsedMail, raw: bytes) -> ShadowFinding | None:
    if bundle is None:
        return None
    score = bundle.score(parsed, raw)
    return ShadowFinding(
        probability=score.probability, known_share=score.known_share, model_id=bundle.model_id
    )


def _bytes_of(mail: Mail) -> bytes:
    if isinstance(mail.content, mmap.mmap):
        head, size = mail.content[:_RAW_HEAD_BYTES], mail.size_bytes
        return head + mail.content[max(_RAW_HEAD_BYTES, size - _RAW_TAIL_BYTES) : size]
    return mail.content
