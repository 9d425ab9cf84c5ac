"""From outcomes to a score: weights per symbol, a cap per group; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.core.verdict import Outcome, ScoredSymbol, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Points of each symbol, the group each belongs to, and the most a group may add.

    A symbol without points weighs nothing and is shown; one without a group has no cap.
    """

    points: Mapping[str, float]
    groups: Mapping[str, str]
    caps: Mapping[str, float]


def score(outcomes: Iterable[Outcome], weights: Weights) -> tuple[float, tuple[ScoredSymbol, ...]]:
    """Sum the points of all symbols seen; a group's sum never exceeds its cap.

    Each symbol is given the points it really contributed, in the order of the checks, so that the
    parts always add up to the score. Negative points are not capped here: what vouches for a mail
    is bounded by its own weight. An ERROR or SKIP outcome adds nothing.
    """
    sums: dict[str, float] = {}
    scored: list[ScoredSymbol] = []
    for outcome in outcomes:
        if outcome.status in {Status.ERROR, Status.SKIP}:
            continue
        for symbol in outcome.symbols:
            wanted = weights.points.get(symbol.name, 0.0)
            points = symbol.points if symbol.points is not None else wanted
            group = weights.groups.get(symbol.name, "")
            if group and points > 0:
                cap = weights.caps.get(group, float("inf"))
                points = min(points, max(0.0, cap - sums.get(group, 0.0)))
                sums[group] = sums.get(group, 0.0) + points
            points = round(points, 3)
            scored.append(ScoredSymbol(name=symbol.name, points=points, detail=symbol.detail))
    return round(sum(symbol.points for symbol in scored), 3), tuple(scored)
