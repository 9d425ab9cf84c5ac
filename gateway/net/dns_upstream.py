"""One name server: its socket, the questions in flight, and whether it is alive.

All questions to a server share one connected UDP socket, so the kernel drops what comes from
elsewhere. A forger who does not see our traffic has to guess the port, the 16-bit id and the case
of the question's letters (``dns_wire.randomise_case``), and does so for one port only as long as it
lasts: after ``_QUERIES_PER_PORT`` questions a new socket, hence a new random port, takes over. A
socket per question would cost twice the CPU time.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Protocol

from gateway.net.dns_wire import make_question, matches, query_message, randomise_case

_QUERIES_PER_PORT = 1000
_OLD_PORT_LISTENS_S = 10.0
_MAX_IN_FLIGHT = 4096  # far fewer than the 65,536 ids, so a free one is found at once
_MISSES_BEFORE_PROBE = 3
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 30.0
_PROBE = make_question("", "NS")  # every server can say something about the root


class Asker(Protocol):
    """Whoever put a question: hears of the answer, or that nobody is there."""

    def answered(self, server: "Upstream", message: bytes) -> None:
        """A message that answers the question came."""

    def mismatched(self, server: "Upstream") -> None:
        """A message with the right id came, but for another question; it was dropped."""

    def case_lost(self, server: "Upstream") -> None:
        """The question came back, but not in the letters' case that it was sent in."""

    def unreachable(self, server: "Upstream", cause: OSError) -> None:
        """The machine says that nothing listens there, or that there is no way to it."""


class Upstream:
    """A name server at ``address`` (IP and port). Bound to the running event loop.

    After three tries in a row without any answer the server itself is probed, with a question that
    no dead zone can spoil; only when that fails too it counts as down, and is probed again with
    growing pauses until it answers.
    """

    def __init__(
        self,
        address: tuple[str, int],
        timeout_s: float,
        on_availability: Callable[[str, bool], None],
    ) -> None:
        self.address = address
        self.up = True
        self.mismatches = 0  # answers to other questions: forgery or a confused server
        self._timeout_s = timeout_s
        self._on_availability = on_availability
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._old_sockets: list[socket.socket] = []
        self._sent_on_port = 0
        self._in_flight: dict[int, tuple[bytes, Asker]] = {}
        self._misses = 0
        self._pause_s = _FIRST_PAUSE_S
        self._probe: _Probe | None = None
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def name(self) -> str:
        """``IP:PORT``, as settings write it."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def ask(self, question: bytes, asker: Asker) -> int | None:
        """Send a question; the id names it until ``forget``. None: too many are in flight.

        Raises:
            OSError: when it could not even be sent.
        """
        if len(self._in_flight) >= _MAX_IN_FLIGHT:
            return None
        query_id = int.from_bytes(os.urandom(2), "big")
        while query_id in self._in_flight:
            query_id = int.from_bytes(os.urandom(2), "big")
        spelled = randomise_case(question)
        # A full send buffer is as good as a datagram lost on its way: the timer will tell.
        with contextlib.suppress(BlockingIOError):
            self._open_socket().send(query_message(query_id, spelled))
        self._sent_on_port += 1
        self._in_flight[query_id] = (spelled, asker)
        return query_id

    def forget(self, query_id: int) -> None:
        """No answer to this question is wanted any more."""
        self._in_flight.pop(query_id, None)

    def missed(self) -> None:
        """A try ended without any answer."""
        self._misses += 1
        if self._misses >= _MISSES_BEFORE_PROBE and self.up and self._probe is None:
            self._send_probe()

    def close(self) -> None:
        """Give back sockets and timers; askers hear nothing more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._probe is not None:
            self._probe.timer.cancel()
        if self._socket is not None:
            self._old_sockets.append(self._socket)
            self._socket = None
        for old in list(self._old_sockets):
            self._close_socket(old)
        self._in_flight.clear()

    def _open_socket(self) -> socket.socket:
        if self._socket is not None and self._sent_on_port < _QUERIES_PER_PORT:
            return self._socket
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        fresh = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            fresh.connect(self.address)
        except OSError:
            fresh.close()
            raise
        if self._socket is not None:
            old = self._socket
            self._old_sockets.append(old)
            self._later(_OLD_PORT_LISTENS_S, lambda: self._close_socket(old))
        self._socket, self._sent_on_port = fresh, 0
        self._loop.add_reader(fresh.fileno(), self._receive, fresh)
        return fresh

    def _close_socket(self, old: socket.socket) -> None:
        if old in self._old_sockets:
            self._old_sockets.remove(old)
            self._loop.remove_reader(old.fileno())
            old.close()

    def _drop_socket(self, failed: socket.socket) -> None:
        if failed is self._socket:
            self._socket = None
            self._old_sockets.append(failed)
        self._close_socket(failed)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = self._loop.call_later(seconds, run)
        self._timers.add(timer)

    def _receive(self, source: socket.socket) -> None:
        try:
            message = source.recv(65_535)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop_socket(source)  # libuv stops watching a socket after its first error
            self._nobody_there(error)
            return
        if len(message) < 12:
            return
        found = self._in_flight.get(int.from_bytes(message[:2], "big"))
        if found is None:
            return
        spelled, asker = found
        if not matches(message, spelled):
            self.mismatches += 1
            if matches(message.lower(), spelled.lower()):
                asker.case_lost(self)
            else:
                asker.mismatched(self)
            return
        self._alive()
        asker.answered(self, message)

    def _nobody_there(self, error: OSError) -> None:
        waiting = {id(asker): asker for _, asker in self._in_flight.values()}
        for asker in waiting.values():
            asker.unreachable(self, error)

    def _alive(self) -> None:
        self._misses = 0
        self._pause_s = _FIRST_PAUSE_S
        if not self.up:
            self.up = True
            self._on_availability(self.name, True)

    def _send_probe(self) -> None:
        self._probe = _Probe(self, self._loop, self._timeout_s)
        self._probe.send()

    def probe_ended(self, answered: bool) -> None:
        """What the probe found out; called by the probe only."""
        self._probe = None
        if answered:
            return  # ``_alive`` was told by the answer itself
        if self.up:
            self.up = False
            self._on_availability(self.name, False)
        self._later(self._pause_s, self._send_probe)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)


class _Probe:
    """One question of our own that tells whether the server is alive."""

    def __init__(self, server: Upstream, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._server = server
        self._query_id: int | None = None
        self.timer = loop.call_later(timeout_s, self._end)

    def send(self) -> None:
        """Ask; an end follows in any case."""
        try:
            self._query_id = self._server.ask(_PROBE.wire, self)
        except OSError as error:
            self.unreachable(self._server, error)

    def answered(self, server: Upstream, message: bytes) -> None:
        """Anything at all is a sign of life, even a refusal."""
        del server, message
        self._end(answered=True)

    def mismatched(self, server: Upstream) -> None:
        """No sign of life: anyone could have sent it."""

    def case_lost(self, server: Upstream) -> None:
        """The root has no letters."""

    def unreachable(self, server: Upstream, cause: OSError) -> None:
        """Nobody there: no need to wait for the timer."""
        del server, cause
        self._end()

    def _end(self, *, answered: bool = False) -> None:
        self.timer.cancel()
        if self._query_id is not None:
            self._server.forget(self._query_id)
        self._server.probe_ended(answered)
