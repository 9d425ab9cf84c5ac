"""The real SMTP server with the smallest world around it: one domain, an intake that remembers."""

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import structlog
import uvloop

from gateway.core.addresses import Address, parse_address
from gateway.core.clock import SystemClock
from gateway.core.ids import IdSource
from gateway.core.mail import Mail, Session
from gateway.core.reply import ACCEPTED, NO_RELAY, Reply
from gateway.settings import SmtpSettings
from gateway.smtp.limits import Limits, RemembersClients
from gateway.smtp.ports import RecipientPolicy, Submission, TlsContexts
from gateway.smtp.server import SmtpServer, start_server

T = TypeVar("T")
P = ParamSpec("P")
NO_SUCH_USER = Reply(code=550, enhanced="5.1.1", text="No such mailbox")


def on_uvloop(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an async test on the event loop that serves in production."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(test(*args, **kwargs))

    return run


class OneDomain:
    """Everybody at example.org, but for ``nobody``; ``broken`` makes the policy fail."""

    async def check(self, address_text: str, session: Session) -> Address | Reply:
        text = address_text if "@" in address_text else f"{address_text}@example.org"
        address = parse_address(text)
        if address.domain != "example.org":
            return NO_RELAY
        if address.local == "broken":
            raise RuntimeError("secret detail of the directory")
        return NO_SUCH_USER if address.local == "nobody" else address


class Facts:
    """What on_connect started; remembers that it was ended."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


@dataclass
class RecordingIntake:
    """Takes all mail and remembers it; ``answer`` may wait, refuse or raise."""

    mails: list[Mail] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    finished: int = 0
    answer: Callable[[Mail], Awaitable[Reply]] | None = None

    async def __call__(self, mail: Mail, facts: Facts) -> Reply:
        self.mails.append(mail)
        self.contents.append(mail.content[:])
        self.facts.append(facts)
        reply = ACCEPTED.with_id(mail.id) if self.answer is None else await self.answer(mail)
        self.finished += 1
        return reply


class SmtpService:
    """The server on a port of its own, for ``async with``; checks at the end that nothing leaked.

    Keyword arguments beside ``tls`` and ``per_client`` replace fields of ``Limits``.
    """

    def __init__(
        self,
        temporary: Path,
        *,
        tls: TlsContexts | None = None,
        per_client: Any = None,
        share: socket.socket | None = None,
        recipients: RecipientPolicy | None = None,
        submission: Submission | None = None,
        greeted: RemembersClients | None = None,
        settings: SmtpSettings | None = None,
        **limits: float,
    ) -> None:
        self.intake = RecordingIntake()
        self.connects: list[Facts] = []
        self._temporary = temporary
        self._tls = tls
        self._per_client = per_client
        self._share = share
        self._recipients = recipients or OneDomain()
        self._submission = submission
        self._greeted = greeted
        self._settings = settings or SmtpSettings(hostname="mx.example.org")
        # A self-closing server waits for the client to read its last word; tests are in a hurry.
        self._limits = {"linger_s": 0.5, **limits}
        self.server: SmtpServer[Facts]
        self.host = "127.0.0.1"
        self.port = 0
        self.socket: socket.socket

    def _on_connect(self, session: Session) -> Facts:
        facts = Facts(session)
        self.connects.append(facts)
        return facts

    async def __aenter__(self) -> Self:
        settings = self._settings
        self.socket = self._share or socket.create_server((self.host, 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.server = await start_server(
            self.socket,
            settings=settings,
            clock=SystemClock(),
            ids=IdSource("t1"),
            recipients=self._recipients,
            intake=self.intake,
            on_connect=self._on_connect,
            log=structlog.get_logger(),
            temporary=self._temporary,
            tls=self._tls,
            limits=replace(Limits.from_settings(settings), **self._limits),
            per_client=self._per_client,
            submission=self._submission,
            greeted=self._greeted,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.server.drain(5.0)
        if kind is None:
            await self.settled()

    async def settled(self) -> None:
        """Wait until no connection is open; then no memory is reserved and all facts are ended."""
        async with asyncio.timeout(10):
            while self.server.counts.open or not all(each.cancelled for each in self.connects):
                await asyncio.sleep(0.005)
        assert self.server.memory_used_bytes == 0
        assert [each.cancelled for each in self.connects] == [1] * len(self.connects)
        assert list(self._temporary.iterdir()) == []
