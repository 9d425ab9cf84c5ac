"""Availability facts as journal lines: history cannot be made up afterwards."""

from dataclasses import dataclass

import structlog

from gateway.checks.dnsbl_health import ListHealth
from gateway.core.clock import Clock
from gateway.core.errors import StorageError
from gateway.core.record import Event, What
from gateway.core.routing import NextHop
from gateway.store.journal import Journal

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AvailabilityJournal:
    """Writes down what went away and came back."""

    journal: Journal
    clock: Clock

    def next_hop(self, hop: NextHop, up: bool, reason: str) -> None:
        """A next hop went down or is back."""
        self.note("next_hop", str(hop), up=up, reason=reason)

    def resolver(self, server: str, up: bool) -> None:
        """A name server went silent or answers again."""
        self.note("resolver", server, up=up)

    def block_list(self, health: ListHealth) -> None:
        """A block list fell sick or recovered."""
        self.note("dnsbl", health.zone, up=health.up, reason=health.state)

    def note(self, kind: str, subject: str, *, up: bool, reason: str = "") -> None:
        """One fact; a full disk must not stop the process that wants to tell of it."""
        detail: dict[str, object] = {"kind": kind, "subject": subject, "up": up}
        if reason:
            detail["reason"] = reason
        event = Event(at_ms=self.clock.now_ms(), what=What.AVAILABILITY, detail=detail)
        try:
            self.journal.append(event)
        except StorageError as error:
            _log.error("availability not in the journal", kind=kind, reason=str(error))
