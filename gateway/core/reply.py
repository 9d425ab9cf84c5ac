"""What the SMTP client hears: a code, an enhanced code and a deliberately plain text."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One SMTP reply (RFC 5321 §4.2) with its enhanced status code (RFC 3463, RFC 2034)."""

    code: int
    enhanced: str
    text: str

    @property
    def positive(self) -> bool:
        """2yz: the command was done."""
        return 200 <= self.code < 300

    @property
    def transient(self) -> bool:
        """4yz: not now; the client tries again."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """5yz: never; the client must not try again unchanged."""
        return 500 <= self.code < 600

    def with_id(self, mail_id: str) -> Self:
        """The same reply ending in the id under which the admin finds the exact reason."""
        return type(self)(
            code=self.code, enhanced=self.enhanced, text=f"{self.text} (id {mail_id})"
        )

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}"


ACCEPTED = Reply(code=250, enhanced="2.0.0", text="OK: taken")
TRY_AGAIN = Reply(code=451, enhanced="4.3.0", text="Temporary problem here, please try again later")
STORAGE_FULL = Reply(
    code=452, enhanced="4.3.1", text="No room to store mail now, please try again later"
)
REFUSED_BY_POLICY = Reply(code=550, enhanced="5.7.1", text="Message refused by policy")
REFUSED_BY_NEXT_HOP = Reply(code=550, enhanced="5.0.0", text="Message refused")
NO_RELAY = Reply(code=550, enhanced="5.7.1", text="Relaying denied")
NO_SUCH_MAILBOX = Reply(code=550, enhanced="5.1.1", text="No such mailbox here")
MAILBOX_UNCERTAIN = Reply(
    code=450, enhanced="4.2.0", text="Recipient cannot be checked now, please try again later"
)
LOGIN_LATER = Reply(
    code=454, enhanced="4.7.0", text="Cannot check that now, please try again later"
)
MAIL_LOOP = Reply(code=554, enhanced="5.4.6", text="Mail loop: too many Received fields")
HEADER_TOO_LARGE = Reply(code=554, enhanced="5.6.0", text="Header section too large")
