"""The queue runner: copies that are ours are delivered, whatever it takes.

Runs in the keeper, for QUEUED and RELEASED alike. Every result is durable in the journal before the
index hears of it, so a keeper that is killed at any instruction repeats one attempt at worst.
"""

import asyncio
import mmap
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError, RecordFormatError, StorageError
from gateway.core.handoff import CopyReply
from gateway.core.queueing import Claim, QueueStore, StoredMessage
from gateway.core.record import Copy, Event, MessageFacts
from gateway.core.routing import Generation, NextHop
from gateway.delivery.queue_reports import Attempted, QueueReports, TellsSenders
from gateway.delivery.results import (
    Settling,
    all_without_answer,
    copy_event,
    recorded_copy,
    waits_until_ms,
)
from gateway.settings import DeliverySettings

_log = structlog.get_logger()

PER_DESTINATION: Final = 5  # deliveries at once to one recipient domain
IN_HAND: Final = (
    500  # copies claimed at once, over all destinations; their bytes are not loaded yet
)
CLAIM_LIMIT: Final = 20
LEASE_MS: Final = 120_000
POLL_S: Final = 5.0
PROBE_EVERY_S: Final = 1.0
JOURNAL_RETRY_S: Final = 5.0
JUMP_MS: Final = 60_000  # a clock that goes back so far was set, not slewed
_RETENTION_DAYS: Final = 14  # for a domain that is served no more


class HandsOff(Protocol):
    """Delivers copies (gateway.delivery.relay)."""

    async def hand_off(
        self, facts: MessageFacts, content: bytes | mmap.mmap, copies: Sequence[Copy]
    ) -> Mapping[str, CopyReply]:
        """Try each copy at its next hop; what fails is a value, keyed by recipient."""


class DurableJournal(Protocol):
    """This process's journal (gateway.store.journal)."""

    async def append_durable(self, events: Sequence[Event]) -> None:
        """Write lines and wait for the disk.

        Raises:
            StorageError: they may or may not survive.
        """


class Health(Protocol):
    """What is known of next hops (gateway.net.pool)."""

    def down_hops(self) -> Sequence[NextHop]:
        """Next hops whose last word was a failure."""

    async def probe(self, hop: NextHop) -> bool:
        """Find out whether one is back; its availability callback hears of it."""

    def expect_up(self, hop: NextHop) -> None:
        """Another process reached it: do not wait out the pause."""


@dataclass(slots=True)
class _Destination:
    """One recipient domain: units that wait for their turn, and how many are under way."""

    waiting: deque[list[Claim]] = field(default_factory=deque)
    active: int = 0


