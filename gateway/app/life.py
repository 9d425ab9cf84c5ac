"""The life of one role: heartbeat, signals, the supervisor's lifeline, and a tick every second."""

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

import structlog

from gateway.app.renewal import Renewal
from gateway.core.clock import Clock, SystemClock
from gateway.net.listening import activated
from gateway.settings import Settings
from gateway.telemetry.slots import Slots

SUPERVISED = "SCHWAMM_SUPERVISED"  # "slot,lifeline fd,listener fd": set by the supervisor
_TICK_S = 1.0
_log = structlog.get_logger()


def orphaned() -> bool:
    """Whether this process has a supervisor that is dead; asked before anything is begun."""
    given = os.environ.get(SUPERVISED, "")
    if not given:
        return False
    lifeline = int(given.split(",")[1])
    # Nobody writes into the pipe: it is readable when its only other end was closed.
    return bool(select.select([lifeline], [], [], 0)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where this process sits: its slot in shared memory and what it inherited."""

    slots: Slots
    slot: int
    lifeline: int = -1
    listener: int = -1

    @classmethod
    def taken(cls, settings: Settings) -> Self:
        """The seat the supervisor gave us, or one of our own when a role runs by itself.

        systemd's socket activation is understood too: the first passed socket is the listener.
        """
        run = settings.paths.state / "run"
        given = os.environ.pop(SUPERVISED, "")
        if given:
            slot, lifeline, listener = (int(number) for number in given.split(","))
            slots = Slots.open(run / "slots")
            return cls(slots=slots, slot=slot, lifeline=lifeline, listener=listener)
        passed = activated()
        sock = passed.get("smtp") or passed.get("web")
        return cls(
            slots=Slots.open(run / f"slots-{os.getpid()}"),
            slot=0,
            listener=sock.detach() if sock else -1,
        )


@dataclass(slots=True, kw_only=True)
class Life:
    """Runs until SIGTERM, SIGINT or the supervisor's death; ``on_tick`` is called every second.

    ``renewal`` answers SIGHUP where no supervisor does.
    """

    seat: Seat
    clock: Clock = field(default_factory=SystemClock)
    on_tick: Callable[[], Awaitable[None]] | None = None
    renewal: Renewal | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Beat and tick until it is time to stop."""
        loop = asyncio.get_running_loop()

        def stop(_number: int, _frame: object) -> None:
            if self.renewal is not None:
                self.renewal.terminate()
            with contextlib.suppress(RuntimeError):  # the loop is closed: we are leaving already
                loop.call_soon_threadsafe(self.stopping.set)

        # Not the loop's own handlers: they end with the loop, and a service manager that signals
        # the whole group would then cut off the last steps of a process that leaves in order.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        self._answer_hangup(loop)
        if self.seat.lifeline >= 0:
            loop.add_reader(self.seat.lifeline, self._supervisor_is_gone)
        while not self.stopping.is_set():
            self.beat()
            await self._tick()
            try:
                async with asyncio.timeout(_TICK_S):
                    await self.stopping.wait()
            except TimeoutError:
                continue

    def _answer_hangup(self, loop: asyncio.AbstractEventLoop) -> None:
        renewal = self.renewal
        if self.seat.lifeline >= 0 or renewal is None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor's business
            return

        def begin() -> None:
            if not renewal.wanted and renewal.ask():
                self.stopping.set()

        def hang_up(_number: int, _frame: object) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(begin)

        signal.signal(signal.SIGHUP, hang_up)

    def beat(self) -> None:
        """Tell the supervisor that this process lives."""
        self.seat.slots.heartbeat(self.seat.slot, int(self.clock.monotonic_s() * 1000))

    async def beat_while(self, work: Awaitable[object]) -> None:
        """Wait for ``work`` (a drain, say) and go on beating meanwhile."""
        task = asyncio.ensure_future(work)
        while not task.done():
            self.beat()
            await asyncio.wait({task}, timeout=_TICK_S)
        await task

    def _supervisor_is_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self.seat.lifeline)
        _log.error("the supervisor is gone; finishing what is under way")
        self.stopping.set()

    async def _tick(self) -> None:
        if self.on_tick is None:
            return
        try:
            await self.on_tick()
        except Exception:  # noqa: BLE001  a border: the next tick tries again
            _log.exception("tick failed")
