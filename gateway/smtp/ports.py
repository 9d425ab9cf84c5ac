"""What the SMTP server is given from outside: policy, intake, facts and certificates.

The server speaks the protocol and knows nothing of domains, scores or next hops; each of these
protocols is one question it asks. ``F`` is whatever the composition root gathers about a connection
while the client is still talking; the server only carries it.
"""

import ssl
from typing import Protocol, TypeVar

from gateway.core.addresses import Address
from gateway.core.mail import Mail, Session
from gateway.core.reply import Reply


class Facts(Protocol):
    """Look-ups started at CONNECT, usually an ``asyncio.Task``."""

    def cancel(self) -> object:
        """Stop what is still running; called once, when the connection and its intakes are over."""


F = TypeVar("F", bound=Facts)
F_co = TypeVar("F_co", bound=Facts, covariant=True)
F_contra = TypeVar("F_contra", bound=Facts, contravariant=True)


class RecipientPolicy(Protocol):
    """Decides whether a recipient is ours."""

    async def check(self, address_text: str, session: Session) -> Address | Reply:
        """The mailbox a RCPT names, or the reply that refuses it.

        ``address_text`` stood between the angle brackets. It is either ``postmaster`` in any case
        and without a domain (RFC 5321 §4.5.1), or has passed ``parse_address``. Must bound its own
        time; an exception is answered 451.

        Raises:
            AddressError: answered 553 5.1.3.
        """


class Intake(Protocol[F_contra]):
    """Takes responsibility for a message, or says why not."""

    async def __call__(self, mail: Mail, facts: F_contra) -> Reply:
        """Answer for ``mail``: the reply the client hears after its final dot.

        Runs on when the client disconnects. It is cancelled in two cases: when
        ``Limits.intake_timeout_s`` has passed (the client hears 451) and when the process ends; a
        commit inside must therefore be shielded. ``mail.content`` may be a mapped temporary file
        that lives as long as it is referenced. An exception is answered 451 4.3.0, or with the
        reply of an ``SmtpError``.
        """


class OnConnect(Protocol[F_co]):
    """Starts the look-ups about a client."""

    def __call__(self, session: Session) -> F_co:
        """Called before the greeting; ``session.helo`` is still empty. Must not block."""


class Submission(Protocol):
    """People who hand in mail under their own name (SMTP AUTH)."""

    async def verify(
        self, login: str, password: str, *, from_known_network: bool = False
    ) -> str | None:
        """The login in its normal form if the password is right; slow on purpose.

        Must take as long for a login that does not exist, and must not slow anything else down.
        Places are kept for clients ``from_known_network``: somebody there logged in before.

        Raises:
            SmtpError: nothing was checked; the reply is for the client.
        """

    def may_send_as(self, login: str, mail_from: str) -> bool:
        """Whether a reverse-path is one of theirs."""


class TlsContexts(Protocol):
    """Where STARTTLS finds its certificate."""

    def current(self) -> ssl.SSLContext | None:
        """The context for a handshake that starts now; None: STARTTLS is not offered."""
