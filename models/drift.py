"""Does the mail still look like the mail the model knows? Facts per day, findings with a step.

Three signs, all cheap to keep: the distribution of scores (population stability index, as used in
credit scoring), the share of features the model has never met, and how often people disagree with
its verdicts. Pure functions, for the gateway's ``doctor`` and for training: who keeps the facts and
who shows the findings is elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

SCORE_BINS = 10
_DAY_MS = 86_400_000
_MIN_MESSAGES = 200
_MIN_LABELS = 30
_STABILITY_LIMIT = 0.25
_UNKNOWN_LIMIT = 1.5
_DISAGREEMENT_LIMIT = 0.02
_Z_95 = 1.959963984540054
RECENT_DAYS = 3
EARLIER_DAYS = 28


class DriftCode(StrEnum):
    """What a finding is about; texts for people are made from code and parameters."""

    SCORES_SHIFTED = "scores-shifted"
    MORE_UNKNOWN = "more-unknown"
    MORE_DISAGREEMENT = "more-disagreement"
    TOO_LITTLE_MAIL = "too-little-mail"


class Step(StrEnum):
    """What to do about it."""

    RETRAIN = "retrain"
    REVIEW_LABELS = "review-labels"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One message as the live model saw it: when (UTC ms), how (0 to 1), how much it knew."""

    at_ms: int
    probability: float
    known_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One label of a person beside the verdict the message had got."""

    at_ms: int
    is_spam: bool
    was_called_spam: bool


@dataclass(slots=True, kw_only=True)
class DayFacts:
    """What is kept of a day; days add up, so a window is a sum. ``day`` counts from 1970."""

    day: int
    messages: int = 0
    unknown_share_sum: float = 0.0
    score_bins: list[int] = field(default_factory=lambda: [0] * SCORE_BINS)
    labels: int = 0
    disagreements: int = 0

    def add(self, other: DayFacts) -> None:
        """Add another day's (or machine's) facts to these."""
        self.messages += other.messages
        self.unknown_share_sum += other.unknown_share_sum
        self.score_bins = [a + b for a, b in zip(self.score_bins, other.score_bins, strict=True)]
        self.labels += other.labels
        self.disagreements += other.disagreements


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a person should know, as a code with parameters, and the step suggested."""

    code: DriftCode
    step: Step
    parameters: dict[str, float]


def facts_by_day(scored: Iterable[Scored], judged: Iterable[Judged]) -> list[DayFacts]:
    """Sum up messages and labels by UTC day, in order of days."""
    days: dict[int, DayFacts] = {}
    for message in scored:
        facts = days.setdefault(_day(message.at_ms), DayFacts(day=_day(message.at_ms)))
        facts.messages += 1
        facts.unknown_share_sum += 1.0 - message.known_share
        place = int(message.probability * SCORE_BINS)
        facts.score_bins[min(SCORE_BINS - 1, max(0, place))] += 1
    for label in judged:
        facts = days.setdefault(_day(label.at_ms), DayFacts(day=_day(label.at_ms)))
        facts.labels += 1
        facts.disagreements += label.is_spam is not label.was_called_spam
    return [days[day] for day in sorted(days)]


def window(days: Sequence[DayFacts], first_day: int, last_day: int) -> DayFacts:
    """Return the sum of the days from first to last, both included."""
    total = DayFacts(day=first_day)
    for facts in days:
        if first_day <= facts.day <= last_day:
            total.add(facts)
    return total


def stability_index(before: Sequence[int], now: Sequence[int]) -> float:
    """Return the population stability index of two histograms: 0 is alike, 0.25 is a shift.

    Sum of (p - q) ln(p / q) over the bins, with half a message added to each against empty bins.
    """
    first, second = _shares(before), _shares(now)
    return sum((p - q) * math.log(p / q) for p, q in zip(first, second, strict=True))


def findings(before: DayFacts, now: DayFacts) -> list[Finding]:
    """Compare a recent window with an earlier one (usually the weeks after a promotion)."""
    found: list[Finding] = []
    fewer = min(before.messages, now.messages)
    if fewer < _MIN_MESSAGES:
        parameters = {"messages": float(fewer), "needed": float(_MIN_MESSAGES)}
        found.append(Finding(code=DriftCode.TOO_LITTLE_MAIL, step=Step.WAIT, parameters=parameters))
    else:
        found += _shift(before, now)
        found += _unknown(before, now)
    return found + _disagreement(before, now)


def _shift(before: DayFacts, now: DayFacts) -> list[Finding]:
    index = stability_index(before.score_bins, now.score_bins)
    if index < _STABILITY_LIMIT:
        return []
    return [
        Finding(
            code=DriftCode.SCORES_SHIFTED,
            step=Step.REVIEW_LABELS,
            parameters={"index": round(index, 3)},
        )
    ]


def _unknown(before: DayFacts, now: DayFacts) -> list[Finding]:
    earlier = before.unknown_share_sum / before.messages
    later = now.unknown_share_sum / now.messages
    # A small share may grow by half through a single mailing: two points are the least.
    if later < earlier * _UNKNOWN_LIMIT or later - earlier < 0.02:
        return []
    parameters = {"before": round(earlier, 4), "now": round(later, 4)}
    return [Finding(code=DriftCode.MORE_UNKNOWN, step=Step.RETRAIN, parameters=parameters)]


def _disagreement(before: DayFacts, now: DayFacts) -> list[Finding]:
    if now.labels < _MIN_LABELS:
        return []
    earlier = before.disagreements / before.labels if before.labels else 0.0
    later = now.disagreements / now.labels
    surely = _at_least(later, now.labels)
    if surely <= earlier + _DISAGREEMENT_LIMIT:
        return []
    parameters = {"before": round(earlier, 4), "now": round(later, 4), "labels": float(now.labels)}
    return [Finding(code=DriftCode.MORE_DISAGREEMENT, step=Step.RETRAIN, parameters=parameters)]


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / total for count in counts]


def _at_least(rate: float, total: int) -> float:
    """Return the lower end of E. B. Wilson's 95% score interval (1927) for a proportion."""
    z2 = _Z_95 * _Z_95
    middle = rate + z2 / (2.0 * total)
    spread = _Z_95 * math.sqrt(rate * (1.0 - rate) / total + z2 / (4.0 * total * total))
    return max(0.0, (middle - spread) / (1.0 + z2 / total))


def _day(at_ms: int) -> int:
    return at_ms // _DAY_MS
