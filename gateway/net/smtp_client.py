"""One SMTP or LMTP connection to a next hop, and transactions on it (RFC 5321, RFC 2033, RFC 2920).

A client of our own, because the caller must know exactly when an answer was lost: before our final
dot the next hop cannot have the message, after it only the next hop knows. A connection that fails
is a value (``ConnectFault``, ``HandOff.fault``), not an exception.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from gateway.core.handoff import Phase
from gateway.core.reply import Reply
from gateway.core.routing import NextHop, NextHopKind, TlsPolicy
from gateway.net.hop_addresses import open_connection
from gateway.net.nexthop import HandOff, Recipient, Transaction
from gateway.net.smtp_client_content import DotStuffer
from gateway.net.smtp_client_envelope import (
    Offer,
    mail_command,
    rcpt_command,
    ruled_out,
    unsendable,
    with_refusals,
)
from gateway.net.smtp_client_outcome import Attempt
from gateway.net.smtp_client_protocol import SmtpWire, WireFaultError, WireReply, WireTimeoutError
from gateway.settings import DeliverySettings

WHOLE_ENVELOPE: Final = 5  # command timeouts for all of MAIL, RCPT and DATA together
WHOLE_FINAL: Final = 2  # final timeouts for all answers of LMTP together
SLOWEST_BYTES_PER_S: Final = 4096  # what the content may take beyond the final timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFault:
    """Why no conversation came about. ``tls`` names the one cause that plain text may cure."""

    text: str
    tls: bool = False


def opportunistic_tls() -> ssl.SSLContext:
    """TLS where offered, unverified: better than plain text, no promise (RFC 7435)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def verifying_tls() -> ssl.SSLContext:
    """TLS with a certificate that is valid for the host, by the machine's authorities."""
    return ssl.create_default_context()


