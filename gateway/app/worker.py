"""An SMTP worker: takes mail on the shared listening socket, scores it, hands it on or holds it."""

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import structlog

from gateway.app.availability import AvailabilityJournal
from gateway.app.life import Life, Seat
from gateway.app.models import ServingModels
from gateway.app.renewal import Renewal
from gateway.app.routing import Routing, ServedRecipients, all_pass_dsn_on
from gateway.app.scanning import build_scanner, connection_checks
from gateway.checks.check import ConnectionCheck, ConnectionFacts
from gateway.core.clock import SystemClock
from gateway.core.dns import Budget
from gateway.core.ids import IdSource
from gateway.core.mail import Mail, Session
from gateway.core.reply import Reply
from gateway.delivery.marks import Marks, load_key
from gateway.delivery.notices import Notices
from gateway.delivery.relay import Relay
from gateway.net.callout import Callout
from gateway.net.listening import bind
from gateway.net.maildir import MaildirDelivery
from gateway.net.pool import Pool
from gateway.net.resolver import make_resolver
from gateway.settings import Settings
from gateway.smtp.intake import Intake
from gateway.smtp.limits import NetworkLimits
from gateway.smtp.server import start_server
from gateway.smtp.tls import CertificateFiles, TlsStore
from gateway.store.features import FeatureLog
from gateway.store.journal import Journal
from gateway.store.records import FileRecords
from gateway.telemetry.greeted import Greeted
from gateway.telemetry.networks import NetworkCounts
from gateway.telemetry.slots import STRIKES_TO_HOLD
from models.registry import Registry

if TYPE_CHECKING:
    from gateway.app.submission import Submission

_log = structlog.get_logger()


class SlotGuard:
    """Writes into this worker's slot which mail its CPU is on, and reads who has two strikes."""

    def __init__(self, seat: Seat) -> None:
        self._slots = seat.slots
        self._slot = seat.slot

    def enter(self, sha256: str) -> None:
        """Name the mail."""
        self._slots.scanning(self._slot, bytes.fromhex(sha256))

    def leave(self) -> None:
        """The CPU is free for others."""
        self._slots.scanning(self._slot)

    def is_dangerous(self, sha256: str) -> bool:
        """Whether workers died over this mail often enough."""
        return self._slots.strikes(bytes.fromhex(sha256)) >= STRIKES_TO_HOLD


