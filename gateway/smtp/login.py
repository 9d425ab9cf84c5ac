"""AUTH: a person of the directory hands in mail under their own name (ADR 0010)."""

import asyncio
from dataclasses import replace

from gateway.core.reply import LOGIN_LATER
from gateway.smtp import answers
from gateway.smtp.auth import read_credentials
from gateway.smtp.commands import RefusedCommandError
from gateway.smtp.conversation import Conversation
from gateway.smtp.ports import F
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
            self._refuse(LOGIN_LATER)  # whether the password is right or not
            return
        login = await self.ask(submission.verify(given.login, given.password)) if given else None
        if login is None:
            await self._refuse_login()
            return
        self._service.counts.logins += 1
        self._client = replace(client, authenticated_as=login)
        self._answer(answers.LOGGED_IN)

    async def _refuse_login(self) -> None:
        self._service.counts.refused_logins += 1
        self._service.per_client.refused_login(self._client.ip)
        self._refused_logins += 1
        self._service.log.info("smtp_login_refused", **self._names())
        if self._client.ip not in self._service.unlimited:
            await asyncio.sleep(min(float(self._refused_logins), self._limits.unknown_delay_s))
        if self._refused_logins >= self._limits.max_refused_logins:
            self._answer(answers.WRONG_LOGIN)
            raise EndedError(answers.TOO_MANY_ERRORS)
        self._refuse(answers.WRONG_LOGIN)
