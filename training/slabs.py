"""Counts in slabs: whose mail of which month it was, added up exactly on any machine.

A slab is the integer truth of one customer's labelled mail of one month. Slabs of several machines,
months or customers add up to the numbers that one run over all their mail gives, and leaving
a slab out forgets it without a trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.counts import Counts
from models.features import Features
from training.lessons import Lessons

Rows = npt.NDArray[np.uint32]
SlabKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slab:
    """One month (``2026-11``, by arrival in UTC) of one customer, empty where nobody knows whose.

    ``rows`` are the features met, each with its number of ham and of spam messages.
    """

    month: str
    customer: str
    ham_messages: int
    spam_messages: int
    rows: Rows

    @property
    def key(self) -> SlabKey:
        """What tells slabs apart, and orders them."""
        return (self.month, self.customer)


class SlabSource(Protocol):
    """Where slabs come from: a file of another machine, or one day a cluster's database."""

    def slabs(self) -> Iterator[Slab]:
        """All slabs, in any order; a key may come more than once."""


def month_of(time: float | None) -> str:
    """Return the month of an arrival; the first of all for mail that does not say."""
    return datetime.fromtimestamp(time or 0.0, UTC).strftime("%Y-%m")


def slab_keys(lessons: Lessons) -> list[SlabKey]:
    """Return for each lesson in which slab it is counted."""
    pairs = zip(lessons.times, lessons.customers, strict=True)
    return [(month_of(time), customer) for time, customer in pairs]


def slabs_of(lessons: Lessons) -> list[Slab]:
    """Count each message once in its slab, in order of keys."""
    places: dict[SlabKey, list[int]] = {}
    for place, key in enumerate(slab_keys(lessons)):
        places.setdefault(key, []).append(place)
    return [_slab(key, _counted(lessons, places[key])) for key in sorted(places)]


def merged(sources: Iterable[SlabSource]) -> list[Slab]:
    """Add up the slabs of all sources, in order of keys."""
    found: dict[SlabKey, list[Slab]] = {}
    for source in sources:
        for slab in source.slabs():
            found.setdefault(slab.key, []).append(slab)
    return [_slab(key, total(found[key])) for key in sorted(found)]


def total(slabs: Iterable[Slab]) -> Counts:
    """Return the sum of all slabs."""
    counts = Counts()
    for slab in slabs:
        features, ham, spam = slab.rows.T
        counts.ham[features] += ham.astype(np.int32)
        counts.spam[features] += spam.astype(np.int32)
        counts.ham_messages += slab.ham_messages
        counts.spam_messages += slab.spam_messages
    return counts


def _counted(lessons: Lessons, places: Iterable[int]) -> Counts:
    counts = Counts()
    for place in places:
        example = lessons.examples[place]
        counts.add(Features.from_checked(example.stored), is_spam=example.is_spam)
    return counts


def _slab(key: SlabKey, counts: Counts) -> Slab:
    return Slab(
        month=key[0],
        customer=key[1],
        ham_messages=counts.ham_messages,
        spam_messages=counts.spam_messages,
        rows=counts.sparse(),
    )
