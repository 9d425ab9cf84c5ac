"""Examining a next hop: what it offers and what it says to questions that no message follows.

Every question is MAIL and RCPT, then RSET or QUIT; DATA is never said, so nothing can be delivered.
What cannot be found out this way (a check that the next hop makes after DATA, or how it treats
clients whose address is not ours) is not guessed at.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.routing import NextHop, TlsPolicy
from gateway.net.smtp_client import ConnectFault, SmtpConnection, opportunistic_tls, verifying_tls
from gateway.net.smtp_client_envelope import Offer
from gateway.net.smtp_client_protocol import WireReply
from gateway.settings import DeliverySettings

_QUIT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One sender and one recipient, both ASCII; ``name`` is what the answer is filed under."""

    name: str
    mail_from: str
    rcpt_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """What was found out.

    ``fault`` says why there was no conversation at all. ``tls_version`` is empty where none was
    spoken; ``certificate_fault`` says why the certificate is not valid for the host, if one was
    shown. ``replies`` lacks the questions whose conversation failed.
    """

    hop: NextHop
    fault: str = ""
    offer: Offer = field(default_factory=Offer)
    starttls: bool = False
    tls_version: str = ""
    certificate_fault: str = ""
    replies: Mapping[str, WireReply]


class HopExaminer:
    """Asks one next hop; ``source`` is the address of ours to come from, empty for the usual."""

    def __init__(
        self,
        hop: NextHop,
        *,
        hostname: str,
        settings: DeliverySettings,
        source: str = "",
        verifying: ssl.SSLContext | None = None,
    ) -> None:
        self._hop = replace(hop, tls=TlsPolicy.MAY)  # what its policy makes of it is judged later
        self._wanted = hop
        self._hostname = hostname
        self._settings = settings
        self._source = source
        self._verifying = verifying or verifying_tls()

    async def ask(self, questions: Sequence[Question]) -> Exam:
        """One connection for all questions, and a fresh one after each that it did not survive."""
        plain = await self._connect(None)
        if isinstance(plain, ConnectFault):
            return Exam(hop=self._wanted, fault=plain.text, replies={})
        starttls = plain.offer.starttls
        connection, certificate_fault = plain, ""
        if starttls and self._wanted.tls is not TlsPolicy.NONE:
            await _leave(plain)
            secured, certificate_fault = await self._secured()
            if isinstance(secured, ConnectFault):
                return Exam(hop=self._wanted, fault=secured.text, starttls=True, replies={})
            connection = secured
        found = Exam(
            hop=self._wanted,
            offer=connection.offer,
            starttls=starttls,
            tls_version=connection.tls_version,
            certificate_fault=certificate_fault,
            replies={},
        )
        tls = opportunistic_tls() if connection.tls_version else None
        return replace(found, replies=await self._replies(connection, tls, questions))

    async def _secured(self) -> tuple[SmtpConnection | ConnectFault, str]:
        """By TLS: with a valid certificate, else unverified and with what is wrong with it."""
        connection = await self._connect(self._verifying)
        if not isinstance(connection, ConnectFault):
            return connection, ""
        return await self._connect(opportunistic_tls()), connection.text

    async def _replies(
        self,
        first: SmtpConnection,
        tls: ssl.SSLContext | None,
        questions: Sequence[Question],
    ) -> Mapping[str, WireReply]:
        replies: dict[str, WireReply] = {}
        connection: SmtpConnection | ConnectFault = first
        for question in questions:
            if isinstance(connection, ConnectFault) or not connection.usable:
                connection = await self._connect(tls)
            if isinstance(connection, ConnectFault):
                continue
            reply = await connection.reply_to(question.mail_from, question.rcpt_to)
            if reply is not None:
                replies[question.name] = reply
        if not isinstance(connection, ConnectFault) and connection.usable:
            await _leave(connection)
        return replies

    async def _connect(self, tls: ssl.SSLContext | None) -> SmtpConnection | ConnectFault:
        return await SmtpConnection.connect(
            self._hop,
            hostname=self._hostname,
            settings=self._settings,
            tls=tls,
            source=self._source,
        )


async def _leave(connection: SmtpConnection) -> None:
    connection.quit()
    await connection.wait_closed(_QUIT_S)
