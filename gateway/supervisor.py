"""One process that binds the sockets, starts the roles, restarts what dies and kills what hangs.

It handles no mail itself. Children get the listening sockets as inherited descriptors, a slot in
shared memory, and the read end of a pipe that only the supervisor holds open: when the supervisor
is killed they notice, drain and leave.
"""

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.core.errors import ConfigError, GatewayError
from gateway.net.listening import activated, bind
from gateway.settings import Settings
from gateway.store.ownership import become
from gateway.telemetry.slots import Slots

_START_S = 60.0  # until the first heartbeat: a large index may have to migrate
_LONGEST_PAUSE_S = 10.0
_PORT_PATIENCE_S = 5.0
_log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class _Child:
    role: str
    slot: int
    process: subprocess.Popen[bytes]
    started_s: float
    draining_since_s: float | None = None
    killed: bool = False


@dataclass(slots=True)
class _Seat:
    """One place a child has to fill; it remembers how often that failed lately."""

    role: str
    child: _Child | None = None
    failures: int = 0
    not_before_s: float = 0.0


@dataclass(slots=True)
class _Successor:
    """The set of children that a reload is starting beside the present one."""

    settings: Settings
    listeners: dict[str, socket.socket]
    seats: list[_Seat]


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Keeps ``workers`` SMTP processes, one web process and one keeper running.

    ``reload`` reads the configuration anew and raises ConfigError if it cannot be used; then the
    old one stays.
    """

    config: Path
    settings: Settings
    reload: Callable[[], Settings]
    slots: Slots
    announce: Callable[[Settings], None]
    _listeners: dict[str, socket.socket] = field(default_factory=dict)
    _seats: list[_Seat] = field(default_factory=list)
    _leaving: list[_Child] = field(default_factory=list)
    _successor: _Successor | None = None
    _stopping: bool = False
    _announced: bool = False
    _lifeline: tuple[int, int] = (-1, -1)
    _family: int = -1

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit code."""
        passed = activated()
        patience_s = self._join_family()
        smtp, web = self.settings.smtp, self.settings.web
        self._listeners = {
            "smtp": passed.get("smtp") or bind(smtp.host, smtp.port, patience_s=patience_s),
            "web": passed.get("web") or bind(web.host, web.port, patience_s=patience_s),
        }
        become(self.settings.node.user, owning=self.settings.paths.state)
        self._lifeline = os.pipe()
        self._seats = [_Seat(role) for role in _roles(self.settings)]
        with self._signals() as wakeups:
            try:
                while not self._finished():
                    self._fill_seats()
                    self._succeed()
                    self._announce_when_up()
                    for number in _wait(wakeups, 0.2):
                        self._on_signal(number)
                    self._reap()
                    self._kill_what_hangs()
            finally:
                self._kill_all()
        return 0

    def _join_family(self) -> float:
        """How long the ports may stay taken: children of a killed supervisor finish their mail.

        Every child inherits a shared lock, which is gone when the last of them is.
        """
        path = self.settings.paths.state / "run" / "family"
        self._family = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._family, fcntl.LOCK_EX | fcntl.LOCK_NB)
            patience_s = _PORT_PATIENCE_S
        except BlockingIOError:
            _log.warning("children of a killed supervisor are still finishing their mail")
            patience_s = self.settings.smtp.drain_timeout_s + _PORT_PATIENCE_S
        fcntl.flock(self._family, fcntl.LOCK_SH)
        return patience_s

    def _finished(self) -> bool:
        return self._stopping and not self._leaving and not any(seat.child for seat in self._seats)

    def _fill_seats(self) -> None:
        now = time.monotonic()
        for seat in self._seats:
            if seat.child is None and not self._stopping and now >= seat.not_before_s:
                seat.child = self._start(seat.role, self._listeners)

    def _start(self, role: str, listeners: dict[str, socket.socket]) -> _Child:
        used = {child.slot for child in self._children()}
        slot = next(number for number in range(10_000) if number not in used)
        self.slots.clear(slot)
        listener = listeners[role].fileno() if role in listeners else -1
        passed = [self._lifeline[0], self._family, *([listener] if listener >= 0 else [])]
        arguments = ["serve", "--config", str(self.config), "--role", role]
        environment = {
            **os.environ,
            "SCHWAMM_SUPERVISED": f"{slot},{self._lifeline[0]},{listener}",
        }
        process = subprocess.Popen(  # noqa: S603  our own module, no shell
            # -P: a folder "gateway" where we were started is not ours.
            [sys.executable, "-P", "-m", "gateway", *arguments],
            pass_fds=passed,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        _log.info("child started", child=role, pid=process.pid, slot=slot)
        return _Child(role=role, slot=slot, process=process, started_s=time.monotonic())

    def _children(self) -> Iterator[_Child]:
        yield from self._leaving
        if self._successor is not None:
            yield from (seat.child for seat in self._successor.seats if seat.child)
        yield from (seat.child for seat in self._seats if seat.child)

    def _announce_when_up(self) -> None:
        if self._announced or self._stopping:
            return
        beats = [
            seat.child and self.slots.last_heartbeat_ms(seat.child.slot) for seat in self._seats
        ]
        if all(beats):
            self._announced = True
            self.announce(self.settings)

    def _on_signal(self, number: int) -> None:
        if number in {signal.SIGTERM, signal.SIGINT} and not self._stopping:
            _log.info("stopping", signal=signal.Signals(number).name)
            self._stopping = True
            if self._successor is not None:
                self._leaving += [seat.child for seat in self._successor.seats if seat.child]
                self._successor = None
            for child in self._children():
                self._drain(child)
        elif number == signal.SIGHUP and not self._stopping:
            self._reload()

    def _reload(self) -> None:
        """Start a second set of children with the new configuration beside the old one.

        The old ones drain only when every new one lives; until then nothing was changed.
        """
        try:
            if self._successor is not None:
                raise ConfigError("the reload before this one is still under way")
            settings = self.reload()
            if settings.paths.state != self.settings.paths.state:
                raise ConfigError("another paths.state needs a restart")
            listeners = self._rebound(settings)
        except GatewayError as error:
            _log.error("reload refused, the old configuration stays", reason=str(error))
            return
        successor = _Successor(settings, listeners, [_Seat(role) for role in _roles(settings)])
        self._successor = successor
        for seat in successor.seats:
            seat.child = self._start(seat.role, listeners)

    def _rebound(self, settings: Settings) -> dict[str, socket.socket]:
        kept = dict(self._listeners)
        for role in ("smtp", "web"):
            before, after = getattr(self.settings, role), getattr(settings, role)
            if before.port == after.port and before.host != after.host:
                raise ConfigError(f"another {role}.host on the same port needs a restart")
            if before.port != after.port:
                kept[role] = bind(after.host, after.port)
        return kept

    def _succeed(self) -> None:
        """Let the new children take over once all of them live, or give them up if one cannot."""
        new = self._successor
        if new is None or self._stopping:
            return
        children = [seat.child for seat in new.seats if seat.child]
        if any(child.process.poll() is not None for child in children):
            self._successor = None
            self._let_go(children, {r: s for r, s in new.listeners.items() if s.fileno() >= 0})
            _log.error("reload refused, the old configuration stays", reason="see the line above")
            return
        if not all(self.slots.last_heartbeat_ms(child.slot) for child in children):
            return
        self._successor = None
        old = [seat.child for seat in self._seats if seat.child]
        abandoned, self._listeners = self._listeners, new.listeners
        self.settings, self._seats = new.settings, new.seats
        self._let_go(old, abandoned)
        _log.info("reloaded", settings=self.settings.digest)

    def _let_go(self, children: list[_Child], listeners: dict[str, socket.socket]) -> None:
        for sock in listeners.values():
            if sock not in self._listeners.values():
                sock.close()
        self._leaving.extend(children)
        for child in children:
            self._drain(child)

    def _drain(self, child: _Child) -> None:
        child.draining_since_s = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(signal.SIGTERM)

    def _reap(self) -> None:
        for gone in [child for child in self._leaving if child.process.poll() is not None]:
            self._leaving.remove(gone)
            self._note_end(gone)
        for seat in self._seats:
            child = seat.child
            if child is None or child.process.poll() is None:
                continue
            seat.child = None
            if child.process.returncode == 2 and not self._announced and not self._stopping:
                raise ConfigError(f"the {child.role} process refused to start; it said why above")
            self._note_end(child)
            lived_s = time.monotonic() - child.started_s
            seat.failures = 0 if lived_s > _LONGEST_PAUSE_S else seat.failures + 1
            pause_s = min(0.1 * 2**seat.failures, _LONGEST_PAUSE_S)
            seat.not_before_s = time.monotonic() + (pause_s if seat.failures > 1 else 0)

    def _note_end(self, child: _Child) -> None:
        code = child.process.returncode
        level = _log.info if code == 0 else _log.error
        level("child ended", child=child.role, pid=child.process.pid, code=code)
        digest = self.slots.scanned_by(child.slot)
        if digest is not None and code != 0:
            strikes = self.slots.strike(digest)
            _log.error("died over a mail", digest=digest.hex(), strikes=strikes)
        self.slots.clear(child.slot)

    def _kill_what_hangs(self) -> None:
        now = time.monotonic()
        for child in self._children():
            beat_s = self.slots.last_heartbeat_ms(child.slot) / 1000
            silent_s = now - beat_s if beat_s else now - child.started_s
            hangs = silent_s > (self.settings.smtp.hang_timeout_s if beat_s else _START_S)
            drained_s = now - child.draining_since_s if child.draining_since_s else 0.0
            if (hangs or drained_s > self.settings.smtp.drain_timeout_s + 5) and not child.killed:
                _log.error("killing a child", child=child.role, pid=child.process.pid, hangs=hangs)
                child.killed = True
                child.process.kill()

    def _kill_all(self) -> None:
        for child in self._children():
            child.process.kill()
            child.process.wait()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        receive, send = os.pipe()
        os.set_blocking(receive, False)
        os.set_blocking(send, False)
        caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        previous = {number: signal.signal(number, lambda *_: None) for number in caught}
        old = signal.set_wakeup_fd(send)
        try:
            yield receive
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in previous.items():
                signal.signal(number, handler)
            os.close(receive)
            os.close(send)


def _roles(settings: Settings) -> list[str]:
    workers = settings.smtp.workers or os.cpu_count() or 1
    return ["keeper", "web", *["smtp"] * workers]


def _wait(wakeups: int, timeout_s: float) -> bytes:
    with selectors.DefaultSelector() as selector:
        selector.register(wakeups, selectors.EVENT_READ)
        if not selector.select(timeout_s):
            return b""
    return os.read(wakeups, 4096)
