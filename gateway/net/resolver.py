"""Asks the name servers: cached, each question once at a time, within each mail's budget.

An asynchronous stub resolver (RFC 1034 §5.3.1) for one event loop, uvloop included. A look-up is
driven by callbacks of socket and timers, not by a task of its own: that, the shared socket and the
reader in ``dns_wire`` make a query cost a fraction of dnspython's resolver
(``tests/perf/bench_dns.py``). Nothing here validates DNSSEC; run a validating resolver on this
machine and name it in the settings where that matters.
"""

import asyncio
import ipaddress
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gateway.core.clock import Clock, SystemClock
from gateway.core.dns import (
    Answer,
    Budget,
    DnsTimeoutError,
    MalformedAnswerError,
    NoServerError,
    RefusedError,
    ServfailError,
)
from gateway.core.errors import ConfigError, ResolverError
from gateway.net.dns_cache import DnsCache, Key
from gateway.net.dns_upstream import Upstream
from gateway.net.dns_wire import (
    Question,
    Response,
    make_question,
    matches,
    query_message,
    read_response,
)
from gateway.settings import DnsSettings

_RESOLV_CONF = Path("/etc/resolv.conf")
_TRIES = 3

Availability = Callable[[str, bool], None]


class DnsResolver:
    """The gateway's ``Resolver``. Make one per process and event loop, ``aclose`` it at the end.

    Args:
        servers: ``IP`` or ``IP:PORT``, asked in this order; one that is down is passed over.
        timeout_s: one try; up to three tries are made.
        cache_entries: the most questions whose answers are kept.
        on_availability: hears ``(server, up)`` whenever a server goes down or comes back.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        timeout_s: float = 1.0,
        cache_entries: int = 20_000,
        clock: Clock | None = None,
        on_availability: Availability = lambda _server, _up: None,
    ) -> None:
        self._addresses = [parse_server(server) for server in servers]
        self._timeout_s = timeout_s
        self._cache = DnsCache(cache_entries, clock or SystemClock())
        self._on_availability = on_availability
        self._closed = False
        self._upstreams: list[Upstream] = []
        self._lookups: dict[Key, _Lookup] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.queries_sent = 0  # tries put on the network, TCP included

    async def query(self, name: str, rdtype: str, budget: Budget) -> Answer:
        """Ask for ``name`` and a record type; see ``core.dns`` for the form of the answer.

        Raises:
            ResolverError: timeout, SERVFAIL, refusal, malformed answer or name, budget, no server.
        """
        question = make_question(name, rdtype)
        key = (question.name, rdtype)
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        lookup = self._lookups.get(key)
        if lookup is None:
            if self._closed:
                raise NoServerError("the resolver is closed")
            budget.spend()
            lookup = self._lookups[key] = _Lookup(self, question)
            lookup.start()
        return await lookup.wait(budget)

    async def aclose(self) -> None:
        """Give back sockets and timers; whoever still waits hears ``NoServerError``."""
        self._closed = True
        for lookup in list(self._lookups.values()):
            lookup.fail(NoServerError("the resolver is closed"))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for upstream in self._upstreams:
            upstream.close()
        self._upstreams.clear()

    def pick(self, tried: Sequence[Upstream]) -> Upstream | None:
        """The next server to ask: up, and asked least often by this look-up."""
        if not self._upstreams:
            self._upstreams = [
                Upstream(address, self._timeout_s, self._on_availability)
                for address in self._addresses
            ]
        living = [upstream for upstream in self._upstreams if upstream.up]
        return min(living, key=tried.count, default=None)

    def ended(self, question: Question, found: Response | ResolverError) -> Answer | None:
        """Keep what a look-up found."""
        self._lookups.pop(question.key, None)
        if isinstance(found, ResolverError):
            if not isinstance(found, NoServerError):
                self._cache.put_failure(question.key, found)
            return None
        answer = Answer(records=found.records, rcode=found.rcode, ttl_s=found.ttl_s or 0)
        self._cache.put(question.key, answer, found.ttl_s)
        return answer

    def over_tcp(self, lookup: "_Lookup", upstream: Upstream) -> None:
        """Ask again over TCP: the answer did not fit (RFC 7766) or may be forged."""
        task = asyncio.get_running_loop().create_task(self._over_tcp(lookup, upstream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _over_tcp(self, lookup: "_Lookup", upstream: Upstream) -> None:
        self.queries_sent += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await _ask_over_tcp(upstream.address, lookup.question)
        except TimeoutError:
            lookup.try_next(DnsTimeoutError(f"{upstream.name} did not answer over TCP"))
        except (OSError, asyncio.IncompleteReadError) as error:
            lookup.try_next(DnsTimeoutError(f"{upstream.name} over TCP: {error}"))
        except MalformedAnswerError as error:
            lookup.try_next(error)
        else:
            lookup.take(upstream, response)

    @property
    def timeout_s(self) -> float:
        """Seconds of one try."""
        return self._timeout_s


class _Lookup:
    """One question under way, for everyone who asks it meanwhile.

    It runs to its own end even when all who wait have gone: the answer is kept for the next.
    """

    def __init__(self, resolver: DnsResolver, question: Question) -> None:
        self.question = question
        self._resolver = resolver
        self._loop = asyncio.get_running_loop()
        self._waiters: list[asyncio.Future[Answer]] = []
        self._tried: list[Upstream] = []
        self._sent: list[tuple[Upstream, int]] = []  # earlier tries may still be answered
        self._timer: asyncio.TimerHandle | None = None
        self._mismatched = False
        self._outcome: Answer | ResolverError | None = None

    async def wait(self, budget: Budget) -> Answer:
        """The answer, once it is there; not longer than the budget lasts."""
        if isinstance(self._outcome, Answer):
            return self._outcome
        if self._outcome is not None:
            raise self._outcome
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiters.append(waiter)
        timer = self._loop.call_later(budget.remaining_s, _expire, waiter)
        try:
            return await waiter
        finally:
            timer.cancel()

    def start(self) -> None:
        """Send the first try."""
        self.try_next(NoServerError("every name server is down"))

    def try_next(self, cause: ResolverError) -> None:
        """Ask the next server; with none left to ask, ``cause`` is the outcome."""
        self._stop_timer()
        if self._outcome is not None:
            return
        upstream = self._resolver.pick(self._tried)
        if upstream is None or len(self._tried) >= _TRIES:
            self.fail(cause)
            return
        self._tried.append(upstream)
        self._resolver.queries_sent += 1
        try:
            query_id = upstream.ask(self.question.wire, self)
        except OSError as error:
            self.unreachable(upstream, error)
            return
        if query_id is None:
            self.fail(DnsTimeoutError("too many questions are in flight"))
            return
        self._sent.append((upstream, query_id))
        self._timer = self._loop.call_later(self._resolver.timeout_s, self._timed_out, upstream)

    def answered(self, server: Upstream, message: bytes) -> None:
        """A message with our question came."""
        try:
            response = read_response(message, self.question)
        except MalformedAnswerError as error:
            self._try_elsewhere(error)
            return
        if response.truncated:
            self._over_tcp(server)
            return
        self.take(server, response)

    def mismatched(self, server: Upstream) -> None:
        """Somebody answered something else: keep waiting for the right answer, but remember."""
        del server
        self._mismatched = True

    def case_lost(self, server: Upstream) -> None:
        """A forger's guess, or a server that does not copy the question: TCP tells them apart."""
        self._over_tcp(server)

    def unreachable(self, server: Upstream, cause: OSError) -> None:
        """Nobody there: the next try need not wait for the timer."""
        server.missed()
        self.try_next(DnsTimeoutError(f"{server.name}: {cause.strerror or cause}"))

    def take(self, server: Upstream, response: Response) -> None:
        """Settle the outcome, or go on elsewhere after an error code."""
        match response.rcode:
            case "NOERROR" | "NXDOMAIN":
                self._settle(self._resolver.ended(self.question, response) or Answer())
            case "REFUSED":
                self._try_elsewhere(RefusedError(f"{server.name} refuses to answer us"))
            case "FORMERR":
                self._try_elsewhere(MalformedAnswerError(f"{server.name} answers FORMERR"))
            case _:
                self._try_elsewhere(ServfailError(f"{server.name} answers {response.rcode}"))

    def fail(self, cause: ResolverError) -> None:
        """End without an answer."""
        self._resolver.ended(self.question, cause)
        self._settle(cause)

    def _timed_out(self, server: Upstream) -> None:
        server.missed()
        if self._mismatched:
            self.try_next(MalformedAnswerError(f"{server.name} answers other questions"))
        else:
            self.try_next(DnsTimeoutError(f"{server.name} did not answer in time"))

    def _try_elsewhere(self, cause: ResolverError) -> None:
        """An answered error is not asked again of the same server."""
        upstream = self._resolver.pick(self._tried)
        if upstream is None or upstream in self._tried:
            self.fail(cause)
        else:
            self.try_next(cause)

    def _settle(self, outcome: Answer | ResolverError) -> None:
        if self._outcome is not None:
            return
        self._outcome = outcome
        self._stop_timer()
        self._forget_tries()
        for waiter in self._waiters:
            if waiter.done():
                continue
            if isinstance(outcome, Answer):
                waiter.set_result(outcome)
            else:
                waiter.set_exception(type(outcome)(*outcome.args))
        self._waiters.clear()

    def _over_tcp(self, server: Upstream) -> None:
        self._stop_timer()
        self._forget_tries()
        self._resolver.over_tcp(self, server)

    def _forget_tries(self) -> None:
        for upstream, query_id in self._sent:
            upstream.forget(query_id)
        self._sent.clear()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _expire(waiter: asyncio.Future[Answer]) -> None:
    if not waiter.done():
        waiter.set_exception(DnsTimeoutError("no answer within the mail's time for DNS"))


