"""Everything that training needs of labelled mail: features, not messages, and who said so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.features_batch import StoredFeatures
from models.message import scan
from training.dedup import Fingerprint, campaigns, fingerprint_of
from training.measures import BoolArray
from training.protocols import LabelledStream
from training.split import IntArray, arrival_time, order_by_time
from training.train import Example

IMPORTED = ""
"""The voice of mail that an administrator imported with its labels."""
OTHERS = "*"
"""In place of a name: everybody who is no administrator."""

_ONE_IN = 20
_ENOUGH_TO_SHARE = 1000
_AT_ONCE = 256


@dataclass(slots=True)
class Lessons:
    """Labelled mail in memory; each list has an entry for each message.

    ``times`` are seconds since 1970, None where a message does not say. ``voices`` are the people
    who labelled in the quarantine, `IMPORTED` for the archive. ``customers`` is whose mail it is,
    empty where nobody knows. ``names`` are what people find a message by: the id of a mail, the
    digest of an imported one, empty for one of another machine. ``trusted`` are those of the voices
    that labelled as administrators.
    """

    examples: list[Example] = field(default_factory=list)
    times: list[float | None] = field(default_factory=list)
    prints: list[Fingerprint] = field(default_factory=list)
    voices: list[str] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    trusted: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.examples)

    def labels(self) -> BoolArray:
        """Return the labels in order."""
        return np.array([example.is_spam for example in self.examples], dtype=np.bool_)

    def add(
        self,
        example: Example,
        time: float | None,
        prints: Fingerprint,
        *,
        voice: str = IMPORTED,
        customer: str = "",
        name: str = "",
    ) -> None:
        """Add a message."""
        self.examples.append(example)
        self.times.append(time)
        self.prints.append(prints)
        self.voices.append(voice)
        self.customers.append(customer)
        self.names.append(name)

    def extend(self, other: Lessons) -> None:
        """Add all of the others."""
        self.examples += other.examples
        self.times += other.times
        self.prints += other.prints
        self.voices += other.voices
        self.customers += other.customers
        self.names += other.names
        self.trusted |= other.trusted

    def chosen(self, positions: Sequence[int] | IntArray) -> Lessons:
        """Return the lessons at these positions."""
        places = [int(position) for position in positions]
        return Lessons(
            examples=[self.examples[place] for place in places],
            times=[self.times[place] for place in places],
            prints=[self.prints[place] for place in places],
            voices=[self.voices[place] for place in places],
            customers=[self.customers[place] for place in places],
            names=[self.names[place] for place in places],
            trusted=set(self.trusted),
        )

    def last_word(self) -> tuple[Lessons, int]:
        """Return each message once, with its last label, and how many had another before.

        A message is known by its time, features, fingerprint and customer.
        """
        places: dict[tuple[float | None, bytes, bytes, str], int] = {}
        changed = 0
        for place, (time, example, prints, customer) in enumerate(
            zip(self.times, self.examples, self.prints, self.customers, strict=True)
        ):
            key = (time, example.stored, prints.to_bytes(), customer)
            earlier = places.pop(key, place)
            changed += self.examples[earlier].is_spam is not example.is_spam
            places[key] = place
        return self.chosen(list(places.values())), changed

    def in_canonical_order(self) -> Lessons:
        """Return them by time, and then by content: the same, wherever they were gathered.

        A message without a time gets that of the one before it. What is the same in all of this
        is one message that was handed in twice, and counts once.
        """
        _, filled = order_by_time(self.times)
        keys = [
            (float(time), example.stored, example.is_spam, voice, customer, prints.to_bytes())
            for time, example, voice, customer, prints in zip(
                filled, self.examples, self.voices, self.customers, self.prints, strict=True
            )
        ]
        timed = replace(self, times=[float(time) for time in filled])
        places = {key: place for place, key in enumerate(keys)}
        return timed.chosen([places[key] for key in sorted(places)])


def gather(stream: LabelledStream, *, on_step: Callable[[], None] = lambda: None) -> Lessons:
    """Read imported mail once."""
    lessons, features = Lessons(), StoredFeatures()
    waiting: list[tuple[bool, float | None, Fingerprint, str]] = []

    def settle() -> None:
        for stored, (is_spam, time, prints, name) in zip(features.take(), waiting, strict=True):
            lessons.add(Example(stored=stored, is_spam=is_spam), time, prints, name=name)
        waiting.clear()

    for message, is_spam in stream:
        mail = scan(message.raw)
        features.add(mail, message.raw)
        waiting.append((is_spam, arrival_time(mail), fingerprint_of(mail), message.source))
        if len(waiting) == _AT_ONCE:
            settle()
        on_step()
    settle()
    return lessons


def set_apart(lessons: Lessons) -> tuple[Lessons, Lessons, IntArray]:
    """Split off the fixed set, that no model ever learns: (the rest, it, campaigns of the rest).

    It is one imported message in twenty, chosen by its content, so it is the same in each training
    and nobody but who imports mail has a say in it. Near-duplicates of it are left out of
    the rest. Of fewer than a thousand imported messages nothing is set apart: it would be too
    little to judge by, and too much to miss.
    """
    groups = campaigns(lessons.prints)
    imported = sum(voice == IMPORTED for voice in lessons.voices)
    if imported < _ENOUGH_TO_SHARE:
        return lessons, Lessons(), groups
    fixed = np.array(
        [
            voice == IMPORTED and _is_chosen(prints)
            for voice, prints in zip(lessons.voices, lessons.prints, strict=True)
        ]
    )
    rest = np.flatnonzero(~np.isin(groups, groups[fixed]))
    places = np.flatnonzero(fixed)
    _, once = np.unique(groups[places], return_index=True)
    return lessons.chosen(rest), lessons.chosen(places[np.sort(once)]), groups[rest]


def _is_chosen(prints: Fingerprint) -> bool:
    # One bin of the sketch: most copies of a campaign have it in common.
    number = int.from_bytes(prints.exact[:8]) if prints.exact else int(prints.sketch[0])
    return number % _ONE_IN == 0
