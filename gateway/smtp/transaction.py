"""The state between MAIL and the reply to its message (RFC 5321 §3.3)."""

from dataclasses import dataclass, field

from gateway.core.addresses import Address
from gateway.core.mail import DsnRequest, Envelope


@dataclass(slots=True, kw_only=True)
class Transaction:
    """One MAIL and the recipients so far. ``id`` is in every reply from MAIL on.

    ``recipients`` is keyed by the address key: two spellings of one mailbox are one copy.
    """

    id: str
    mail_from: str
    smtputf8: bool
    body_8bit: bool
    declared_size: int | None
    recipients: dict[str, Address] = field(default_factory=dict)
    refused: int = 0
    ret: str = ""
    envid: str = ""
    dsn: dict[str, DsnRequest] = field(default_factory=dict)  # by address key

    def envelope(self) -> Envelope:
        """What the intake sees."""
        return Envelope(
            mail_from=self.mail_from,
            rcpt_to=tuple(self.recipients.values()),
            smtputf8=self.smtputf8,
            body_8bit=self.body_8bit,
            declared_size=self.declared_size,
            ret=self.ret,
            envid=self.envid,
            dsn=tuple(self.dsn.values()),
        )