class Queue:
    """Claims due copies by lease and delivers them, a few at a time per destination.

    A destination that is slow or down delays no other: while it has units waiting here, no more of
    it is claimed. ``counts`` has ``attempts``, one entry per resulting copy state, ``uncertain``
    for answers lost after our final dot, and ``lost_leases``. ``owner`` names this runner in the
    leases and must differ between runners.
    """

    def __init__(  # noqa: PLR0913  each is a collaborator that a test replaces
        self,
        *,
        store: QueueStore,
        relay: HandsOff,
        journal: DurableJournal,
        health: Health,
        generation: Callable[[], Generation],
        settings: DeliverySettings,
        clock: Clock,
        owner: str,
        chance: Callable[[], float] = random.random,
        notices: TellsSenders | None = None,
    ) -> None:
        self._store = store
        self._reports: QueueReports | None = None
        if notices is not None:
            after_s = settings.delay_report_after_s
            self._reports = QueueReports(
                notices=notices, store=store, clock=clock, delay_after_s=after_s
            )
        self._relay = relay
        self._journal = journal
        self._health = health
        self._generation = generation
        self._settings = settings
        self._clock = clock
        self._owner = owner
        self._chance = chance
        self._destinations: dict[str, _Destination] = {}
        self._held: dict[tuple[str, str], Claim] = {}
        self._came_up: set[NextHop] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._ahead_ms = self._wall_ahead_ms()
        self.counts: Counter[str] = Counter()

    def wake(self) -> None:
        """Something new may be due: look now instead of at the next poll."""
        self._wake.set()

    def next_hop_changed(self, hop: NextHop, up: bool, reason: str) -> None:
        """The availability callback of the pool, also for what other processes report."""
        del reason
        if up:
            self._came_up.add(hop)
            self._health.expect_up(hop)
            self._wake.set()

    async def run(self) -> None:
        """Work until ``stop``; a store that fails is asked again at the next poll."""
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(self._keep_leases()), tasks.create_task(self._probe())]
            while not self._stopping:
                self._wake.clear()
                timeout_s = POLL_S
                try:
                    await self.start_due()
                    timeout_s = await self._pause_s()
                except GatewayError as error:
                    _log.warning("queue_store_failed", error=str(error))
                except Exception:  # noqa: BLE001  the job loop's border: the queue never stands still
                    _log.exception("queue_round_failed")
                try:
                    async with asyncio.timeout(timeout_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue
            await self.idle()  # what is under way keeps its leases until it has its result
            for task in background:
                task.cancel()

    def stop(self) -> None:
        """Start nothing more; ``run`` ends when what is under way has its result."""
        self._stopping = True
        self._wake.set()

    async def idle(self) -> None:
        """Wait until nothing is under way in this runner."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def abort(self) -> None:
        """Cut off what is under way; their leases run out and another attempt follows."""
        self.stop()
        for task in self._tasks:
            task.cancel()
        await self.idle()

    async def start_due(self) -> int:
        """Claim what is due and start as much as may run; how many copies were claimed.

        Raises:
            GatewayError: the store cannot be used.
        """
        await self._hurry_for_those_back()
        await self._hurry_after_a_jump_back()
        claimed = 0
        while not self._stopping and len(self._held) < IN_HAND:
            claims = await self._store.claim(
                owner=self._owner,
                now_ms=self._clock.now_ms(),
                lease_ms=LEASE_MS,
                limit=CLAIM_LIMIT,
                without=self._busy(),
            )
            claimed += len(claims)
            self._take(claims)
            if not claims:
                break
        return claimed

    async def _hurry_for_those_back(self) -> None:
        hops = frozenset(self._came_up)
        if not hops:
            return
        domains = [d.name for d in self._generation().domains if hops & set(d.next_hops)]
        if domains:
            number = await self._store.make_due(domains, self._clock.now_ms())
            _log.info("next_hop_back", next_hops=sorted(map(str, hops)), copies_due=number)
        self._came_up -= hops  # only now: a store that failed is asked again

    async def _hurry_after_a_jump_back(self) -> None:
        """What was due in minutes must not wait until a clock that was set back has caught up."""
        ahead_ms = self._wall_ahead_ms()
        if ahead_ms < self._ahead_ms - JUMP_MS:
            domains = await self._store.waiting_domains()
            number = await self._store.make_due(domains, self._clock.now_ms()) if domains else 0
            _log.warning("clock_went_back", by_ms=self._ahead_ms - ahead_ms, copies_due=number)
        self._ahead_ms = ahead_ms  # only now: a store that failed is asked again

    def _wall_ahead_ms(self) -> int:
        return self._clock.now_ms() - round(self._clock.monotonic_s() * 1000)

    def _busy(self) -> list[str]:
        return [
            name
            for name, known in self._destinations.items()
            if known.waiting or known.active >= PER_DESTINATION
        ]

    def _take(self, claims: Iterable[Claim]) -> None:
        units: dict[tuple[str, str, str], list[Claim]] = {}
        for claim in claims:
            key = (claim.mail_id, claim.recipient)
            under_way = key in self._held  # its lease ran out meanwhile: never a second attempt
            self._held[key] = claim
            if under_way:
                continue
            units.setdefault((claim.mail_id, claim.domain, claim.state), []).append(claim)
        for (_, domain, _), unit in units.items():
            self._destinations.setdefault(domain, _Destination()).waiting.append(unit)
        for domain in {domain for _, domain, _ in units}:
            self._start(domain)

    def _start(self, domain: str) -> None:
        known = self._destinations[domain]
        while known.waiting and known.active < PER_DESTINATION and not self._stopping:
            known.active += 1
            task = asyncio.create_task(self._work_off(domain, known.waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if not known.waiting and not known.active:
            del self._destinations[domain]

    async def _work_off(self, domain: str, unit: list[Claim]) -> None:
        try:
            await self._attempt(unit)
        except Exception:  # noqa: BLE001  the job loop's border: a bug in one message stops no other
            _log.exception("queue_attempt_failed", mail_id=unit[0].mail_id)
        finally:
            for claim in unit:
                self._held.pop((claim.mail_id, claim.recipient), None)
            known = self._destinations[domain]
            known.active -= 1
            self._start(domain)
            if not known.waiting:  # more of this destination may be claimed
                self._wake.set()

    async def _attempt(self, unit: Sequence[Claim]) -> None:
        made = await self._hand_off(unit)
        delays = None
        notes: list[Event] = []
        if self._reports is not None:
            made, notes = await self._reports.on_result(made)
            delays, more = await self._reports.delayed(made)
            notes += more
        await self._make_durable([*notes, *made.events])
        if self._reports is not None and delays is not None:
            written = await self._reports.write(delays)
            if written:
                await self._make_durable(written)
        for claim, event in zip(unit, made.events, strict=True):
            self._count(event)
            latest = self._held.get((claim.mail_id, claim.recipient), claim)
            if not await self._store.finish(latest, event):
                self.counts["lost_leases"] += 1

    async def _hand_off(self, unit: Sequence[Claim]) -> Attempted:
        try:
            stored = await self._store.load(unit[0].mail_id)
        except RecordFormatError as error:
            return self._settled(
                unit, None, self._without_record(unit, f"record cannot be read: {error}")
            )
        if stored is None:
            return self._settled(unit, None, self._without_record(unit, "record is missing"))
        copies = [recorded_copy(stored.facts, claim) for claim in unit]
        replies = await self._relay.hand_off(stored.facts, stored.content, copies)
        return self._settled(unit, stored, replies)

    def _without_record(self, unit: Sequence[Claim], why: str) -> Mapping[str, CopyReply]:
        _log.error("queue_record_unusable", reason=why)
        return all_without_answer(unit, why)

    def _settled(
        self,
        unit: Sequence[Claim],
        stored: StoredMessage | None,
        replies: Mapping[str, CopyReply],
    ) -> Attempted:
        """One moment and one chance for all: copies of a message stay together, in one attempt."""
        domain = self._generation().domain(unit[0].domain)
        at = Settling(
            settings=self._settings,
            now_ms=self._clock.now_ms(),
            retention_days=domain.retention_days if domain else _RETENTION_DAYS,
            chance=self._chance(),
            queue_hours=domain.queue_hours if domain else 0,
        )
        return Attempted(
            unit=unit,
            stored=stored,
            replies=replies,
            events=tuple(copy_event(claim, replies[claim.recipient], at) for claim in unit),
            until_ms=waits_until_ms(unit[0], at),
            at_ms=at.now_ms,
        )

    async def _make_durable(self, events: Sequence[Event]) -> None:
        """A result that is not on disk did not happen: keep trying, the lease is kept meanwhile."""
        while True:
            try:
                await self._journal.append_durable(events)
            except StorageError as error:
                _log.error("queue_journal_failed", mail_id=events[0].mail_id, error=str(error))
                await asyncio.sleep(JOURNAL_RETRY_S)
            else:
                return

    def _count(self, event: Event) -> None:
        self.counts["attempts"] += 1
        self.counts[str(event.detail["state"])] += 1
        if event.detail.get("uncertain"):
            self.counts["uncertain"] += 1
        _log.info(
            "queue_attempt",
            mail_id=event.mail_id,
            recipient=event.recipient,
            state=event.detail["state"],
            attempts=event.detail["attempts"],
            reply=str(event.detail["reply"]).split(" ", 2)[:2],  # its text may name addresses
        )

    async def _pause_s(self) -> float:
        """Until the next copy is due; what is due already waits for a place, which wakes us."""
        due_ms = await self._store.next_due_ms()
        ahead_s = 0.0 if due_ms is None else (due_ms - self._clock.now_ms()) / 1000
        return min(ahead_s, POLL_S) if ahead_s > 0 else POLL_S

    async def _keep_leases(self) -> None:
        """Prolong what this runner holds at a third of the lease."""
        while True:
            await asyncio.sleep(LEASE_MS / 3000)
            for claim in list(self._held.values()):
                try:
                    await self._store.extend(claim, self._clock.now_ms() + LEASE_MS)
                except GatewayError as error:
                    _log.warning("queue_lease_not_extended", error=str(error))
                    break

    async def _probe(self) -> None:
        """Ask next hops that are down whether they are back; the pool sets the pace for each."""
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            await self.probe_down_hops()

    async def probe_down_hops(self) -> None:
        """One round over the next hops of served domains that are down."""
        served = {hop for domain in self._generation().domains for hop in domain.next_hops}
        wanted = [hop for hop in self._health.down_hops() if hop in served]
        await asyncio.gather(*(self._health.probe(hop) for hop in wanted))
