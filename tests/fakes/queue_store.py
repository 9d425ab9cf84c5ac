"""A queue store in memory, with the leases and fencing of the real one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.core.queueing import Claim, StoredMessage
from gateway.core.record import Copy, CopyState, Event, MessageFacts, What
from gateway.core.routing import NextHop

WAITING = (CopyState.QUEUED, CopyState.RELEASED)


@dataclass
class Row:
    """One copy as the index has it."""

    mail_id: str
    recipient: str
    domain: str
    state: CopyState
    since_ms: int
    next_attempt_ms: int
    next_hop: NextHop | None = None
    attempts: int = 0
    owner: str = ""
    lease_until_ms: int = 0
    fence: int = 0


class MemoryQueueStore:
    """Rows, records and the events that were brought in, for a test to look at."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.records: dict[str, StoredMessage] = {}
        self.finished: list[Event] = []
        self.held = False
        self.broken: Exception | None = None
        self.claimed_without: list[set[str]] = []
        self.journal: Sequence[Event] = ()  # what reports are known from, beside the next
        self.kept: Collection[str] = ()

    def add(self, facts: MessageFacts, content: bytes, now_ms: int) -> None:
        """A record whose copies wait."""
        self.records[facts.id] = StoredMessage(facts=facts, content=content)
        for copy in facts.copies:
            if copy.state in WAITING:
                self._add_row(facts.id, copy, now_ms)

    def _add_row(self, mail_id: str, copy: Copy, now_ms: int) -> None:
        self.rows[mail_id, copy.recipient] = Row(
            mail_id=mail_id,
            recipient=copy.recipient,
            domain=copy.domain,
            state=copy.state,
            since_ms=now_ms,
            next_attempt_ms=now_ms,
            next_hop=copy.next_hop,
        )

    async def claim(
        self, *, owner: str, now_ms: int, lease_ms: int, limit: int, without: Collection[str]
    ) -> list[Claim]:
        if self.broken is not None:
            raise self.broken
        self.claimed_without.append(set(without))
        due = [
            row
            for row in self.rows.values()
            if row.state in WAITING
            and row.next_attempt_ms <= now_ms
            and row.lease_until_ms <= now_ms
            and row.domain not in without
            and not self.held
        ]
        due.sort(key=lambda row: row.next_attempt_ms)
        claims = []
        for row in due[:limit]:
            row.owner, row.lease_until_ms, row.fence = owner, now_ms + lease_ms, row.fence + 1
            claims.append(
                Claim(
                    mail_id=row.mail_id,
                    recipient=row.recipient,
                    domain=row.domain,
                    state=row.state,
                    attempts=row.attempts,
                    since_ms=row.since_ms,
                    lease_until_ms=row.lease_until_ms,
                    fence=row.fence,
                    next_hop=row.next_hop,
                )
            )
        return claims

    async def extend(self, claim: Claim, until_ms: int) -> bool:
        row = self.rows[claim.mail_id, claim.recipient]
        if row.fence != claim.fence or not row.owner:
            return False
        row.lease_until_ms = until_ms
        return True

    async def finish(self, claim: Claim, event: Event) -> bool:
        self.finished.append(event)
        row = self.rows[claim.mail_id, claim.recipient]
        row.state = CopyState(str(event.detail["state"]))
        attempts, next_ms = event.detail["attempts"], event.detail.get("next_attempt_at_ms")
        assert isinstance(attempts, int)
        row.attempts = attempts
        if isinstance(next_ms, int):
            row.next_attempt_ms = next_ms
        if row.fence != claim.fence or not row.owner:
            return False
        row.owner, row.lease_until_ms = "", 0
        return True

    async def load(self, mail_id: str) -> StoredMessage | None:
        return self.records.get(mail_id)

    async def delay_reports(self, mail_id: str) -> Mapping[str, str]:
        noted: dict[str, str] = {}
        for event in self.journal:
            if (event.what, event.mail_id) == (What.REPORT, mail_id):
                noted.setdefault(event.recipient, str(event.detail["report"]))
        return noted

    async def knows(self, mail_id: str) -> bool:
        named = {event.mail_id for event in self.journal if event.what == What.MESSAGE}
        return mail_id in named or mail_id in self.records or mail_id in self.kept

    async def make_due(self, domains: Collection[str], now_ms: int) -> int:
        later = [
            row
            for row in self.rows.values()
            if row.domain in domains and row.state in WAITING and row.next_attempt_ms > now_ms
        ]
        for row in later:
            row.next_attempt_ms = now_ms
        return len(later)

    async def next_due_ms(self) -> int | None:
        waiting = [
            max(row.next_attempt_ms, row.lease_until_ms)
            for row in self.rows.values()
            if row.state in WAITING and not self.held
        ]
        return min(waiting, default=None)

    async def waiting_domains(self) -> list[str]:
        return sorted({row.domain for row in self.rows.values() if row.state in WAITING})

    def states(self) -> dict[str, str]:
        """Where each copy is, by recipient."""
        return {row.recipient: row.state.value for row in self.rows.values()}


def queued(facts: MessageFacts, state: CopyState = CopyState.QUEUED) -> MessageFacts:
    """The same message with all copies waiting."""
    return replace(facts, copies=tuple(replace(copy, state=state) for copy in facts.copies))
