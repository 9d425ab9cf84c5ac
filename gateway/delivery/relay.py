"""Hands copies to their next hops: inside the client's session, and for the queue the same way."""

import asyncio
import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.core.clock import Clock
from gateway.core.handoff import CopyReply, Phase
from gateway.core.mail import DsnRequest
from gateway.core.record import Copy, CopyState, MessageFacts
from gateway.core.routing import Generation, NextHop, NextHopKind
from gateway.core.verdict import Action
from gateway.delivery.marks import RELEASE_VALID_MS, Marks
from gateway.delivery.outgoing import Dressing, Outgoing, outgoing
from gateway.net.nexthop import HandOff, Recipient, Transaction

_RELEASED_STATES: Final = frozenset({CopyState.RELEASED})


class Connections(Protocol):
    """Next hops that speak SMTP or LMTP (gateway.net.pool)."""

    def fails_at_once(self, hop: NextHop) -> bool:
        """Whether a hand-off now would not even ask the next hop."""

    async def hand_off(self, hop: NextHop, transaction: Transaction) -> HandOff:
        """Give one message to one next hop; every recipient gets a reply value."""


class Maildirs(Protocol):
    """Next hops that are directories (gateway.net.maildir)."""

    async def hand_off(
        self, hop: NextHop, mail_id: str, transaction: Transaction
    ) -> tuple[CopyReply, ...]:
        """One file per recipient; every recipient gets a reply value."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Copies that share next hops and dressing, hence bytes and transactions."""

    hops: tuple[NextHop, ...]
    dressing: Dressing
    only: str  # a released copy's recipient: its mark makes its bytes its own


class Relay:
    """Hands a message's copies over; what fails is a value, never an exception.

    Copies for the same next hops with the same bytes share a transaction; different next hops are
    served side by side. The next hops of a domain are tried in their order: one that is known to be
    down, or that turns out to be unreachable before it has anything of the message, is passed over
    for the one after it.
    """

    def __init__(
        self,
        *,
        connections: Connections,
        maildirs: Maildirs,
        generation: Callable[[], Generation],
        marks: Marks,
        hostname: str,
        clock: Clock,
    ) -> None:
        self._connections = connections
        self._maildirs = maildirs
        self._generation = generation
        self._marks = marks
        self._hostname = hostname
        self._clock = clock

    async def hand_off(
        self, facts: MessageFacts, content: bytes | mmap.mmap, copies: Sequence[Copy]
    ) -> Mapping[str, CopyReply]:
        """Try each copy at its next hop; the replies are keyed by recipient."""
        groups = self._grouped(copies)
        if len(groups) == 1:  # nearly every message: no task for it
            ((group, members),) = groups.items()
            return await self._hand_off_group(facts, content, group, members)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._hand_off_group(facts, content, group, members))
                for group, members in groups.items()
            ]
        return {key: reply for task in running for key, reply in task.result().items()}

    def next_hops(self, copy: Copy) -> tuple[NextHop, ...]:
        """Where a copy goes now; a domain that is no longer served keeps what the record names."""
        domain = self._generation().domain(copy.domain)
        if domain is not None and domain.next_hops:
            return domain.next_hops
        return (copy.next_hop,) if copy.next_hop is not None else ()

    def _grouped(self, copies: Sequence[Copy]) -> dict[_Group, list[Copy]]:
        now_ms = self._clock.now_ms()
        groups: dict[_Group, list[Copy]] = {}
        for copy in copies:
            released = copy.state in _RELEASED_STATES
            domain = self._generation().domain(copy.domain)
            dressing = Dressing(
                tagged=copy.action is Action.TAG and not released,
                subject_tag=domain.subject_tag if domain is not None else "",
                released_until_ms=now_ms + RELEASE_VALID_MS if released else None,
            )
            group = _Group(self.next_hops(copy), dressing, copy.recipient if released else "")
            groups.setdefault(group, []).append(copy)
        return groups

    async def _hand_off_group(
        self,
        facts: MessageFacts,
        content: bytes | mmap.mmap,
        group: _Group,
        copies: Sequence[Copy],
    ) -> dict[str, CopyReply]:
        if not group.hops:
            return {copy.recipient: _nowhere(copy) for copy in copies}
        bytes_to_send = outgoing(
            facts,
            content,
            recipients=[copy.recipient for copy in copies],
            dressing=group.dressing,
            marks=self._marks,
            hostname=self._hostname,
        )
        transaction = _transaction(facts, copies, bytes_to_send)
        replies: tuple[CopyReply, ...] = ()
        for hop in self._in_order(group.hops):
            replies = await self._hand_off_to(hop, facts.id, transaction)
            if not _unreachable(replies):
                break
        return {reply.recipient: reply for reply in replies}

    def _in_order(self, hops: tuple[NextHop, ...]) -> tuple[NextHop, ...]:
        """By priority; when all are down the first still answers why."""
        usable = tuple(hop for hop in hops if not self._fails_at_once(hop))
        return usable or hops[:1]

    def _fails_at_once(self, hop: NextHop) -> bool:
        return hop.kind is not NextHopKind.MAILDIR and self._connections.fails_at_once(hop)

    async def _hand_off_to(
        self, hop: NextHop, mail_id: str, transaction: Transaction
    ) -> tuple[CopyReply, ...]:
        if hop.kind is NextHopKind.MAILDIR:
            return await self._maildirs.hand_off(hop, mail_id, transaction)
        return (await self._connections.hand_off(hop, transaction)).replies


def _transaction(facts: MessageFacts, copies: Sequence[Copy], content: Outgoing) -> Transaction:
    envelope = facts.envelope
    asked = {one.recipient: one for one in envelope.dsn}
    nothing = DsnRequest(recipient="")
    return Transaction(
        mail_from=envelope.mail_from,
        recipients=tuple(
            Recipient(
                key=one.recipient,
                rcpt_to=one.rcpt_to,
                notify=asked.get(one.recipient, nothing).notify,
                orcpt=asked.get(one.recipient, nothing).orcpt,
            )
            for one in copies
        ),
        content=content,
        smtputf8=envelope.smtputf8,
        body_8bit=envelope.body_8bit,
        ret=envelope.ret,
        envid=envelope.envid,
    )


def _unreachable(replies: Sequence[CopyReply]) -> bool:
    """Nobody got an answer and nobody can have the message: the next hop in line may have it."""
    theirs = [reply.phase for reply in replies if not reply.local]
    return bool(theirs) and set(theirs) == {Phase.BEFORE_DOT}


def _nowhere(copy: Copy) -> CopyReply:
    return CopyReply(
        recipient=copy.recipient,
        phase=Phase.BEFORE_DOT,
        text="no next hop is known for this domain",
    )
