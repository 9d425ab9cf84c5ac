"""Which messages to learn from and which to test on: by time, campaigns kept whole.

The time of a message is the one our own side wrote, its top ``Received`` field (RFC 5321
section 4.4); the ``Date`` field is the sender's word and only the second choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

import numpy as np
import numpy.typing as npt

from models.message import ParsedMail, scan

_MAX_DATE_CHARS = 100
_EARLIEST = 315532800.0  # 1980: before Internet mail nothing was received
LATEST = 4102444800.0
"""The year 2100: a later time comes from a liar or a broken clock."""
_DAY_SECONDS = 86400.0

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Positions in the stream to learn from and to test on; no campaign is in both."""

    train: IntArray
    test: IntArray


def arrival_time(mail: ParsedMail) -> float | None:
    """Return when a message arrived, in seconds since 1970, or None if it does not say."""
    received = mail.header("received")
    if received is not None:
        _, semicolon, stamp = received.text.rpartition(";")
        if semicolon and (seconds := _seconds(stamp)) is not None:
            return seconds
    date = mail.header("date")
    return None if date is None else _seconds(date.text)


def arrival_time_of(raw: bytes) -> float | None:
    """Return ``arrival_time`` of a message given as bytes."""
    return arrival_time(scan(raw))


def not_after(times: Sequence[float | None], latest: float) -> list[float | None]:
    """Return the times without those after ``latest``, which a liar or a broken clock wrote.

    Taken at its word, one mail dated 2099 would make every later one old: no model could be
    judged any more on what came after all that the serving one has learned.
    """
    return [None if time is None or time > latest else time for time in times]


def order_by_time(times: Sequence[float | None]) -> tuple[IntArray, FloatArray]:
    """Return the stream's positions by time of arrival, and a time for each position.

    A message without a time is placed with the one before it in the stream.
    """
    known = np.array([np.nan if seconds is None else seconds for seconds in times], np.float64)
    if np.isnan(known).all():
        return np.arange(len(known)), np.zeros(len(known))
    positions = np.where(np.isnan(known), -1, np.arange(len(known)))
    latest = np.maximum.accumulate(positions) if len(known) else positions
    latest[latest < 0] = int(np.flatnonzero(positions >= 0)[0])
    filled = known[latest]
    return np.argsort(filled, kind="stable"), filled


def split_by_time(
    times: Sequence[float | None],
    campaign: IntArray,
    *,
    test_share: float = 0.5,
    learned_until: float | None = None,
) -> Split:
    """Train on what came first, test on the rest.

    Nothing up to ``learned_until`` is tested on: a model that will be compared has learned it.

    A campaign that reaches over the cut is trained on with its early part; its late copies are
    left out of the test, or they would only measure memory. Campaigns come from ``dedup``.
    """
    if not 0.0 < test_share < 1.0:
        raise ValueError("the share for the test lies between 0 and 1")
    order, filled = order_by_time(times)
    cut = len(order) - round(len(order) * test_share)
    if learned_until is not None:
        cut = max(cut, int(np.searchsorted(filled[order], learned_until, side="right")))
    train, test = order[:cut], order[cut:]
    fresh = ~np.isin(campaign[test], campaign[train])
    return Split(train=np.sort(train), test=np.sort(test[fresh]))


def once_a_day(
    positions: IntArray,
    times: Sequence[float | None],
    campaign: IntArray,
    is_spam: BoolArray,
) -> IntArray:
    """Keep of each campaign one message a day and label: a flood is one lesson, not thousands."""
    _, filled = order_by_time(times)
    days = np.floor(filled / _DAY_SECONDS).astype(np.int64)
    keys = np.stack([campaign[positions], days[positions], is_spam[positions].astype(np.int64)])
    _, first = np.unique(keys, axis=1, return_index=True)
    return np.sort(positions[first])


def _seconds(stamp: str) -> float | None:
    """Read a date of RFC 5322 section 3.3, also the obsolete and slightly broken forms."""
    try:
        parts = parsedate_tz(stamp.strip()[:_MAX_DATE_CHARS])
        seconds = None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return seconds if seconds is not None and _EARLIEST <= seconds <= LATEST else None
