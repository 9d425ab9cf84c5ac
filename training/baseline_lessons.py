"""What the shipped model is shown: mail of the sources, as it is and dressed in other ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.message import scan
from training.baseline_everyday import EverydayDresser
from training.baseline_modern import ModernDresser
from training.baseline_reports import DeliveryReporter
from training.baseline_sources import (
    Dresser,
    RecentDresser,
    SourceMessage,
    bare,
    split_header,
)

RECENT_SHARE: Final = 2
"""Every second older message is seen a second time in recent dress, every fourth German one.

Under a header of today's mail systems (`ModernDresser`) every message with a header is seen once
more, and every second German one. Every second message with a header is seen inside an everyday
letter (`EverydayDresser`).
"""
LETTERS: Final = 600
"""Letters of such sentences alone, shown as ham."""
REPORTS: Final = 300
"""Delivery reports that return ham, shown as ham."""
MAX_TEXT_CHARS: Final = 20_000


def lessons(
    english: Sequence[SourceMessage],
    recent: Sequence[SourceMessage],
    german: Sequence[SourceMessage],
    seed: int,
) -> list[tuple[str, bytes, bool]]:
    """Return what is learned from the three sources: the text's name, a message, spam or not."""
    raws = [(message.path, message.raw, message.is_spam) for message in (*english, *recent)]
    ham = [message.raw for message in english if not message.is_spam]
    in_old = Dresser(ham, seed)
    in_new = RecentDresser([message.raw for message in recent], seed)
    modern = ModernDresser(seed)
    for message in english[::RECENT_SHARE]:
        raw = in_new.dress(split_header(message.raw)[0], text_of(message.raw))
        raws.append((message.path, raw, message.is_spam))
    for message in (*english, *recent):
        raw = modern.dress(split_header(message.raw)[0], text_of(message.raw))
        raws.append((message.path, raw, message.is_spam))
    raws += everyday([*english, *recent], seed)
    for place, message in enumerate(german):
        raws.append((message.path, bare(message.raw), message.is_spam))
        raws.append((message.path, in_old.dress(message.raw), message.is_spam))
        if place % (2 * RECENT_SHARE) == 0:
            header = split_header(ham[place % len(ham)])[0]
            raws.append((message.path, in_new.dress(header, message.raw), message.is_spam))
        if place % RECENT_SHARE == 1:
            raws.append((message.path, modern.dress([], message.raw), message.is_spam))
    return raws


def text_of(raw: bytes) -> bytes:
    """Return the visible text of a message, as far as the dressers take it."""
    return scan(raw).text[:MAX_TEXT_CHARS].encode("utf-8", "replace")


def everyday(messages: Sequence[SourceMessage], seed: int) -> list[tuple[str, bytes, bool]]:
    """Return what the public corpora lack: messages in everyday letters, letters, reports."""
    dresser, reporter = EverydayDresser(seed), DeliveryReporter(seed)
    raws = []
    for message in messages[::RECENT_SHARE]:
        raw = dresser.dress(split_header(message.raw)[0], dresser.frame(text_of(message.raw)))
        raws.append((message.path, raw, message.is_spam))
    raws += [(f"letter {number}", dresser.letter(), False) for number in range(LETTERS)]
    ham = [message for message in messages if not message.is_spam]
    for number in range(REPORTS if ham else 0):
        returned = ham[number * 7 % len(ham)]
        raws.append((returned.path, reporter.report(returned.raw), False))
    return raws
