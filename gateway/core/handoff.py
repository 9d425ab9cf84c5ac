"""What became of one recipient's copy at a next hop: an answer, or exactly when it got lost.

The reply table and the queue decide on these values; a connection that fails is such a value too,
never an exception.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.routing import NextHop

MAX_REPLY_TEXT = 500  # characters of a next hop's text that are kept


class Phase(StrEnum):
    """How far a copy got. Only ANSWERED has a code."""

    ANSWERED = "answered"  # the next hop (or we in its place) said what it does with this copy
    BEFORE_DOT = "before_dot"  # no answer, and it cannot have the message: safe to try again
    AFTER_DOT = "after_dot"  # no answer after our final dot: it may have the message (RFC 1047)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReply:
    """The fate of one recipient's copy in one attempt.

    ``recipient`` is the address key; ``text`` is for the admin alone: one printable line, the next
    hop's own words or what went wrong. ``local`` marks an answer we gave because the next hop's
    EHLO already ruled the message out (SIZE, 8BITMIME, SMTPUTF8). ``dsn`` says that the next hop
    offers DSN, so that the sender's requests (RFC 3461) went on with the copy.
    """

    recipient: str
    phase: Phase
    code: int = 0
    enhanced: str = ""
    text: str = ""
    next_hop: NextHop | None = None
    local: bool = False
    dsn: bool = False

    @property
    def delivered(self) -> bool:
        """The next hop took it: 2yz for this copy after the final dot."""
        return self.phase is Phase.ANSWERED and 200 <= self.code < 300

    @property
    def refused(self) -> bool:
        """5yz: trying again unchanged is of no use."""
        return self.phase is Phase.ANSWERED and 500 <= self.code < 600

    @property
    def may_retry(self) -> bool:
        """4yz, or no answer and no final dot: trying again cannot deliver it twice."""
        return not self.delivered and not self.refused and not self.uncertain

    @property
    def uncertain(self) -> bool:
        """No answer after our final dot: only the next hop knows."""
        return self.phase is Phase.AFTER_DOT

    def __str__(self) -> str:
        words = [str(self.code), self.enhanced] if self.phase is Phase.ANSWERED else [self.phase]
        return " ".join(word for word in (*words, self.text) if word)


def printable(text: str) -> str:
    """One bounded line without control characters, fit for logs, journal and listings."""
    clean = "".join(c if c.isprintable() else "?" for c in text[: MAX_REPLY_TEXT + 1])
    return clean if len(clean) <= MAX_REPLY_TEXT else clean[: MAX_REPLY_TEXT - 1] + "…"
