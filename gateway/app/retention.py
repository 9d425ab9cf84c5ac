"""What is no longer ours leaves the disk; what was held long enough expires first.

Later what was known of it goes too (gateway.store.purging).
"""

from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.core.clock import Clock
from gateway.core.record import CopyState, Event, What
from gateway.store.backup import removal_lock
from gateway.store.features import forget_features
from gateway.store.journal import Journal
from gateway.store.purging import Purging
from gateway.store.queries import Listings
from gateway.store.records import FileRecords

_log = structlog.get_logger()
_SLICE = 500
_GRACE_MS = 60_000  # a record this young may still be on its way into the index
_STEADY_S = 3600.0
_JUMP_MS = 60_000  # what time servers slew stays far below
_DAY_MS = 86_400_000
_PURGE_EVERY_S = 6 * 3600.0  # it reads all journals of days that are over


@dataclass(slots=True)
class SteadyClock:
    """Whether the wall clock has kept pace with the monotonic one for an hour.

    Expiry removes mail for good, and a machine may come up years ahead until its time server is
    heard: whatever the wall clock says, nobody's held mail goes because of a jump.
    """

    clock: Clock
    _ahead_ms: float = field(init=False)
    _since_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._since_s = self.clock.monotonic_s()
        self._ahead_ms = self.clock.now_ms() - self._since_s * 1000

    def steady(self) -> bool:
        """Look at both clocks; a jump either way starts the hour anew."""
        now_s = self.clock.monotonic_s()
        ahead_ms = self.clock.now_ms() - now_s * 1000
        if abs(ahead_ms - self._ahead_ms) > _JUMP_MS:
            _log.warning("the clock jumped", by_s=round((ahead_ms - self._ahead_ms) / 1000))
            self._ahead_ms, self._since_s = ahead_ms, now_s
        return now_s - self._since_s >= _STEADY_S


@dataclass(slots=True, kw_only=True)
class Retention:
    """One round now and then; blocks for disk and database, so it runs in a thread.

    ``features_days``: for how long the features of mail that went on are kept. ``facts_days``:
    how long after its last event a mail that is gone is still known. Without
    ``purging`` (an index in memory is no proof that a journal was read) facts stay.
    """

    listings: Listings
    purging: Purging | None
    facts_days: int
    features_days: int
    records: FileRecords
    journal: Journal
    state: Path
    clock: Clock
    steadiness: SteadyClock
    _purge_at_s: float = 0.0

    def round(self) -> None:
        """Expire held copies whose time is over; remove records that no copy needs.

        Raises:
            GatewayError: database or disk failed; the next round goes on.
        """
        now, steady = self.clock.now_ms(), self.steadiness.steady()
        over = self.listings.expired(now) if steady else ()
        if over:
            self.journal.append_durable_now(
                [
                    Event(
                        at_ms=now,
                        what=What.COPY,
                        mail_id=row.mail_id,
                        recipient=row.recipient,
                        detail={"state": CopyState.EXPIRED.value, "by": "retention"},
                    )
                    for row in over
                ]
            )
            _log.info("held copies expired", copies=len(over))
        lock = removal_lock(self.state)
        if lock is None:
            return  # a backup runs: it reads records before and after the journals
        with lock:
            removed = self._remove_settled()
            self.records.tidy(now - _GRACE_MS)
            if steady:
                self._forget_features(now)
                self._purge(now)
        if removed:
            _log.info("records removed", records=removed)

    def _forget_features(self, now_ms: int) -> None:
        before_ms = now_ms - self.features_days * _DAY_MS
        if days := forget_features(self.state / "features", before_ms):
            _log.info("features removed", days=days)

    def _purge(self, now_ms: int) -> None:
        if self.purging is None or self.clock.monotonic_s() < self._purge_at_s:
            return
        before_ms = now_ms - self.facts_days * _DAY_MS
        found = self.purging.purge(self.state / "journal", self.records, before_ms)
        self._purge_at_s = (
            self.clock.monotonic_s() + _PURGE_EVERY_S
        )  # one that failed is tried again
        if found.messages or found.lines:
            _log.info("facts purged", messages=found.messages, lines=found.lines, files=found.files)

    def _remove_settled(self) -> int:
        removed = 0
        batch: list[str] = []
        for mail_id in self.records.ids():
            batch.append(mail_id)
            if len(batch) == _SLICE:
                removed += self._remove(batch)
                batch = []
        return removed + self._remove(batch)

    def _remove(self, mail_ids: list[str]) -> int:
        settled = self.listings.no_longer_ours(mail_ids) if mail_ids else set()
        return sum(self.records.delete(mail_id) for mail_id in sorted(settled))
