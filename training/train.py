"""From labelled features to a model: always in one order, so always the same model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.classifier import ScoreParameters
from models.features import Features
from training.online import OnlineFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A message to learn from, as its stored features; ``is_spam`` is what people said it is."""

    stored: bytes
    is_spam: bool

    def order(self, seed: int) -> bytes:
        """Return this example's place in training: random, yet the same whoever gathers it."""
        key = seed.to_bytes(8, "big") + bytes([self.is_spam])
        return hashlib.blake2b(self.stored, key=key, digest_size=16).digest()


def canonical_order(examples: Iterable[Example], seed: int) -> list[Example]:
    """Sort examples into the order of training, whatever order and machine they came from."""
    return sorted(examples, key=lambda example: (example.order(seed), example.stored))


def canonical_turns(examples: Sequence[Example], seed: int) -> npt.NDArray[np.int64]:
    """Return for each example when its turn comes in canonical order."""
    keys = [(example.order(seed), example.stored) for example in examples]
    turns = np.empty(len(keys), np.int64)
    turns[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return turns


def fit(
    examples: Iterable[Example],
    *,
    seed: int,
    parameters: ScoreParameters | None = None,
    epochs: int = 1,
    on_step: Callable[[], None] = lambda: None,
) -> OnlineFilter:
    """Train from nothing. The naive Bayes counts each example once, whatever ``epochs`` says.

    Further epochs let the second stage correct what is left of its errors.
    """
    ordered = canonical_order(examples, seed)
    learner = OnlineFilter(None, parameters)
    for epoch in range(epochs):
        _run_epoch(learner, ordered, count=epoch == 0, on_step=on_step)
    return learner


def fit_averaged(
    examples: Sequence[Example],
    *,
    seeds: Sequence[int],
    parameters: ScoreParameters | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> OnlineFilter:
    """Train from nothing in several orders; each weight is the mean of what it became in them.

    What one order taught by chance is averaged away. The counts are the same in every order.
    """
    learner = fit(examples, seed=seeds[0], parameters=parameters, on_step=on_step)
    weights = learner.second.weights.astype(np.int64)
    energy = learner.second.energy.astype(np.float64)
    for seed in seeds[1:]:
        other = fit(examples, seed=seed, parameters=parameters, on_step=on_step).second
        weights += other.weights
        energy += other.energy
    learner.second.weights[:] = np.rint(weights / len(seeds)).astype(np.int32)
    learner.second.energy[:] = (energy / len(seeds)).astype(np.float32)
    return learner


def _run_epoch(
    learner: OnlineFilter, ordered: Sequence[Example], *, count: bool, on_step: Callable[[], None]
) -> None:
    for example in ordered:
        features = Features.from_bytes(example.stored)
        if count:
            learner.learn(features, is_spam=example.is_spam)
        else:
            learner.refine(features, is_spam=example.is_spam)
        on_step()