async def run_worker(settings: Settings, renewal: Renewal | None = None) -> None:
    """Serve SMTP until it is time to stop; then finish every message under way."""
    seat = Seat.taken(settings)
    clock = SystemClock()
    state = settings.paths.state
    journal = Journal(state / "journal", "smtp", clock)
    availability = AvailabilityJournal(journal, clock)
    routing = Routing(state / "generations")
    models = ServingModels(Registry(settings.models_directory, public_key=settings.model_key))
    models.refresh()
    resolver = make_resolver(settings.dns, clock=clock, on_availability=availability.resolver)
    lists = connection_checks(settings, resolver, on_health=availability.block_list)
    marks = Marks(load_key(state / "mark.key"))
    hostname = settings.smtp.hostname
    pool = Pool(
        settings.delivery,
        hostname=hostname,
        clock=clock,
        on_availability=availability.next_hop,
    )
    records = FileRecords(state / "records", state / "tmp")
    kept_for_days = settings.retention.features_days
    features = FeatureLog(state / "features", "smtp", clock) if kept_for_days else None
    guard = SlotGuard(seat)
    ids = IdSource(settings.node.name)
    intake = Intake(
        node=settings.node.name,
        hostname=hostname,
        scanner=build_scanner(settings, models=models, guard=guard, shadow=models.shadow),
        relay=Relay(
            connections=pool,
            maildirs=MaildirDelivery(clock),
            generation=lambda: routing.current,
            marks=marks,
            hostname=hostname,
            clock=clock,
        ),
        records=records,
        journal=journal,
        strikes=guard,
        marks=marks,
        clock=clock,
        features=features,
        notices=Notices(
            records=records,
            generation=lambda: routing.current,
            ids=ids,
            node=settings.node.name,
            hostname=hostname,
            clock=clock,
        ),
    )

    async def take(mail: Mail, facts: asyncio.Future[ConnectionFacts]) -> Reply:
        # Where a person who logged in dials in from says nothing about their mail.
        about = None if mail.session.authenticated_as else facts
        return await intake.take(mail, routing.current, about)

    nothing_to_ask: asyncio.Future[ConnectionFacts] = asyncio.get_running_loop().create_future()
    nothing_to_ask.set_result(ConnectionFacts())

    def on_connect(session: Session) -> asyncio.Future[ConnectionFacts]:
        if not lists:
            return nothing_to_ask
        return asyncio.create_task(_look_up(session.ip, lists, settings.dns.budget_s))

    submission = _submission(settings, routing)
    dsn = False

    async def tick() -> None:
        nonlocal dsn
        routing.refresh()
        dsn = all_pass_dsn_on(routing.current, pool.offers_dsn)
        models.refresh()
        if submission is not None:
            submission.refresh()

    server = await start_server(
        _listener(settings, seat, renewal),
        settings=settings.smtp,
        clock=clock,
        ids=ids,
        recipients=ServedRecipients(routing, Callout(pool, clock)),
        intake=take,
        on_connect=on_connect,
        log=_log,
        temporary=state / "tmp",
        tls=_tls(settings, clock),
        dsn_kept=lambda: dsn,
        submission=submission,
        greeted=Greeted.open(state / "run" / "greeted", clock),
        per_client=NetworkLimits(settings.smtp, _counts(settings, seat, clock)),
    )
    availability.note("process", f"smtp-{os.getpid()}", up=True)
    life = Life(seat=seat, clock=clock, on_tick=tick, renewal=renewal)
    await life.run()
    await life.beat_while(server.drain(settings.smtp.drain_timeout_s))
    await pool.close()
    pool.abort()
    for check in lists:
        await check.aclose()
    await resolver.aclose()
    availability.note("process", f"smtp-{os.getpid()}", up=False)
    journal.close()
    records.close()
    if features is not None:
        features.close()


async def _look_up(
    ip: str, checks: tuple[ConnectionCheck, ...], budget_s: float
) -> ConnectionFacts:
    budget = Budget(budget_s)
    outcomes = [outcome for check in checks for outcome in await check.examine_client(ip, budget)]
    return ConnectionFacts(outcomes=tuple(outcomes))


def _listener(settings: Settings, seat: Seat, renewal: Renewal | None) -> socket.socket:
    given = seat.listener >= 0
    address = (settings.smtp.host, settings.smtp.port)
    sock = socket.socket(fileno=seat.listener) if given else bind(*address)
    if renewal is not None:
        renewal.keep("smtp", sock, None if given else address)
    return sock


def _counts(settings: Settings, seat: Seat, clock: SystemClock) -> NetworkCounts:
    """Shared by the workers of one supervisor; a worker that runs by itself counts for itself."""
    if seat.lifeline < 0:
        return NetworkCounts.private(now_s=clock.monotonic_s)
    return NetworkCounts.open(
        settings.paths.state / "run" / "networks-2",
        slots=seat.slots,
        slot=seat.slot,
        now_s=clock.monotonic_s,
    )


def _submission(settings: Settings, routing: Routing) -> "Submission | None":
    if not settings.smtp.auth:
        return None
    from gateway.app.submission import Submission  # noqa: PLC0415  Argon2 only where it is wanted

    return Submission(routing.directory, routing)


def _tls(settings: Settings, clock: SystemClock) -> TlsStore:
    given = None
    if settings.smtp.tls_certificate:
        given = CertificateFiles(
            certificate=settings.smtp.tls_certificate,
            key=settings.smtp.tls_key or settings.smtp.tls_certificate,
        )
    return TlsStore(
        hostname=settings.smtp.hostname,
        directory=settings.paths.state / "tls",
        clock=clock,
        given=given,
    )
