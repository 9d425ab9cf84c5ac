"""Passwords of people who hand in mail under their own name, checked without any database."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
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
_PLACES: Final = 8  # more clients than that at once are told to come back
# Of the threads that make digests: a flood of guesses gets what mail leaves of the CPU.
_STRANGERS_NICENESS: Final = 15
_KNOWN_NICENESS: Final = 5
_LONGEST: Final = 1024  # characters, as for new passwords


class _Lane:
    """One thread that makes digests, and the clients that wait for it.

    A digest takes 64 MiB and, by its own parameter, four more threads.
    """

    def __init__(self, niceness: int) -> None:
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="logins", initializer=_give_way, initargs=(niceness,)
        )
        self.inside = 0

    async def ask(self, matches: Callable[[], bool]) -> bool:
        """Wait for a turn, and for the answer.

        Raises:
            SmtpError: too many wait already.
        """
        if self.inside >= _PLACES:
            raise SmtpError("too many logins at once", LOGIN_LATER)
        self.inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, matches)
        finally:
            self.inside -= 1


def _give_way(niceness: int) -> None:
    """Lower this thread's priority; those that Argon2 starts from it inherit that (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


@dataclass(slots=True)
class Submission:
    """Implements ``gateway.smtp.ports.Submission`` on the snapshot of people.

    A login that does not exist costs the same digest as a wrong password. Digests are made in
    threads of low priority, one at a time for clients of networks that logged in before and one for
    all others, so that guessing slows neither mail nor people down. ``refresh`` follows the
    snapshot, and keeps the last good one when it is damaged.
    """

    directory: Path
    routing: Routing
    hasher: argon2.PasswordHasher = field(default_factory=argon2.PasswordHasher)
    _people: Identities = field(init=False, default_factory=Identities)
    _nobody: str = field(init=False)
    _seen: tuple[int, int] | None = field(init=False, default=None)
    _strangers: "_Lane" = field(init=False)
    _known: "_Lane" = field(init=False)

    def __post_init__(self) -> None:
        self._nobody = self.hasher.hash(token_urlsafe())
        self._strangers = _Lane(_STRANGERS_NICENESS)
        self._known = _Lane(_KNOWN_NICENESS)
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
        known = self._people.get(login)
        secret = known.secret if known is not None else self._nobody
        lane = self._known if from_known_network else self._strangers
        right = await lane.ask(partial(self._matches, secret, password))
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
