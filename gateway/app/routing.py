"""The generation a process serves from, and which recipients it takes."""

from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.core.addresses import Address, parse_address
from gateway.core.errors import AddressError, ConfigError
from gateway.core.mail import Session
from gateway.core.reply import NO_RELAY, Reply
from gateway.core.routing import Generation
from gateway.store.generations import load_current

_BAD_ADDRESS = Reply(code=553, enhanced="5.1.3", text="Mailbox name not allowed")
_log = structlog.get_logger()


@dataclass(slots=True)
class Routing:
    """Holds the current generation; ``refresh`` notices a new one, a damaged one changes nothing."""

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


@dataclass(frozen=True, slots=True)
class ServedRecipients:
    """Takes mailboxes of served domains and of nobody else: never an open relay."""

    routing: Routing

    async def check(self, spelling: str, session: Session) -> Address | Reply:
        """The address, or the refusal the client hears."""
        del session
        try:
            address = parse_address(spelling)
        except AddressError as error:
            _log.info("recipient refused", reason=str(error), rcpt_to=spelling)
            return _BAD_ADDRESS
        if self.routing.current.domain(address.domain) is None:
            return NO_RELAY
        return address
