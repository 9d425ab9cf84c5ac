"""AUTH: a person of the directory hands in mail under their own name (ADR 0010)."""

import asyncio
from dataclasses import replace

from gateway.core.errors import SmtpError
from gateway.core.reply import LOGIN_LATER, Reply
from gateway.smtp import answers
from gateway.smtp.auth import Credentials, read_credentials
from gateway.smtp.commands import RefusedCommandError
from gateway.smtp.conversation import Conversation
from gateway.smtp.ports import F, Submission
from gateway.smtp.wire import EndedError


class LoginConversation(Conversation[F]):
    """The command loop with AUTH; every refusal of a login looks and lasts the same."""

    _refused_logins = 0

    async def smtp_AUTH(self, argument: str) -> None:  # noqa: N802
        """AUTH (RFC 4954): only under TLS, once, outside of a transaction, the last of a group."""
        submission = self._service.submission
        if submission is None:
            raise RefusedCommandError(answers.NOT_IMPLEMENTED, "AUTH is not offered")
        if not self._over_tls:
            raise RefusedCommandError(answers.NEEDS_TLS, "AUTH in plain text")
        client = self._client
        if not client.esmtp or client.authenticated_as or self._transaction is not None:
            raise RefusedCommandError(answers.BAD_SEQUENCE, "AUTH out of sequence")
        if self.pending:
            raise EndedError(answers.OUT_OF_STEP)
        deadline = min(self.loop.time() + self._limits.command_timeout_s, self._ends_at)
        given = await read_credentials(self, argument, deadline)
        if self._service.per_client.guesses_logins(client.ip):
            await self._refuse_login(LOGIN_LATER)  # whether the password is right or not
            return
        try:
            login = await self._verified(submission, given)
        except SmtpError as error:  # everyday in a flood of guesses
            await self._refuse_login(error.reply)
            return
        if login is None:
            self._service.counts.refused_logins += 1
            self._service.per_client.refused_login(client.ip)
            await self._refuse_login(answers.WRONG_LOGIN)
            return
        self._service.counts.logins += 1
        self._service.logged_in.remember(client.ip)
        self._client = replace(client, authenticated_as=login)
        self._answer(answers.LOGGED_IN)

    async def _verified(self, submission: Submission, given: Credentials | None) -> str | None:
        if given is None:
            return None
        known = self._client.ip in self._service.logged_in
        return await self.ask(
            submission.verify(given.login, given.password, from_known_network=known)
        )

    async def _refuse_login(self, reply: Reply) -> None:
        """Each refusal takes longer, also those for which nothing was looked at."""
        self._refused_logins += 1
        self._service.log.info("smtp_login_refused", reply=str(reply), **self._names())
        if self._client.ip not in self._service.unlimited:
            await asyncio.sleep(min(float(self._refused_logins), self._limits.unknown_delay_s))
        if self._refused_logins >= self._limits.max_refused_logins:
            self._answer(reply)
            raise EndedError(answers.TOO_MANY_ERRORS)
        self._refuse(reply)
