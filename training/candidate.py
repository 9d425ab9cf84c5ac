"""From lessons to a candidate model that was judged.

The earlier mail is learned and the latest held out for the gate; then the same learner goes on and
learns that, too. Campaigns count once a day and never stand on both sides of a cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gateway.locale import N_, Translator
from models.bundle import Bundle
from models.calibration import SITE_CAP, Calibration
from models.features import Features
from models.manifest import Manifest
from training.cli_model import GATE
from training.cli_train_gate import MIN_HELD_OUT, GateResult, judge
from training.gate_voices import (
    OWN_SET,
    SHIPPED_SET,
    VoiceFinding,
    Voices,
    examine,
    fixed_set_sentences,
    sentences,
)
from training.lessons import Lessons, set_apart
from training.measures import FloatArray
from training.online import OnlineFilter
from training.split import IntArray, Split, once_a_day, order_by_time, split_by_time
from training.train import Example
from training.trainer import SEED, Trainer

_HELD_OUT_SHARES = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
_FOREIGN_SPAM_POINTS = 10.0
"""Percentage points of the shipped set's spam that a site's model may miss beyond the serving one.

The baseline has learned mail of that very kind, and calls spam what a site's model is unsure of.
"""
_CALLED_SPAM = 0.5
_TOO_NEW = N_(
    "too little ham or spam came after what the serving model learned; label or import later mail, "
    "or let an earlier model serve first: schwamm model rollback"
)
_TOO_LITTLE = N_(
    "too little labelled mail: ham and spam are needed, about 200 of each and both among "
    "the latest; see schwamm quarantine label and schwamm corpus import"
)
LEARNED_UNTIL = "learned_until"
"""The metric of a site model that tells when the last mail it learned came (seconds, UTC)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A held-out ham that only the candidate calls spam: a loss, or a label given by mistake.

    ``name`` is the id of the mail or the digest of an imported one, ``person`` who labelled it.
    """

    name: str
    person: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model ready to be published, and what the gate says about it.

    ``fixed_set`` is how many messages of this site were kept apart for good, ``shipped_set`` how
    many came with the baseline; ``voices`` is what the labels of single people do.
    """

    bundle: Bundle
    gate: GateResult
    learned: int
    held_out: int
    fixed_set: int
    shipped_set: int
    voices: tuple[VoiceFinding, ...]
    suspects: tuple[Suspect, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Positions of the mail by its use, in order of time; ``latest`` is the time of the last."""

    learned: IntArray
    test: IntArray
    latest: float


def train_candidate(
    lessons: Lessons,
    live: Bundle | None,
    start: Bundle | None,
    *,
    shipped: Sequence[Example] = (),
    on_step: Callable[[], None] = lambda: None,
    say: Translator = str,
    seed: int = SEED,
) -> Candidate:
    """Train, calibrate, judge. ``start`` is the model to begin with, None for nothing.

    ``shipped`` is the fixed set that lies beside the baseline; this site's own comes on top.
    ``seed`` chooses the order of training; a site's is always the same.

    Raises NothingToMeasure or ValueError when ham or spam is missing in a part.
    """
    site, fixed_set, groups = set_apart(lessons.in_canonical_order())
    trainer = Trainer(site, groups, start, on_step, seed)
    found = examine(
        Voices(
            names=site.voices,
            is_spam=trainer.labels,
            groups=trainer.groups,
            times=site.times,
            trusted=frozenset(site.trusted),
        ),
        trainer.calibrated,
    )
    reasons = sentences(found, say)
    try:
        judged = _judged(trainer, live, say)
    except ValueError as error:
        # One person's labels may be all there is of the last days: then that is the reason.
        raise ValueError("; ".join([say(str(error)), *reasons])) from error
    final, calibration = judged.learner, judged.calibration
    trainer.go_on(final, judged.parts.learned)
    if live is not None:
        for examples, sentence, allowance in (
            (fixed_set.examples, OWN_SET, 0.0),
            (shipped, SHIPPED_SET, _FOREIGN_SPAM_POINTS),
        ):
            reasons += fixed_set_sentences(
                np.array([example.is_spam for example in examples], np.bool_),
                _scored(final, calibration, examples),
                _served(live, examples),
                say(sentence),
                say,
                threshold=_CALLED_SPAM,
                spam_allowance=allowance,
            )
    gate = replace(judged.gate, reasons=(*judged.gate.reasons, *reasons))
    return Candidate(
        bundle=final.publishable(_manifest(calibration, gate, judged.parts.latest)),
        gate=gate,
        learned=len(judged.parts.learned),
        held_out=len(judged.parts.test),
        fixed_set=len(fixed_set),
        shipped_set=len(shipped),
        voices=tuple(found),
        suspects=judged.suspects,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A learner of the earlier mail, and what became of it on the latest."""

    parts: Parts
    learner: OnlineFilter
    calibration: Calibration
    gate: GateResult
    suspects: tuple[Suspect, ...]


def _judged(trainer: Trainer, live: Bundle | None, say: Translator) -> _Judged:
    """Learn and calibrate on the earlier mail, compare on the latest."""
    learned_until = None if live is None else live.metrics.get(LEARNED_UNTIL)
    parts = _cut(trainer, learned_until)
    labels = trainer.labels
    if not 0 < labels[parts.test].sum() < len(parts.test):
        raise ValueError(_TOO_LITTLE if learned_until is None else _TOO_NEW)
    fit = trainer.fitted(parts.learned)
    calibration = trainer.calibration(fit)
    tested = trainer.lessons.chosen(parts.test)
    probability = _probabilities(trainer.log_odds(fit.learner, parts.test), calibration)
    gate = judge(
        labels[parts.test],
        probability,
        None if live is None else _served(live, tested.examples),
        say,
        threshold=_CALLED_SPAM,
    )
    suspects = tuple(
        Suspect(name=tested.names[at], person=tested.voices[at], probability=probability[at])
        for at in gate.newly_caught
    )
    return _Judged(
        parts=parts,
        learner=fit.learner,
        calibration=calibration,
        gate=gate,
        suspects=suspects,
    )


def _cut(trainer: Trainer, learned_until: float | None) -> Parts:
    times = trainer.lessons.times
    split = _split(trainer, learned_until)
    order, filled = order_by_time(times)
    return Parts(
        learned=order[np.isin(order, split.train)],
        test=split.test,
        latest=float(filled.max(initial=0.0)),
    )


def _split(trainer: Trainer, learned_until: float | None) -> Split:
    """Hold out the latest quarter; more, up to half, where one kind came seldom.

    Of a campaign one message a day judges: a flood is one proof, not a hundred.
    """
    for share in _HELD_OUT_SHARES:
        split = split_by_time(
            trainer.lessons.times,
            trainer.groups,
            test_share=share,
            learned_until=learned_until,
        )
        test = once_a_day(split.test, trainer.lessons.times, trainer.groups, trainer.labels)
        spam = int(trainer.labels[test].sum())
        if min(spam, len(test) - spam) >= MIN_HELD_OUT:
            break
    return replace(split, test=test)


def _scored(
    final: OnlineFilter, calibration: Calibration, examples: Sequence[Example]
) -> FloatArray:
    stored = (Features.from_bytes(example.stored) for example in examples)
    return _probabilities(np.array([final.log_odds(one) for one in stored]), calibration)


def _probabilities(log_odds: FloatArray, calibration: Calibration) -> FloatArray:
    return np.array([calibration.probability(float(one)) for one in log_odds])


def _served(live: Bundle, examples: Sequence[Example]) -> FloatArray:
    stored = (example.stored for example in examples)
    return np.array([live.score_features(Features.from_bytes(one)).probability for one in stored])


def _manifest(calibration: Calibration, gate: GateResult, latest: float) -> Manifest:
    metrics = {
        f"held_out_{name}": round(value, 4) for name, value in gate.candidate.as_dict().items()
    }
    return Manifest(
        origin="site",
        ham_messages=0,
        spam_messages=0,
        points_cap=SITE_CAP,
        calibration=calibration,
        metrics={**metrics, GATE: float(gate.passed), LEARNED_UNTIL: latest},
    )
