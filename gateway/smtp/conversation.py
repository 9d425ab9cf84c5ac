"""One connection from greeting to end: the command loop, replies, and the session commands."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Generic, TypeVar, cast

from gateway.core.errors import SmtpError
from gateway.core.mail import Session
from gateway.core.reply import TRY_AGAIN, Reply
from gateway.smtp import answers
from gateway.smtp.answers import wire
from gateway.smtp.auth import MAX_LINE_BYTES
from gateway.smtp.commands import RefusedCommandError
from gateway.smtp.limits import client_ip, client_of
from gateway.smtp.ports import F
from gateway.smtp.proxy import ProxyHeaderError, parse_proxy_header
from gateway.smtp.service import Service
from gateway.smtp.transaction import Transaction
from gateway.smtp.wire import EndedError, Wire

T = TypeVar("T")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# RFC 5321 §4.5.3.1.4, plus what each extension adds: SIZE 26, 8BITMIME 17, SMTPUTF8 10 and DSN 107
# for MAIL (500 more for AUTH, RFC 4954 §3, where somebody logged in); DSN 500 for RCPT. With CR LF.
_MAX_LINE = {b"MAIL": 672, b"RCPT": 1012, b"AUTH": MAX_LINE_BYTES}
_MAX_LINE_OTHERS = 512
_MORE_FOR_AUTH = 500
_MAX_HELO = 255
_VERBS = {
    verb.encode(): f"smtp_{verb}"
    for verb in (
        *("HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT"),
        *("VRFY", "EXPN", "HELP", "STARTTLS", "AUTH"),
    )
}
_KNOWN_BUT_NOT_HERE = frozenset({b"ETRN", b"TURN", b"ATRN", b"SEND", b"SOML", b"SAML"})
# Verbs of other protocols, and of an extension whose payload would run as commands: hang up.
_FOREIGN = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"BDAT"})


class Conversation(Wire, Generic[F]):
    """aiosmtpd's protocol with our command loop; MAIL, RCPT and DATA are added by its subclass."""

    def __init__(self, service: Service[F], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, service.limits)
        self._service = service
        self._counted_ip = ""
        self._client: Session
        self._facts: F  # there once admitted
        self._admitted = False
        self._transaction: Transaction | None = None
        self._errors = 0
        self._refused_recipients = 0
        self._commands = 0  # since the last message
        self._suspicious = False  # a DATA was refused: its body may be under way
        self._leaving = False
        self._ends_at = loop.time() + service.limits.session_timeout_s
        self._task: asyncio.Task[None] | None = None

    # Life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected: take it, or say 421 when it, or all, have their share."""
        self._tcp = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        service = self._service
        service.counts.open += 1
        service.counts.connections += 1
        peer = transport.get_extra_info("peername") or ("", 0)
        ip = client_ip(str(peer[0]))
        self._client = Session(
            ip=ip, port=int(peer[1]), helo="", esmtp=False, connected_at_ms=service.clock.now_ms()
        )
        if service.draining:
            self._turn_away(answers.SHUTTING_DOWN)
        elif service.counts.open > service.limits.max_connections:
            self._turn_away(answers.TOO_MANY_CONNECTIONS)
        elif ip in service.proxies:
            self._begin()
        elif (refusal := self._admit()) is not None:
            self._turn_away(refusal)
        else:
            self._begin()

    def _turn_away(self, reply: Reply) -> None:
        self._service.counts.refused_connections += 1
        self._tcp.write(wire(reply))
        self._tcp.close()

    def _admit(self) -> Reply | None:
        """Count the client and start the look-ups about it; the refusal, if it has its share."""
        ip = self._client.ip
        if not self._service.per_client.enter(ip):
            return answers.TOO_MANY_CONNECTIONS
        self._counted_ip = ip
        try:
            self._facts = self._service.on_connect(self._client)
        except Exception as error:  # noqa: BLE001  the border to the network
            self._reply_to(error)
            return answers.OUT_OF_ORDER
        self._admitted = True
        return None

    def _begin(self) -> None:
        self._service.connections.add(self)
        self._task = self.loop.create_task(self._handle_client())

    async def _learn_client(self) -> None:
        """Read the PROXY header of a load balancer; from here on the client is who it names."""
        deadline = self.loop.time() + self._limits.proxy_timeout_s
        data = self.take_pending()
        try:
            while (header := parse_proxy_header(data)) is None:
                await self.more(deadline)
                data += self.take_pending()
        except (ProxyHeaderError, EndedError) as error:
            if data:  # a health check may well connect and close
                self._service.log.warning(
                    "smtp_proxy_header_refused", reason=str(error), **self._names()
                )
            raise EndedError from error
        self.put_back(data[header.size_bytes :])
        if header.ip:
            self._client = replace(self._client, ip=client_ip(header.ip), port=header.port)
        if (refusal := self._admit()) is not None:
            self._service.counts.refused_connections += 1
            raise EndedError(refusal)

    async def _wait_to_greet(self) -> None:
        """Clients wait for the greeting (RFC 5321 §3.1); much of what sends spam does not.

        Who waited once is greeted at once from then on.
        """
        delay_s = self._limits.greet_delay_s
        if not delay_s or self._client.ip in self._service.unlimited:
            return
        greeted, client = self._service.greeted, client_of(self._client.ip)
        if greeted is not None and greeted.knows(client):
            return
        if not await self.quiet_for(delay_s):
            self._service.counts.early_talkers += 1
            raise EndedError(answers.EARLY_TALKER)
        if greeted is not None:
            greeted.remember(client)

    def connection_lost(self, error: Exception | None) -> None:
        """Count the connection out, once."""
        first = not self._lost
        super().connection_lost(error)
        if first:
            if self._counted_ip:
                self._service.per_client.leave(self._counted_ip)
            self._service.closed()

    def abort(self) -> None:
        """Drop the connection; an intake under way runs on."""
        if not self._lost:
            self._tcp.abort()

    @property
    def drains(self) -> bool:
        """Whether the worker is about to stop."""
        return self._service.draining

    async def _handle_client(self) -> None:
        """From the greeting to the end; takes the place of aiosmtpd's loop."""
        farewell: Reply | None = None
        lingers = True
        try:
            if not self._admitted:
                await self._learn_client()
            await self._wait_to_greet()
            self.say(self._service.greeting)
            while not self._leaving:
                await self._next_command()
            farewell, lingers = answers.BYE, False
        except EndedError as end:
            farewell = end.reply
            lingers = farewell is not answers.SHUTTING_DOWN
            self._service.counts.timeouts += farewell is answers.TIMED_OUT
            if farewell is not None:
                self._service.log.info("smtp_hung_up", reply=str(farewell), **self._names())
        except Exception as error:  # noqa: BLE001  the border to the network: nothing leaks
            farewell = self._reply_to(error)
        except asyncio.CancelledError:
            lingers = False
            self.abort()
            raise
        finally:
            await self._leave(farewell, lingers=lingers)

    async def _leave(self, farewell: Reply | None, *, lingers: bool) -> None:
        try:
            if self._admitted:
                self._facts.cancel()
            await self.part(self._line(farewell) if farewell else b"", linger=lingers)
        finally:
            self._service.gone(self)

    # The loop

    async def _next_command(self) -> None:
        deadline = min(self.loop.time() + self._limits.command_timeout_s, self._ends_at)
        line = await self.read_line(deadline)
        if self._service.draining:
            raise EndedError(answers.SHUTTING_DOWN)
        self._commands += 1
        if self._commands > self._limits.max_commands_without_mail:
            raise EndedError(answers.TOO_MANY_ERRORS)
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        name = _VERBS.get(verb)
        more = _MORE_FOR_AUTH if self._client.authenticated_as and verb == b"MAIL" else 0
        if len(line) + 2 > _MAX_LINE.get(verb, _MAX_LINE_OTHERS) + more:
            self._refuse(answers.LINE_TOO_LONG)
        elif name is None:
            self._not_a_command(verb)
        elif _CONTROL.search(line):
            self._refuse(answers.BAD_CHARACTERS)
        else:
            self._suspicious = False
            await self._obey(getattr(self, name), argument)

    async def _obey(self, command: Callable[[str], Awaitable[None]], argument: bytes) -> None:
        try:
            await command(argument.strip(b" ").decode())
        except UnicodeDecodeError:
            self._refuse(answers.BAD_CHARACTERS)
        except RefusedCommandError as refused:
            self._service.log.info(
                "smtp_refused", reason=str(refused), reply=str(refused.reply), **self._names()
            )
            self._refuse(refused.reply)
        except EndedError:
            raise
        except Exception as error:  # noqa: BLE001  the border to the network: nothing leaks
            self._answer(self._reply_to(error))

    def _not_a_command(self, verb: bytes) -> None:
        """Unknown words cost an error; a body or another protocol in place of commands ends it."""
        if verb in _FOREIGN or self._suspicious or not verb[:1].isalpha():
            raise EndedError(answers.NOT_A_MAIL_CLIENT)
        known = verb in _KNOWN_BUT_NOT_HERE
        self._refuse(answers.NOT_IMPLEMENTED if known else answers.UNKNOWN_COMMAND)

    # Replies

    def _line(self, reply: Reply) -> bytes:
        return wire(reply, self._transaction.id if self._transaction is not None else "")

    def _answer(self, reply: Reply) -> None:
        """Reply; within a transaction the reply carries its id."""
        self.say(self._line(reply))

    def _refuse(self, reply: Reply) -> None:
        """Reply to a mistake of the client; it has only so many."""
        self._errors += 1
        self._answer(reply)
        if self._errors > self._limits.max_errors:
            raise EndedError(answers.TOO_MANY_ERRORS)

    async def handle_exception(self, error: Exception) -> str:
        """The hook of aiosmtpd, which itself would tell the client the exception, with a 500."""
        return str(self._reply_to(error))

    def _reply_to(self, error: Exception) -> Reply:
        self._service.counts.errors += 1
        reply = error.reply if isinstance(error, SmtpError) else TRY_AGAIN
        self._service.log.error("smtp_error", reply=str(reply), exc_info=error, **self._names())
        return reply

    async def ask(self, answer: Awaitable[T]) -> T:
        """Await one of our ports.

        What it shares with others may be cancelled by them: that is an error of this command, not
        the end of this connection.

        Raises:
            RuntimeError: the port was cancelled, and we were not.
        """
        try:
            return await answer
        except asyncio.CancelledError as error:
            if self._task is None or self._task.cancelling():
                raise
            raise RuntimeError("cancelled from inside") from error

    def _names(self) -> dict[str, str]:
        names = {"ip": self._client.ip}
        if self._transaction is not None:
            names["mail_id"] = self._transaction.id
        return names

    # Session commands, named as aiosmtpd names them

    async def smtp_HELO(self, hostname: str) -> None:  # noqa: N802
        """HELO: no extensions from here on."""
        self._greet(hostname, esmtp=False)
        self.say(self._service.hello)

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802
        """EHLO: what we offer; a transaction under way is gone (RFC 5321 §4.1.4)."""
        self._greet(hostname, esmtp=True)
        tls = None if self._over_tls or self._service.tls is None else self._service.tls.current()
        logged_in = bool(self._client.authenticated_as)
        self.say(
            self._service.ehlo(tls=tls is not None, over_tls=self._over_tls, logged_in=logged_in)
        )

    def _greet(self, hostname: str, *, esmtp: bool) -> None:
        if not hostname or " " in hostname or len(hostname) > _MAX_HELO:
            raise RefusedCommandError(answers.BAD_ARGUMENTS, "malformed HELO")
        self._transaction = None
        self._client = replace(self._client, helo=hostname, esmtp=esmtp)

    async def smtp_NOOP(self, argument: str) -> None:  # noqa: N802
        """NOOP, with or without a word."""
        del argument
        self._answer(answers.OK)

    async def smtp_RSET(self, argument: str) -> None:  # noqa: N802
        """RSET: forget the transaction."""
        if argument:
            raise RefusedCommandError(answers.BAD_ARGUMENTS, "RSET with argument")
        self._transaction = None
        self._answer(answers.OK)

    async def smtp_VRFY(self, argument: str) -> None:  # noqa: N802
        """VRFY: the same answer whoever is asked about (RFC 5321 §7.3)."""
        if not argument:
            raise RefusedCommandError(answers.BAD_ARGUMENTS, "VRFY without argument")
        self._answer(answers.WILL_TRY)

    async def smtp_EXPN(self, argument: str) -> None:  # noqa: N802
        """EXPN: no lists here."""
        del argument
        self._refuse(answers.NOT_IMPLEMENTED)

    async def smtp_HELP(self, argument: str) -> None:  # noqa: N802
        """HELP: no product, no version."""
        del argument
        self._answer(answers.HELP)

    async def smtp_QUIT(self, argument: str) -> None:  # noqa: N802
        """QUIT: one more reply, then the end."""
        if argument:
            raise RefusedCommandError(answers.BAD_ARGUMENTS, "QUIT with argument")
        self._transaction = None
        self._leaving = True

    async def smtp_STARTTLS(self, argument: str) -> None:  # noqa: N802
        """STARTTLS (RFC 3207). What came behind it in plain text must never count as encrypted."""
        context = self._service.tls.current() if self._service.tls is not None else None
        if argument:
            raise RefusedCommandError(answers.BAD_ARGUMENTS, "STARTTLS with argument")
        if context is None:
            raise RefusedCommandError(answers.NOT_IMPLEMENTED, "no certificate")
        if self._over_tls or not self._client.esmtp:
            raise RefusedCommandError(answers.BAD_SEQUENCE, "STARTTLS out of sequence")
        if self.pending:
            self._service.log.warning("smtp_starttls_injection", **self._names())
            raise EndedError(answers.OUT_OF_STEP)
        self._transaction = None
        self._answer(answers.READY_FOR_TLS)
        self.flush()
        try:
            version, cipher = await self.secure(context)
        except (OSError, RuntimeError, TimeoutError) as error:
            self._service.counts.failed_handshakes += 1
            self._service.log.info("smtp_handshake_failed", reason=repr(error), **self._names())
            raise EndedError from error
        self._service.counts.tls_sessions += 1
        self._client = replace(
            self._client, helo="", esmtp=False, tls_version=version, tls_cipher=cipher
        )
