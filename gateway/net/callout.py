"""Asking a next hop whether a mailbox exists: MAIL from the null sender, RCPT, and no message.

Answers are kept: good ones for long, bad ones for a short time, because a mailbox that was made a
minute ago must not be refused for hours. A next hop that also takes a mailbox that cannot exist
takes everything: its answers tell nothing, and it is not asked again for a while.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from gateway.core.addresses import Address
from gateway.core.clock import Clock
from gateway.core.routing import NextHop
from gateway.net.smtp_client_protocol import WireReply

_KNOWN_S = 24 * 3600.0
_UNKNOWN_S = 600.0
_UNSURE_S = 30.0  # a next hop in trouble is not asked for the same mailbox by each client
_CATCH_ALL_S = 6 * 3600.0
_PATIENCE_S = 15.0  # the client waits as long
_ENTRIES = 50_000
_BURST = 20.0  # questions to one next hop, by one worker
_PER_S = 2.0
# No such mailbox, mailbox gone, or what Exchange Online says of either; a refusal of another kind
# (5.7.1: by policy) is not about the mailbox.
_ABOUT_MAILBOX = ("", "5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.1")


class Existence(Enum):
    """What is known of a mailbox."""

    KNOWN = auto()
    UNKNOWN = auto()
    UNSURE = auto()


class AsksRecipients(Protocol):
    """The connection pool, as seen from here."""

    def fails_at_once(self, hop: NextHop) -> bool:
        """Whether the next hop is down, and no attempt is due."""

    async def ask_recipients(
        self, hop: NextHop, addresses: Sequence[str]
    ) -> tuple[WireReply, ...] | None:
        """The replies to RCPT after MAIL from the null sender; None when there are none."""


@dataclass(slots=True)
class _Bucket:
    tokens: float = _BURST
    filled_s: float = field(default=0.0)


class Callout:
    """One worker's questions and what it learned by them."""

    def __init__(self, pool: AsksRecipients, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[tuple[NextHop, str], tuple[Existence, float]] = OrderedDict()
        self._catch_all: dict[tuple[NextHop, str], tuple[bool, float]] = {}
        self._buckets: dict[NextHop, _Bucket] = {}
        self._running: dict[tuple[NextHop, str], asyncio.Task[Existence]] = {}

    async def ask(self, hop: NextHop, address: Address) -> Existence:
        """Whether ``hop`` has the mailbox; clients that ask for the same one share the question."""
        if not address.local.isascii():  # a transaction of its own kind (RFC 6531); not worth it
            return Existence.UNSURE
        now_s = self._clock.monotonic_s()
        takes_all, until_s = self._catch_all.get((hop, address.domain), (False, 0.0))
        if takes_all and now_s < until_s:
            return Existence.KNOWN
        key = (hop, address.key)
        answer, until_s = self._known.get(key, (Existence.UNSURE, 0.0))
        if now_s < until_s:
            return answer
        running = self._running.get(key)
        if running is None:
            if self._pool.fails_at_once(hop) or not self._may_ask(hop, now_s):
                return Existence.UNSURE
            running = asyncio.create_task(self._find_out(hop, address))
            self._running[key] = running
            running.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(running)

    async def _find_out(self, hop: NextHop, address: Address) -> Existence:
        addresses = [address.spelling]
        _, until_s = self._catch_all.get((hop, address.domain), (False, 0.0))
        probe = self._clock.monotonic_s() >= until_s
        if probe:
            addresses.append(f"{secrets.token_hex(10)}@{address.domain}")
        try:
            async with asyncio.timeout(_PATIENCE_S):
                replies = await self._pool.ask_recipients(hop, addresses)
        except TimeoutError:
            replies = None
        found = _meaning(replies[0]) if replies else Existence.UNSURE
        if probe and replies and found is Existence.KNOWN:
            self._note_catch_all(hop, address.domain, taken=200 <= replies[-1].code < 300)
        self._note(hop, address, found)
        return found

    def _note(self, hop: NextHop, address: Address, found: Existence) -> None:
        kept_s = {Existence.KNOWN: _KNOWN_S, Existence.UNKNOWN: _UNKNOWN_S}.get(found, _UNSURE_S)
        self._known[hop, address.key] = (found, self._clock.monotonic_s() + kept_s)
        self._known.move_to_end((hop, address.key))
        while len(self._known) > _ENTRIES:
            self._known.popitem(last=False)

    def _note_catch_all(self, hop: NextHop, domain: str, *, taken: bool) -> None:
        if len(self._catch_all) >= _ENTRIES:
            self._catch_all.clear()
        self._catch_all[hop, domain] = (taken, self._clock.monotonic_s() + _CATCH_ALL_S)

    def _may_ask(self, hop: NextHop, now_s: float) -> bool:
        bucket = self._buckets.setdefault(hop, _Bucket(filled_s=now_s))
        bucket.tokens = min(_BURST, bucket.tokens + (now_s - bucket.filled_s) * _PER_S)
        bucket.filled_s = now_s
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _meaning(reply: WireReply) -> Existence:
    if 200 <= reply.code < 300:
        return Existence.KNOWN
    if reply.code >= 500 and reply.enhanced in _ABOUT_MAILBOX:
        return Existence.UNKNOWN
    return Existence.UNSURE
