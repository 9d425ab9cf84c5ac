"""The truth of the naive Bayes: in how many messages of each class a feature occurred.

Integers add, subtract and merge exactly: counts of several machines, months or customers are summed
to the same numbers as one run over all their mail gives, and a label can be taken back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.arrays import ArrayFileError, read_array, write_array
from models.features import FEATURE_SPEC, LEXICAL, Features

CountArray = npt.NDArray[np.int32]

_FILE_COLUMNS: Final = 3


class Counts:
    """Messages and features counted per class."""

    __slots__ = ("ham", "ham_messages", "spam", "spam_messages")

    def __init__(
        self,
        ham: CountArray | None = None,
        spam: CountArray | None = None,
        *,
        ham_messages: int = 0,
        spam_messages: int = 0,
    ) -> None:
        self.ham = np.zeros(LEXICAL, np.int32) if ham is None else ham
        self.spam = np.zeros(LEXICAL, np.int32) if spam is None else spam
        self.ham_messages = ham_messages
        self.spam_messages = spam_messages

    def add(self, features: Features, *, is_spam: bool) -> None:
        """Count one message."""
        if is_spam:
            self.spam[features.lexical] += 1
            self.spam_messages += 1
        else:
            self.ham[features.lexical] += 1
            self.ham_messages += 1

    def subtract(self, features: Features, *, is_spam: bool) -> None:
        """Take back one message that was counted before.

        Raises ValueError, and changes nothing, if it can't have been counted.
        """
        lexical = features.lexical
        counts = self.spam if is_spam else self.ham
        messages = self.spam_messages if is_spam else self.ham_messages
        if messages < 1 or np.any(counts[lexical] < 1):
            raise ValueError("this message was not counted in this class")
        counts[lexical] -= 1
        if is_spam:
            self.spam_messages -= 1
        else:
            self.ham_messages -= 1

    def merge(self, other: Counts) -> None:
        """Add the counts of another machine, month or customer."""
        self.ham += other.ham
        self.spam += other.spam
        self.ham_messages += other.ham_messages
        self.spam_messages += other.spam_messages

    def copy(self) -> Counts:
        """Return counts of their own memory."""
        return Counts(
            self.ham.copy(),
            self.spam.copy(),
            ham_messages=self.ham_messages,
            spam_messages=self.spam_messages,
        )

    def thinned(self, divisor: int) -> Counts:
        """Return these counts with a fraction of their weight; what was met once stays met.

        Every count and both message numbers are divided and rounded up.
        """
        return Counts(
            -(-self.ham // divisor),
            -(-self.spam // divisor),
            ham_messages=-(-self.ham_messages // divisor),
            spam_messages=-(-self.spam_messages // divisor),
        )

    def filled_share(self) -> float:
        """Return the share of all lexical numbers that were met at all, 0 to 1."""
        return int(np.count_nonzero(self.ham | self.spam)) / LEXICAL

    def sparse(self) -> npt.NDArray[np.uint32]:
        """Return the features met at all with both counts: three columns, sorted by feature."""
        met = np.flatnonzero(self.ham + self.spam)
        columns = (met, self.ham[met], self.spam[met])
        return np.column_stack([column.astype(np.uint32) for column in columns])

    def canonical(self) -> Iterator[bytes]:
        """Yield the bytes that stand for these counts in a digest, on every machine the same."""
        yield f"counts {FEATURE_SPEC} {self.ham_messages} {self.spam_messages}\n".encode()
        yield self.sparse().astype("<u4").tobytes()

    def digest(self) -> str:
        """Return the SHA-256 of these counts."""
        sha = hashlib.sha256()
        for piece in self.canonical():
            sha.update(piece)
        return sha.hexdigest()

    def save(self, path: Path) -> None:
        """Write a slab: sparse counts with the message numbers in the first row."""
        head = np.array([[LEXICAL, self.ham_messages, self.spam_messages]], np.uint32)
        write_array(path, np.concatenate([head, self.sparse()]))

    @classmethod
    def load(cls, path: Path) -> Counts:
        """Read a slab. Raises ArrayFileError with plain words for anything else."""
        rows = read_array(path, dtype=np.uint32, columns=_FILE_COLUMNS)
        if not len(rows) or rows[0, 0] != LEXICAL:
            raise ArrayFileError(f"{path.name}: counts of another feature space")
        features, ham, spam = rows[1:].T
        in_order = bool(np.all(np.diff(features.astype(np.int64)) > 0))
        if not in_order or (len(features) and int(features[-1]) >= LEXICAL):
            raise ArrayFileError(f"{path.name}: features out of order or out of range")
        ham_messages, spam_messages = int(rows[0, 1]), int(rows[0, 2])
        if np.any(ham > ham_messages) or np.any(spam > spam_messages):
            raise ArrayFileError(f"{path.name}: a feature in more messages than were counted")
        counts = cls(ham_messages=ham_messages, spam_messages=spam_messages)
        counts.ham[features] = ham
        counts.spam[features] = spam
        return counts
