"""MAIL, RCPT and DATA: from a reverse-path to a message the intake has answered for."""

import asyncio
import mmap

from gateway.core.addresses import Address, parse_address
from gateway.core.errors import AddressError
from gateway.core.mail import DsnRequest, Mail
from gateway.core.reply import MAIL_LOOP, Reply
from gateway.smtp import answers
from gateway.smtp.body import Body
from gateway.smtp.commands import (
    RcptParameters,
    RefusedCommandError,
    mail_parameters,
    parse_path,
    rcpt_parameters,
    reverse_path,
)
from gateway.smtp.login import LoginConversation
from gateway.smtp.ports import F
from gateway.smtp.received import count_received
from gateway.smtp.receiving import read_content
from gateway.smtp.transaction import Transaction
from gateway.smtp.wire import EndedError

_FREE_REFUSALS = 5
_SLOWER_S = 0.5


class SmtpConnection(LoginConversation[F]):
    """The whole protocol of one connection."""

    async def smtp_MAIL(self, argument: str) -> None:  # noqa: N802
        """MAIL FROM opens a transaction and gives it its id."""
        if not self._client.helo or self._transaction is not None:
            raise RefusedCommandError(answers.BAD_SEQUENCE, "MAIL out of sequence")
        path = parse_path(argument, "FROM:")
        if path.parameters and not self._client.esmtp:
            raise RefusedCommandError(answers.UNKNOWN_PARAMETER, "parameters after HELO")
        given = mail_parameters(
            path.parameters,
            max_bytes=self._limits.max_message_bytes,
            auth=self._over_tls and self._service.submission is not None,
        )
        if not given.smtputf8 and not path.address.isascii():
            raise RefusedCommandError(answers.NEEDS_SMTPUTF8, "non-ASCII sender")
        try:
            mail_from = reverse_path(path.address)
        except AddressError as error:
            raise RefusedCommandError(answers.BAD_SENDER, str(error)) from error
        self._refuse_foreign_sender(mail_from)
        if not self._service.per_client.may_send(self._client.ip):
            self._answer(answers.TOO_MUCH_MAIL)
            return
        self._transaction = Transaction(
            id=self._service.ids.next(self._service.clock.now_ms()),
            mail_from=mail_from,
            smtputf8=given.smtputf8,
            body_8bit=given.body_8bit,
            declared_size=given.size,
            ret=given.ret,
            envid=given.envid,
        )
        self._answer(answers.SENDER_OK)

    def _refuse_foreign_sender(self, mail_from: str) -> None:
        """Who logged in sends under their own addresses; reports have none (RFC 5321 §4.5.5)."""
        login, submission = self._client.authenticated_as, self._service.submission
        if not login or submission is None or not mail_from:
            return
        if not submission.may_send_as(login, mail_from):
            raise RefusedCommandError(answers.NOT_YOUR_ADDRESS, "sender of somebody else")

    async def smtp_RCPT(self, argument: str) -> None:  # noqa: N802
        """RCPT TO asks whether this mailbox is ours."""
        transaction = self._transaction
        if transaction is None:
            raise RefusedCommandError(answers.BAD_SEQUENCE, "RCPT without MAIL")
        path = parse_path(argument, "TO:")
        if path.parameters and not self._client.esmtp:
            raise RefusedCommandError(answers.UNKNOWN_PARAMETER, "parameters after HELO")
        given = rcpt_parameters(path.parameters)
        if not transaction.smtputf8 and not path.address.isascii():
            raise RefusedCommandError(answers.NEEDS_SMTPUTF8, "non-ASCII recipient")
        try:
            if path.address.lower() != "postmaster":
                parse_address(path.address)
            if self._service.per_client.guesses(self._client.ip):
                transaction.refused += 1
                self._answer(answers.NOT_NOW)  # whether it exists or not
                return
            mailbox = await self.ask(self._service.recipients.check(path.address, self._client))
        except AddressError as error:
            transaction.refused += 1
            raise RefusedCommandError(answers.BAD_RECIPIENT, str(error)) from error
        if isinstance(mailbox, Reply):
            await self._refuse_recipient(transaction, path.address, mailbox)
        else:
            self._add_recipient(transaction, mailbox, given)

    def _add_recipient(
        self, transaction: Transaction, mailbox: Address, given: RcptParameters
    ) -> None:
        if mailbox.key not in transaction.recipients:
            if len(transaction.recipients) >= self._limits.max_recipients:
                self._answer(answers.TOO_MANY_RECIPIENTS)
                return
            transaction.recipients[mailbox.key] = mailbox
            if given.notify or given.orcpt:
                transaction.dsn[mailbox.key] = DsnRequest(
                    recipient=mailbox.key, notify=given.notify, orcpt=given.orcpt
                )
        self._answer(answers.RECIPIENT_OK)

    async def _refuse_recipient(self, transaction: Transaction, address: str, reply: Reply) -> None:
        """Dead addresses are everyday in a list: they have a count of their own."""
        transaction.refused += 1
        self._refused_recipients += 1
        self._service.counts.refused_recipients += 1
        self._service.log.info(
            "smtp_recipient_refused", reply=str(reply), recipient=address, **self._names()
        )
        if reply.permanent:
            self._service.per_client.unknown_recipient(self._client.ip)
            await self._hold_up()
        self._answer(reply)
        if self._refused_recipients > self._limits.max_refused_recipients:
            raise EndedError(answers.TOO_MANY_ERRORS)

    async def _hold_up(self) -> None:
        """Make guessing slow: each refusal after the first few takes longer, up to a bound."""
        surplus = self._refused_recipients - _FREE_REFUSALS
        if surplus <= 0 or self._client.ip in self._service.unlimited:
            return
        self.flush()
        await asyncio.sleep(min(surplus * _SLOWER_S, self._limits.unknown_delay_s))

    async def smtp_DATA(self, argument: str) -> None:  # noqa: N802
        """DATA takes the message in and lets the intake answer for it."""
        transaction = self._transaction
        refusal = _refusal(transaction, argument)
        if refusal is not None or transaction is None:
            self._refuse_data(refusal or answers.BAD_SEQUENCE)
            return
        if self.pending:
            # The body came before our 354: a client that does not wait would go on sending it as
            # commands were we to refuse, so it may not get used to that.
            self._service.log.info("smtp_data_out_of_step", **self._names())
            raise EndedError(answers.OUT_OF_STEP)
        reservation = self._service.budget.reserve_window()
        if reservation is None:
            self._refuse_data(answers.NO_MEMORY)
            return
        body = Body(reservation, limits=self._limits, directory=self._service.temporary)
        with reservation, body:
            reply = await self._receive(transaction, body)
        self._answer(reply)
        self._transaction = None

    def _refuse_data(self, reply: Reply) -> None:
        """No 354: if the body comes all the same, it must not run as commands."""
        self._service.counts.refused_data += 1
        self._suspicious = True
        if self.pending:
            raise EndedError(reply)
        if reply.transient:  # no mistake of the client
            self._answer(reply)
        else:
            self._refuse(reply)

    async def _receive(self, transaction: Transaction, body: Body) -> Reply:
        self.say(answers.START_DATA)
        try:
            flaw = await read_content(self, body, self._limits)
        except EndedError:
            raise
        except Exception as error:  # in the middle of a body nobody knows where commands begin
            raise EndedError(self._reply_to(error)) from error
        if flaw is not None:
            self._service.counts.refused_data += 1
            self._service.log.info("smtp_data_refused", reply=str(flaw), **self._names())
            return flaw
        if self._lost:  # it cannot hear us and will send again: one copy is enough
            raise EndedError
        try:
            content, sha256 = await body.finish()
            return await self._take(transaction, content, sha256)
        except Exception as error:  # noqa: BLE001  the border to the network: nothing leaks
            return self._reply_to(error)

    async def _take(
        self, transaction: Transaction, content: bytes | mmap.mmap, sha256: str
    ) -> Reply:
        service = self._service
        if count_received(content, self._limits.max_received) > self._limits.max_received:
            service.counts.refused_data += 1
            service.log.warning("smtp_mail_loop", **self._names())
            return MAIL_LOOP
        mail = Mail(
            id=transaction.id,
            received_at_ms=service.clock.now_ms(),
            session=self._client,
            envelope=transaction.envelope(),
            content=content,
            sha256=sha256,
        )
        self._commands = 0
        service.counts.messages += 1
        service.counts.message_bytes += len(content)
        async with asyncio.timeout(self._limits.intake_timeout_s):
            return await self.ask(service.intake(mail, self._facts))


def _refusal(transaction: Transaction | None, argument: str) -> Reply | None:
    if argument:
        return answers.BAD_ARGUMENTS
    if transaction is None:
        return answers.BAD_SEQUENCE
    if not transaction.recipients:
        return answers.NO_VALID_RECIPIENTS if transaction.refused else answers.BAD_SEQUENCE
    return None
