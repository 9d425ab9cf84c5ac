"""The generation a process serves from, and which recipients it takes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from gateway.core.addresses import Address, parse_address
from gateway.core.errors import ConfigError
from gateway.core.mail import Session
from gateway.core.reply import MAILBOX_UNCERTAIN, NO_RELAY, NO_SUCH_MAILBOX, Reply
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from gateway.net.callout import Existence
from gateway.store.generations import load_current

_log = structlog.get_logger()


@dataclass(slots=True)
class Routing:
    """Holds the current generation; ``refresh`` notices a new one, and survives a damaged one."""

    directory: Path
    current: Generation = field(init=False)
    _seen: tuple[int, int] = field(init=False, default=(0, 0))

    def __post_init__(self) -> None:
        self._seen = self._stamp()
        self.current = load_current(self.directory)

    def refresh(self) -> bool:
        """Load a newly published generation; whether there was one."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.current = load_current(self.directory)
        except ConfigError as error:
            _log.error("new generation refused, the old one serves on", reason=str(error))
            return False
        _log.info("serving a new generation", generation=self.current.number)
        return True

    def _stamp(self) -> tuple[int, int]:
        try:
            status = (self.directory / "current").stat()
        except OSError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)


def all_pass_dsn_on(generation: Generation, offers_dsn: Callable[[NextHop], bool]) -> bool:
    """Whether every next hop takes requests for delivery status notifications (RFC 3461).

    Then, and only then, we can promise a client that its requests are kept: where a next hop does
    not take them, §5.2.2 would have us write to senders that may be forged.
    """
    hops = [hop for domain in generation.domains for hop in domain.next_hops]
    return bool(hops) and all(
        hop.kind is not NextHopKind.MAILDIR and offers_dsn(hop) for hop in hops
    )


class AsksNextHop(Protocol):
    """Finds out whether a next hop has a mailbox."""

    async def ask(self, hop: NextHop, address: Address) -> Existence:
        """Never raises; what cannot be found out is UNSURE."""


@dataclass(frozen=True, slots=True)
class ServedRecipients:
    """Takes mailboxes of served domains and of nobody else: never an open relay.

    Without a ``callout`` domains that want one take every recipient, or defer it.
    """

    routing: Routing
    callout: AsksNextHop | None = None

    async def check(self, address_text: str, session: Session) -> Address | Reply:
        """The address, or the refusal the client hears.

        A bare ``postmaster`` (RFC 5321 §4.5.1) is that of the first domain served here.

        Raises:
            AddressError: it is no address we would route.
        """
        del session
        generation = self.routing.current
        if "@" not in address_text and generation.domains:
            address_text = f"{address_text}@{generation.domains[0].name}"
        address = parse_address(address_text)
        domain = generation.domain(address.domain)
        if domain is None:
            return NO_RELAY
        match domain.recipients.knows(address):
            case True:
                return address
            case False:
                return NO_SUCH_MAILBOX
            case None:
                return await self._ask(domain, address)

    async def _ask(self, domain: Domain, address: Address) -> Address | Reply:
        found = Existence.UNSURE
        for hop in domain.next_hops:
            if self.callout is None or hop.kind is NextHopKind.MAILDIR:
                continue
            found = await self.callout.ask(hop, address)
            if found is not Existence.UNSURE:
                break
        if found is Existence.UNKNOWN:
            return NO_SUCH_MAILBOX
        if found is Existence.UNSURE and domain.recipients.defer:
            return MAILBOX_UNCERTAIN
        return address
