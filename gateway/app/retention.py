"""What is no longer ours leaves the disk; what was held long enough expires first."""

from dataclasses import dataclass

import structlog

from gateway.core.clock import Clock
from gateway.core.record import CopyState, Event, What
from gateway.store.journal import Journal
from gateway.store.queries import Listings
from gateway.store.records import FileRecords

_log = structlog.get_logger()
_SLICE = 500
_GRACE_MS = 60_000  # a record this young may still be on its way into the index


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """One round now and then; blocks for disk and database, so it runs in a thread."""

    listings: Listings
    records: FileRecords
    journal: Journal
    clock: Clock

    def round(self) -> None:
        """Expire held copies whose time is over; remove records that no copy needs.

        Raises:
            GatewayError: database or disk failed; the next round goes on.
        """
        now = self.clock.now_ms()
        over = self.listings.expired(now)
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
        removed = self._remove_settled()
        self.records.tidy(now - _GRACE_MS)
        if removed:
            _log.info("records removed", records=removed)

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
