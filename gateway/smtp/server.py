"""One worker's SMTP server: listens, counts, drains."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Generic

from gateway.core.clock import Clock
from gateway.core.ids import IdSource
from gateway.settings import SmtpSettings
from gateway.smtp.body import ByteBudget
from gateway.smtp.limits import ClientLimits, Limits, NetworkLimits, Networks, RemembersClients
from gateway.smtp.ports import F, Intake, OnConnect, RecipientPolicy, Submission, TlsContexts
from gateway.smtp.protocol import SmtpConnection
from gateway.smtp.service import Counts, Logger, Service
from gateway.telemetry.networks import NetworkCounts


class SmtpServer(Generic[F]):
    """A listening server and its open connections."""

    def __init__(self, service: Service[F]) -> None:
        self._service = service
        self._listener: asyncio.Server | None = None

    @property
    def counts(self) -> Counts:
        """Sums for metrics; ``open`` is the number of open connections."""
        return self._service.counts

    @property
    def memory_used_bytes(self) -> int:
        """Memory that messages in flight have reserved."""
        return self._service.budget.used_bytes

    async def listen(self, sock: socket.socket) -> None:
        """Accept on a bound socket, which is ours from here on and closed when we drain.

        Other processes may share it: each closes only its own descriptor, and the queue of new
        clients stays with those who still accept.
        """
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: SmtpConnection(self._service, loop),
            sock=sock,
            backlog=self._service.limits.backlog,
        )

    async def drain(self, timeout_s: float) -> int:
        """Stop accepting, let messages on their way end, and close; the number that was cut off.

        Whoever waits for a command hears 421; whoever is in DATA, or waits for the intake, gets its
        reply first. New clients stay in the shared queue for the other workers. After
        ``timeout_s`` the rest is dropped: nothing was promised to it.
        """
        service = self._service
        service.draining = True
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        idle = asyncio.Event()
        service.on_idle = idle.set
        for connection in list(service.connections):
            connection.begin_drain()
        if not service.idle:
            try:
                async with asyncio.timeout(timeout_s):
                    await idle.wait()
            except TimeoutError:
                service.log.warning("smtp_drain_cut", connections=len(service.connections))
        left = list(service.connections)
        for connection in left:
            connection.abort()
        return len(left)


async def start_server(  # noqa: PLR0913  the list of what the composition root gives
    sock: socket.socket,
    *,
    settings: SmtpSettings,
    clock: Clock,
    ids: IdSource,
    recipients: RecipientPolicy,
    intake: Intake[F],
    on_connect: OnConnect[F],
    log: Logger,
    temporary: Path,
    tls: TlsContexts | None = None,
    limits: Limits | None = None,
    per_client: ClientLimits | None = None,
    dsn_kept: Callable[[], bool] = lambda: False,
    submission: Submission | None = None,
    greeted: RemembersClients | None = None,
) -> SmtpServer[F]:
    """Serve SMTP on ``sock``, an already bound socket that is given over (see ``listen``).

    ``temporary`` is an existing directory for large messages in flight, on the file system of the
    records. ``limits`` takes the place of those from ``settings``; ``per_client`` is where limits
    that count for all workers together go. ``dsn_kept`` says whether DSN is announced: only who can
    pass all requests of RFC 3461 on may promise to. ``submission`` turns SMTP AUTH on, under TLS.
    ``greeted`` remembers who waited for the greeting.
    """
    bounds = limits or Limits.from_settings(settings)
    service = Service(
        hostname=settings.hostname,
        limits=bounds,
        clock=clock,
        ids=ids,
        recipients=recipients,
        intake=intake,
        on_connect=on_connect,
        tls=tls,
        log=log,
        temporary=temporary,
        per_client=per_client
        or NetworkLimits(settings, NetworkCounts.private(now_s=clock.monotonic_s)),
        unlimited=Networks(settings.unlimited_networks),
        proxies=Networks(settings.proxy_networks),
        dsn_kept=dsn_kept,
        submission=submission,
        greeted=greeted,
        budget=ByteBudget(bounds.memory_budget_bytes),
    )
    server = SmtpServer(service)
    await server.listen(sock)
    return server