class SmtpConnection:
    """An open, greeted connection; one transaction at a time."""

    def __init__(self, hop: NextHop, wire: SmtpWire, settings: DeliverySettings) -> None:
        self._hop = hop
        self._wire = wire
        self._settings = settings
        self._mid_transaction = False
        self._phase_ends_s = 0.0
        self.offer = Offer()
        self.transactions = 0

    @classmethod
    async def connect(
        cls,
        hop: NextHop,
        *,
        hostname: str,
        settings: DeliverySettings,
        tls: ssl.SSLContext | None,
        source: str = "",
    ) -> Self | ConnectFault:
        """Connect, greet, and use STARTTLS where ``tls`` is given and the next hop offers it.

        Where the next hop's policy demands TLS, there is no connection without. ``source`` is the
        address of ours to come from.
        """
        timeout_s = settings.connect_timeout_s
        try:
            wire = await open_connection(
                SmtpWire, hop.host, hop.port, source=source, timeout_s=timeout_s
            )
        except TimeoutError:
            return ConnectFault(text=f"no connection within {timeout_s:g} s")
        except (OSError, ValueError) as error:  # ValueError: a host name that IDNA refuses
            return ConnectFault(text=f"cannot connect: {error}")
        connection = cls(hop, wire, settings)
        greeted = False
        try:
            fault = await connection._greet(hostname, tls)
            greeted = fault is None
        except WireFaultError as error:
            fault = ConnectFault(text=str(error))
        finally:
            if not greeted:
                wire.break_off("closed by us")
        return fault or connection

    async def _greet(self, hostname: str, tls: ssl.SSLContext | None) -> ConnectFault | None:
        greeting = await self._wire.reply(self._settings.command_timeout_s, "greeting")
        if greeting.code != 220:
            return ConnectFault(text=f"greeting: {greeting}")
        fault = await self._hello(hostname)
        if fault:
            return fault
        if tls is not None and self.offer.starttls:
            return await self._start_tls(hostname, tls)
        return ConnectFault(text="TLS is demanded and not offered") if self._demands_tls else None

    @property
    def _demands_tls(self) -> bool:
        return self._hop.tls in {TlsPolicy.MUST, TlsPolicy.VERIFY}

    async def _hello(self, hostname: str) -> ConnectFault | None:
        lmtp = self._hop.kind is NextHopKind.LMTP
        reply = await self._command(f"{'LHLO' if lmtp else 'EHLO'} {hostname}", "EHLO")
        if reply.code == 250:
            self.offer = Offer.parse(reply.lines)
            return None
        if not lmtp and reply.code in {500, 501, 502, 504, 550}:
            reply = await self._command(f"HELO {hostname}", "HELO")
            if reply.code == 250:
                self.offer = Offer()
                return None
        return ConnectFault(text=f"EHLO: {reply}")

    async def _start_tls(self, hostname: str, tls: ssl.SSLContext) -> ConnectFault | None:
        reply = await self._command("STARTTLS", "STARTTLS")
        if reply.code != 220:
            if self._demands_tls:
                return ConnectFault(text=f"TLS is demanded, STARTTLS: {reply}")
            return None  # it changed its mind; plain text is allowed here
        if not self._wire.quiet:  # early octets would pass for encrypted ones (CVE-2011-0411)
            return ConnectFault(text="octets or a close between STARTTLS and TLS", tls=True)
        loop, wire = asyncio.get_running_loop(), self._wire
        timeout_s = self._settings.connect_timeout_s
        try:
            transport = await loop.start_tls(
                wire.transport,
                wire,
                tls,
                server_hostname=self._hop.host.rstrip(".") if tls.check_hostname else None,
                ssl_handshake_timeout=timeout_s,
            )
        except (OSError, asyncio.IncompleteReadError) as error:  # ssl.SSLError is an OSError
            return ConnectFault(text=f"TLS handshake: {error or type(error).__name__}", tls=True)
        if transport is None:
            return ConnectFault(text="TLS handshake: connection lost", tls=True)
        wire.connection_made(transport)
        return await self._hello(hostname)

    async def _command(self, line: str, what: str) -> WireReply:
        self._wire.write(line.encode() + b"\r\n")
        return await self._wire.reply(self._settings.command_timeout_s, what)

    @property
    def tls_version(self) -> str:
        """The TLS version in use, empty for plain text."""
        secured = self._wire.transport.get_extra_info("ssl_object")
        return secured.version() or "" if secured is not None else ""

    @property
    def usable(self) -> bool:
        """Whether another transaction may be tried on it."""
        return self._wire.quiet

    async def transact(self, transaction: Transaction) -> HandOff:
        """Hand one message over; whatever happens, every recipient gets a reply value.

        Cancelled in the middle, the connection is cut, so the next hop never gets half a message
        for a whole one.
        """
        odd = unsendable(transaction, self.offer)
        if odd:
            return await self._without(odd, transaction)
        refusal = ruled_out(transaction, self.offer, self._hop)
        if refusal is not None:
            return refusal
        attempt = Attempt(transaction, self._hop, dsn=self.offer.dsn)
        completed = False
        self.transactions += 1
        try:
            await self._converse(transaction, attempt)
            completed = True
        except WireFaultError as error:
            attempt.timed_out = isinstance(error, WireTimeoutError)
            attempt.lose(str(error), phase=self._phase_of_loss(attempt))
        finally:
            if not completed or attempt.saw_421:
                self._wire.break_off("closed by us")
        return attempt.hand_off()

    async def _without(self, odd: dict[str, Reply], transaction: Transaction) -> HandOff:
        """Hand over to the recipients that can be asked for here."""
        others = tuple(one for one in transaction.recipients if one.key not in odd)
        rest = HandOff(replies=())
        if others:
            rest = await self.transact(replace(transaction, recipients=others))
        return with_refusals(rest, odd, transaction, self._hop)

    def _phase_of_loss(self, attempt: Attempt) -> Phase:
        if attempt.dot_written and self._wire.flushed:
            return Phase.AFTER_DOT
        early = self._wire.take_reply()  # its reason for closing before our final dot
        if early is not None and attempt.content_sent:
            attempt.refuse_early(early)
        return Phase.BEFORE_DOT

    async def _converse(self, transaction: Transaction, attempt: Attempt) -> None:
        self._allow(WHOLE_ENVELOPE * self._settings.command_timeout_s)
        reset = self._mid_transaction
        self._mid_transaction = True
        mail = mail_command(transaction, self.offer)
        rcpts = [rcpt_command(one, self.offer) for one in transaction.recipients]
        send_envelope = (
            self._envelope_pipelined if self.offer.pipelining else self._envelope_in_steps
        )
        data_reply = await send_envelope(mail, rcpts, attempt, reset=reset)
        if data_reply is None:
            return
        if data_reply.code != 354:
            attempt.answer_data(data_reply)
            return
        if not attempt.accepted:
            await self._lone_dot()
            return
        await self._send_content(transaction, attempt)
        await self._read_final(attempt)
        self._mid_transaction = False

    async def _envelope_pipelined(
        self, mail: bytes, rcpts: list[bytes], attempt: Attempt, *, reset: bool
    ) -> WireReply | None:
        """One write for all; the answers come in order (RFC 2920 §3.1)."""
        self._wire.write(b"".join((b"RSET\r\n" if reset else b"", mail, *rcpts, b"DATA\r\n")))
        if reset:
            await self._reset_reply()
        attempt.answer_mail(await self._reply("MAIL"))
        for number in range(len(rcpts)):
            attempt.answer_rcpt(number, await self._reply("RCPT"))
        return await self._reply("DATA")

    async def _envelope_in_steps(
        self, mail: bytes, rcpts: list[bytes], attempt: Attempt, *, reset: bool
    ) -> WireReply | None:
        if reset:
            self._wire.write(b"RSET\r\n")
            await self._reset_reply()
        self._wire.write(mail)
        attempt.answer_mail(await self._reply("MAIL"))
        if attempt.mail_refused:
            return None
        for number, rcpt in enumerate(rcpts):
            self._wire.write(rcpt)
            attempt.answer_rcpt(number, await self._reply("RCPT"))
        if not attempt.accepted:
            return None
        self._wire.write(b"DATA\r\n")
        return await self._reply("DATA")

    async def _reset_reply(self) -> None:
        reply = await self._reply("RSET")
        if reply.code != 250:
            raise WireFaultError(f"RSET: {reply}")

    async def _lone_dot(self) -> None:
        """DATA was taken though no recipient was: end it empty (RFC 2920 §3.1)."""
        if self._hop.kind is NextHopKind.LMTP:  # no recipient, hence no reply to wait for
            self._wire.break_off("closed by us")
            return
        self._wire.write(b".\r\n")
        await self._wire.reply(self._settings.final_timeout_s, "end of empty DATA")

    async def _send_content(self, transaction: Transaction, attempt: Attempt) -> None:
        """All but the last piece, each awaited; then the last one together with the final dot."""
        settings, size_bytes = self._settings, transaction.content.size_bytes
        self._allow(settings.final_timeout_s + size_bytes / SLOWEST_BYTES_PER_S)
        stuffer = DotStuffer()
        piece = b""
        for chunk in transaction.content.chunks():
            if piece:
                attempt.content_sent = True
                self._wire.write(piece)
                await self._wire.drain(self._left_s(self._settings.command_timeout_s), "content")
                await asyncio.sleep(0)  # others run, and what the peer says meanwhile is heard
                self._check_premature()
            piece = stuffer.feed(chunk)
        self._check_premature()
        attempt.content_sent = attempt.dot_written = True
        self._wire.write(piece + stuffer.finish())
        await self._wire.drain(self._settings.command_timeout_s, "content")

    def _check_premature(self) -> None:
        """An answer before our final dot answers nothing we asked: never end the message then."""
        if self._wire.unread or self._wire.fault:
            raise WireFaultError(self._wire.fault or "reply before the end of the message")

    async def _read_final(self, attempt: Attempt) -> None:
        timeout_s = self._settings.final_timeout_s
        self._allow(WHOLE_FINAL * timeout_s)
        if self._hop.kind is not NextHopKind.LMTP:
            attempt.answer_final(await self._wire.reply(timeout_s, "end of DATA"))
            return
        for number in attempt.accepted:
            reply = await self._wire.reply(self._left_s(timeout_s), "end of DATA")
            attempt.answer_final_of(number, reply)

    def _allow(self, seconds: float) -> None:
        """From now the phase may last so long in all, however patiently each step is answered."""
        self._phase_ends_s = asyncio.get_running_loop().time() + seconds

    def _left_s(self, step_s: float) -> float:
        return min(step_s, self._phase_ends_s - asyncio.get_running_loop().time())

    async def _reply(self, what: str) -> WireReply:
        return await self._wire.reply(self._left_s(self._settings.command_timeout_s), what)

    async def mail_fault(self) -> str:
        """Whether the next hop answers MAIL at all, and if not, how it failed; no mail is sent."""
        self._allow(self._settings.command_timeout_s)
        self._mid_transaction = True
        self._wire.write(b"MAIL FROM:<>\r\n")
        try:
            await self._reply("MAIL of a probe")
        except WireFaultError as error:
            self._wire.break_off("closed by us")
            return str(error)
        return ""

    async def rcpt_replies(self, addresses: Sequence[str]) -> tuple[WireReply, ...] | None:
        """What RCPT says to each address after MAIL from the null sender; no message follows.

        None when the conversation failed or MAIL was refused. Cancelled, the connection is cut.
        """
        said = await self._ask("", addresses)
        return said[1] or None if said is not None else None

    async def reply_to(self, mail_from: str, rcpt_to: str) -> WireReply | None:
        """Its refusal of a sender, else what it says to the recipient; no message follows.

        None when the conversation failed. Cancelled, the connection is cut.
        """
        said = await self._ask(mail_from, [rcpt_to])
        if said is None:
            return None
        mail, replies = said
        return replies[0] if replies else mail

    async def _ask(
        self, mail_from: str, addresses: Sequence[str]
    ) -> tuple[WireReply, tuple[WireReply, ...]] | None:
        self._allow(self._settings.command_timeout_s)
        reset, completed = self._mid_transaction, False
        self._mid_transaction = True
        try:
            if reset:
                self._wire.write(b"RSET\r\n")
                await self._reset_reply()
            self._wire.write(f"MAIL FROM:<{mail_from}>\r\n".encode("ascii"))
            mail = await self._reply("MAIL of a question")
            replies = []
            for address in addresses if mail.code == 250 else ():
                recipient = Recipient(key="", rcpt_to=address)
                self._wire.write(rcpt_command(recipient, self.offer))
                replies.append(await self._reply("RCPT of a question"))
            completed = all(reply.code != 421 for reply in (mail, *replies))
            return mail, tuple(replies)
        except WireFaultError:
            return None
        finally:
            if not completed:
                self._wire.break_off("closed by us")

    def quit(self) -> None:
        """Begin a polite end; ``wait_closed`` is its end."""
        self._wire.write(b"QUIT\r\n")

    def quit_and_close(self) -> None:
        """Say QUIT and do not wait for the answer."""
        self._wire.write(b"QUIT\r\n")
        self._wire.close_when_sent()

    async def wait_closed(self, timeout_s: float) -> None:
        """Wait for the peer to close, at most ``timeout_s``; then cut it off."""
        await self._wire.wait_closed(timeout_s)

    def abort(self) -> None:
        """Cut it off now."""
        self._wire.break_off("closed by us")
