"""Passwords of people who hand in mail under their own name, checked without any database."""

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

import argon2
import structlog

from gateway.app.routing import Routing
from gateway.core.addresses import parse_address
from gateway.core.errors import AddressError, ConfigError, SmtpError
from gateway.core.identities import Identities
from gateway.core.reply import LOGIN_LATER
from gateway.store import identities

_log = structlog.get_logger()
_AT_ONCE: Final = 1  # digest of one worker: it takes 64 MiB and four threads
_NICENESS: Final = 15  # of those threads: a flood of guesses gets what mail leaves of the CPU
_STRANGERS: Final = 8  # more of them at once are told to come back
_EVERYBODY: Final = 16  # the rest of the places is for networks that logged in before
_LONGEST: Final = 1024  # characters, as for new passwords


@dataclass(slots=True)
class Submission:
    """Implements ``gateway.smtp.ports.Submission`` on the snapshot of people.

    A login that does not exist costs the same digest as a wrong password. Digests are made one at
    a time in a thread of low priority, so that guessing never slows mail down. ``refresh`` follows
    the snapshot, and keeps the last good one when it is damaged.
    """

    directory: Path
    routing: Routing
    hasher: argon2.PasswordHasher = field(default_factory=argon2.PasswordHasher)
    _people: Identities = field(init=False, default_factory=Identities)
    _nobody: str = field(init=False)
    _seen: tuple[int, int] | None = field(init=False, default=None)
    _digests: ThreadPoolExecutor = field(init=False)
    _inside: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._nobody = self.hasher.hash(token_urlsafe())
        self._digests = ThreadPoolExecutor(
            _AT_ONCE, thread_name_prefix="logins", initializer=_give_way
        )
        self.refresh()

    def refresh(self) -> None:
        """Look whether somebody was let in, shut out or has a new password."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._people = identities.load(self.directory)
        except ConfigError as error:
            _log.error("new people refused, the old ones stay", reason=str(error))

    async def verify(
        self, login: str, password: str, *, from_known_network: bool = False
    ) -> str | None:
        """The login in its normal form if the password is right.

        Raises:
            SmtpError: too many wait already; nothing was checked.
        """
        if self._inside >= (_EVERYBODY if from_known_network else _STRANGERS):
            raise SmtpError("too many logins at once", LOGIN_LATER)
        self._inside += 1
        try:
            known = self._people.get(login)
            secret = known.secret if known is not None else self._nobody
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._digests, self._matches, secret, password)
        finally:
            self._inside -= 1
        return known.login if right and known is not None else None

    def may_send_as(self, login: str, mail_from: str) -> bool:
        """Whether the sender is an address of theirs at a domain that is served here."""
        known = self._people.get(login)
        if known is None:
            return False
        try:
            address = parse_address(mail_from)
        except AddressError:
            return False
        domain = self.routing.current.domain(address.domain)
        return domain is not None and known.scopes.covers(address, domain)

    def _matches(self, secret: str, password: str) -> bool:
        try:
            return self.hasher.verify(secret, password) and len(password) <= _LONGEST
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = (self.directory / identities.NAME).stat()
        except OSError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)


def _give_way() -> None:
    """Lower this thread's priority; those that Argon2 starts from it inherit that (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