async def _ask_over_tcp(address: tuple[str, int], question: Question) -> Response:
    """One question over a connection of its own (RFC 1035 §4.2.2)."""
    message = query_message(0, question.wire)  # nobody guesses his way into a connection
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(struct.pack("!H", len(message)) + message)
        size = struct.unpack("!H", await reader.readexactly(2))[0]
        answer = await reader.readexactly(size)
    finally:
        writer.close()
    if not matches(answer, question.wire):
        raise MalformedAnswerError(f"{address[0]} answers other questions over TCP")
    response = read_response(answer, question)
    if response.truncated:
        raise MalformedAnswerError(f"{address[0]} truncates over TCP")
    return response


def parse_server(text: str) -> tuple[str, int]:
    """Read ``IP``, ``IPv4:PORT`` or ``[IPv6]:PORT``; the port is 53 unless named.

    Raises:
        ConfigError: with an example of what is right.
    """
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        number = 0
    if not 0 < number < 65_536:
        raise ConfigError(f"name server {text!r}: write an address, e.g. 127.0.0.1 or 127.0.0.1:53")
    return host, number


def machine_servers(resolv_conf: Path = _RESOLV_CONF) -> tuple[str, ...]:
    """The servers of resolv.conf(5), at most three; without any, the one on this machine."""
    try:
        lines = resolv_conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    words = (line.split() for line in lines)
    named = tuple(word[1] for word in words if len(word) > 1 and word[0] == "nameserver")
    return named[:3] or ("127.0.0.1",)


def make_resolver(
    settings: DnsSettings,
    *,
    clock: Clock | None = None,
    on_availability: Availability | None = None,
) -> DnsResolver:
    """The resolver that the settings describe.

    Raises:
        ConfigError: for a server that is no address.
    """
    servers: Iterable[str] = settings.servers or machine_servers()
    return DnsResolver(
        tuple(servers),
        timeout_s=settings.timeout_s,
        cache_entries=settings.cache_entries,
        clock=clock,
        on_availability=on_availability or (lambda _server, _up: None),
    )
