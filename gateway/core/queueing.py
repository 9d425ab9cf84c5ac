"""What the queue runner asks of its store: copies by lease, and the message they belong to.

``gateway.delivery.queue`` runs on this protocol, ``gateway.store`` implements it; neither imports
the other. A lease is three columns of the copy's row (owner, until, fencing number), taken with one
``UPDATE ... RETURNING``; no transaction stays open during a delivery (data model, section 1).
"""

import mmap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.core.record import CopyState, Event, MessageFacts
from gateway.core.routing import NextHop


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One copy that this process alone may deliver until ``lease_until_ms``.

    ``state`` is QUEUED or RELEASED. ``since_ms`` is when the copy entered that state: its time in
    the queue counts from there. ``fence`` grows with every claim of the copy, so that an owner that
    lost its lease cannot finish it.
    """

    mail_id: str
    recipient: str
    domain: str
    state: CopyState
    attempts: int
    since_ms: int
    lease_until_ms: int
    fence: int
    next_hop: NextHop | None = None  # as it stood when the client was answered


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A record's facts and its original bytes (mapped when large)."""

    facts: MessageFacts
    content: bytes | mmap.mmap


class QueueStore(Protocol):
    """The index seen as a queue, and the records behind it."""

    async def claim(
        self, *, owner: str, now_ms: int, lease_ms: int, limit: int, without: Collection[str]
    ) -> list[Claim]:
        """Take up to ``limit`` due copies, oldest due time first.

        Due means: state QUEUED or RELEASED, next attempt not after ``now_ms``, no live lease.
        ``without`` names recipient domains whose copies are not wanted now, so that one destination
        with ten thousand copies cannot fill the window. A queue on hold gives nothing.
        """

    async def extend(self, claim: Claim, until_ms: int) -> bool:
        """Prolong the lease; False when it is no longer ours (then the result must not count)."""

    async def finish(self, claim: Claim, event: Event) -> bool:
        """Bring the result of an attempt into the index and give the lease back.

        The result is already durable in the journal as ``event``. False when the lease was no
        longer ours; the event stands all the same, because the attempt was made.
        ``event.what`` is COPY; its detail has ``state``, ``reply``, ``attempts`` and, where they
        apply, ``next_attempt_at_ms``, ``hold_reason``, ``admin_only``, ``next_hop``.
        """

    async def load(self, mail_id: str) -> StoredMessage | None:
        """The record of a message, None when there is none (deleted meanwhile).

        Raises:
            RecordFormatError: a record that is torn or of a newer format.
        """

    async def delay_reports(self, mail_id: str) -> Mapping[str, str]:
        """The recipients of whose delay the sender is told, each with the report's id."""

    async def knows(self, mail_id: str) -> bool:
        """Whether there is, or was, a message of this id."""

    async def make_due(self, domains: Collection[str], now_ms: int) -> int:
        """Set the next attempt of all waiting copies of these domains to ``now_ms``; their number.

        Called when a next hop is back.
        """

    async def next_due_ms(self) -> int | None:
        """When the earliest waiting copy is due (the runner sleeps until then), None: none."""

    async def waiting_domains(self) -> list[str]:
        """Recipient domains that have waiting copies, to know which next hops are worth a probe."""
