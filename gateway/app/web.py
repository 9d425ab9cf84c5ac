"""The web role: serves the status page on the inherited socket."""

import asyncio
import socket
import threading
from dataclasses import dataclass, field
from importlib.metadata import version

import structlog
import uvicorn

from gateway.app.life import Life, Seat
from gateway.app.renewal import Renewal
from gateway.app.routing import Routing
from gateway.core.clock import SystemClock
from gateway.core.errors import IndexUnavailableError
from gateway.net.listening import bind
from gateway.settings import Settings
from gateway.store.index import Index
from gateway.store.summary import Counts
from gateway.web.app import Status, build
from models.bundle import BundleError
from models.registry import Registry

_log = structlog.get_logger()
_DAY_MS = 86_400_000
_FRESH_S = 2.0


@dataclass(slots=True)
class IndexStatus:
    """Reads index, snapshot and model pointer; remembers the answer for two seconds."""

    settings: Settings
    routing: Routing
    clock: SystemClock = field(default_factory=SystemClock)
    _index: Index | None = None
    _last: Status | None = None
    _read_at_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> Status:
        """The present state."""
        with self._lock:
            now = self.clock.monotonic_s()
            if self._last is None or now - self._read_at_s > _FRESH_S:
                self._last, self._read_at_s = self._fresh(), now
            return self._last

    def _fresh(self) -> Status:
        counts: Counts | None = None
        waiting, problem = 0, ""
        try:
            if self._index is None:
                self._index = Index.open(
                    self.settings.index_url, node=self.settings.node.name, busy_timeout_s=1.0
                )
            counts = self._index.summary.since(self.clock.now_ms() - _DAY_MS)
            now = self._index.listings.counts()
            waiting = sum(number for state, number in now.items() if state.value in _WAITING)
        except IndexUnavailableError as error:
            problem = str(error)
            if self._index is not None:
                self._index.close()
                self._index = None
        self.routing.refresh()
        generation = self.routing.current
        return Status(
            version=version("schwamm"),
            smtp=f"{self.settings.smtp.host}:{self.settings.smtp.port}",
            node=self.settings.node.name,
            model=_model(self.settings),
            generation=generation.number,
            domains=len(generation.domains),
            messages=counts.messages if counts else None,
            copies=dict(counts.copies) if counts else {},
            waiting=waiting,
            problem=problem,
        )


_WAITING = frozenset({"queued", "released"})


def _model(settings: Settings) -> str:
    try:
        return Registry(settings.models_directory).pointed()
    except BundleError:
        return ""


async def run_web(settings: Settings, renewal: Renewal | None = None) -> None:
    """Serve until it is time to stop."""
    seat = Seat.taken(settings)
    given = seat.listener >= 0
    address = (settings.web.host, settings.web.port)
    sock = socket.socket(fileno=seat.listener) if given else bind(*address)
    if renewal is not None:
        renewal.keep("web", sock, None if given else address)
    source = IndexStatus(settings, Routing(settings.paths.state / "generations"))
    server = uvicorn.Server(
        uvicorn.Config(
            build(source, language=settings.node.language),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=5,
        )
    )
    serving = asyncio.create_task(server._serve([sock]))
    life = Life(seat=seat, renewal=renewal)
    await life.run()
    server.should_exit = True
    await life.beat_while(serving)
