"""What the gateway asks DNS and what it may cost: the resolver's side of every check."""

import time
from dataclasses import dataclass
from typing import ClassVar, Protocol

from gateway.core.errors import ResolverError


class DnsTimeoutError(ResolverError):
    """No server answered in time."""

    code: ClassVar[str] = "timeout"


class ServfailError(ResolverError):
    """The server could not resolve the name (RCODE 2, or 4: not implemented)."""

    code: ClassVar[str] = "servfail"


class RefusedError(ResolverError):
    """The server does not answer us (RCODE 5)."""

    code: ClassVar[str] = "refused"


class MalformedAnswerError(ResolverError):
    """What came back is no answer to what was asked."""

    code: ClassVar[str] = "malformed"


class MalformedNameError(ResolverError):
    """A name that cannot be asked (RFC 1035 §2.3.4); nothing was sent."""

    code: ClassVar[str] = "malformed_name"


class BudgetSpentError(ResolverError):
    """The mail has used up its time or its number of queries."""

    code: ClassVar[str] = "budget"


class NoServerError(ResolverError):
    """Every name server is down; it was not tried again."""

    code: ClassVar[str] = "no_server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What DNS says to one question; that a name does not exist is an answer too.

    ``records`` are texts: an address for A and AAAA; a name in lower case without its last dot for
    PTR, NS and CNAME; ``10 mail.example`` for MX; the joined strings of one record for TXT, each
    octet as one letter (latin-1). ``rcode`` is ``NOERROR`` or ``NXDOMAIN``. ``ttl_s`` is what is
    left of the time to live.
    """

    records: tuple[str, ...] = ()
    rcode: str = "NOERROR"
    ttl_s: int = 0
    from_cache: bool = False


class Budget:
    """What one mail may spend on DNS: seconds from now on, and questions put to the network.

    Shared by all checks of the mail. Answers from the cache are free. Not for use in two threads.
    """

    __slots__ = ("deadline_s", "queries_left")

    def __init__(self, seconds: float, queries: int = 50) -> None:
        self.deadline_s = time.monotonic() + seconds
        self.queries_left = queries

    @property
    def remaining_s(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.deadline_s - time.monotonic())

    def spend(self) -> None:
        """Count one question to the network.

        Raises:
            BudgetSpentError: when time or number are used up.
        """
        if self.queries_left <= 0:
            raise BudgetSpentError("the mail asked too many DNS questions")
        if self.deadline_s <= time.monotonic():
            raise BudgetSpentError("the mail's time for DNS is used up")
        self.queries_left -= 1


class Resolver(Protocol):
    """Asks DNS. Passed to every check that needs it, so that a test can answer itself."""

    async def query(self, name: str, rdtype: str, budget: Budget) -> Answer:
        """Ask for ``name`` (A-labels) and a record type such as ``TXT``.

        Raises:
            ResolverError: one of the classes above; its ``code`` names the cause.
        """
