"""The whole gateway under load: throughput, CPU, latency, memory, with sink and DNS beside it."""

import math
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.fakes.gateway import Gateway, wait_until
from tests.perf.part import Part
from tests.perf.processes import Memory, cpu_s, family, machine_busy_s, memory

_LISTS = ("one.dnsbl.example", "two.dnsbl.example")
_IDLE_S = 5.0


class Side(Protocol):
    """One system under load."""

    name: str
    port: int

    def pids(self) -> list[int]:
        """All its processes that live now."""

    def wait_idle(self, messages: int) -> None:
        """Until it has settled ``messages`` in all since it was started, and its queue is empty."""

    def memory_by_role(self) -> dict[str, Memory]:
        """Resident memory of each kind of process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run of one load."""

    messages: int
    per_connection: int
    elapsed_s: float  # from the first connect to the last reply
    settled_s: float  # to the last message at the sink, or the last reply if that was later
    cpu_ms: float  # of all the side's processes a message, until idle
    generator_cores: float  # CPU seconds a second
    others_cores: float  # what neither the side nor the bench used
    refused: int
    latencies_ms: tuple[float, ...]

    @property
    def per_second(self) -> float:
        return self.messages / self.settled_s


@dataclass(slots=True)
class Bench:
    """Drives one side; remembers how many messages it had so far."""

    side: Side
    generator: Part
    sink: Part
    dns: Part
    mails: Path
    network: str = "127.1"
    host: str = "127.0.0.1"
    recipient: str = "anna@trial.example"
    sent: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    def run(
        self, messages: int, *, per_connection: int, connections: int = 0, rate: float = 0.0
    ) -> Sample:
        """Send, wait until all is settled, and add up."""
        parts = (self.generator, self.sink, self.dns)
        pids = self.side.pids()
        before, parts_before = cpu_s(pids), sum(part.cpu_s for part in parts)
        busy, began_s = machine_busy_s(), time.monotonic()
        answer = self.generator.ask(
            host=self.host,
            port=self.side.port,
            mails=str(self.mails),
            messages=messages,
            first=self.sent,
            per_connection=per_connection,
            connections=connections,
            rate=rate,
            network=self.network,
            recipient=self.recipient,
        )
        self.sent += messages
        self.codes.update(answer["codes"])
        self.side.wait_idle(self.codes["250"])
        spent = cpu_s(self.side.pids()) - before
        parts_spent = sum(part.cpu_s for part in parts) - parts_before
        wall_s = time.monotonic() - began_s
        last_s = max(answer["last_s"], self.sink.ask()["last_at_s"])
        taken = answer["codes"].get("250", 0)
        return Sample(
            messages=taken,
            per_connection=per_connection,
            elapsed_s=answer["elapsed_s"],
            settled_s=last_s - answer["began_s"],
            cpu_ms=spent * 1000 / max(1, taken),
            generator_cores=answer["cpu_s"] / answer["elapsed_s"],
            others_cores=max(0.0, machine_busy_s() - busy - spent - parts_spent) / wall_s,
            refused=messages - taken,
            latencies_ms=tuple(sorted(answer["latencies_ms"])),
        )

    def idle_cores(self) -> float:
        """What the side uses while nothing comes."""
        before = cpu_s(self.side.pids())
        time.sleep(_IDLE_S)
        return (cpu_s(self.side.pids()) - before) / _IDLE_S

    def memory(self) -> Memory:
        return memory(self.side.pids())


def generator_rate(generator: Part, sink: Part, mails: Path, *, per_connection: int) -> float:
    """Messages a second with nothing between generator and sink: what no side can exceed here."""
    answer = generator.ask(
        port=sink.hello["port"],
        mails=str(mails),
        messages=3000,
        first=0,
        per_connection=per_connection,
        connections=16,
        network="127.1",
        recipient="anna@trial.example",
    )
    if answer["codes"] != {"250": 3000}:
        raise RuntimeError(f"generator and sink do not get along: {answer['codes']}")
    return float(3000 / answer["elapsed_s"])


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least of the sorted values that ``share`` of them do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Schwamm:
    """Our gateway, as a Side."""

    name = "schwamm"

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = gateway.smtp_port

    def pids(self) -> list[int]:
        assert self.gateway.process is not None
        return family([self.gateway.process.pid])

    def memory_by_role(self) -> dict[str, Memory]:
        assert self.gateway.process is not None
        found = {"supervisor": memory([self.gateway.process.pid])}
        for role, processes in self.gateway.children().items():
            found[f"{role} x{len(processes)}"] = memory([one.pid for one in processes])
        return found

    def wait_idle(self, messages: int) -> None:
        """The keeper has indexed every message, and no copy waits for delivery."""
        wait_until(lambda: self._settled(messages), f"{messages} messages in the index", 120)

    def _settled(self, messages: int) -> bool:
        known = self.query("SELECT count(*) FROM message")
        waiting = "SELECT count(*) FROM copy WHERE state IN ('queued', 'released')"
        return known >= messages and self.query(waiting) == 0

    def held(self) -> int:
        return self.query("SELECT count(*) FROM copy WHERE state = 'held'")

    def checked(self, check: str) -> int:
        """Of how many messages the verdict has an outcome of this check."""
        return self.query(f'SELECT count(*) FROM message WHERE facts LIKE \'%"check":"{check}"%\'')

    def query(self, statement: str) -> int:
        url = f"file:{self.gateway.state / 'index.db'}?mode=ro"
        connection = sqlite3.connect(url, uri=True, timeout=10)
        try:
            return int(connection.execute(statement).fetchone()[0])
        finally:
            connection.close()


def block_lists() -> dict[str, dict[str, list[str]]]:
    """Two lists that are well and list nobody (RFC 5782 §5)."""
    return {f"2.0.0.127.{zone}": {"A": ["127.0.0.2"]} for zone in _LISTS}


def configure(gateway: Gateway, dns_port: int) -> None:
    """Two block lists at a local name server, asked about each client, loopback or not."""
    zones = "".join(
        f'\n[[dnsbl]]\nzone = "{zone}"\ncodes = {{ "127.0.0.2" = "DNSBL_BENCH" }}\n'
        "private_clients = true\n"
        for zone in _LISTS
    )
    with gateway.config.open("a") as file:
        file.write(f'\n[dns]\nservers = ["127.0.0.1:{dns_port}"]\n{zones}')


@contextmanager
def serving(
    directory: Path,
    *,
    workers: int,
    sink_port: int,
    dns_port: int,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Schwamm]:
    """A gateway with its own state below ``directory``, stopped at the end.

    It does not make clients wait before it greets them, nor count what one network sends: the
    generator is all clients at once, and the peer's postscreen is not on either.
    """
    gateway = Gateway(directory, f"127.0.0.1:{sink_port}", workers=workers)
    gateway.environment = {
        "SCHWAMM_SMTP__GREET_DELAY_S": "0",
        "SCHWAMM_SMTP__UNLIMITED_NETWORKS": '["127.0.0.0/8", "198.18.0.0/15"]',
        **(variables or {}),
    }
    try:
        gateway.init()
        configure(gateway, dns_port)
        yield Schwamm(gateway.start())
    finally:
        gateway.kill_everything()


def summary(samples: Sequence[Sample], value: Callable[[Sample], float]) -> dict[str, float]:
    """Median, least and most of one figure."""
    values = [value(sample) for sample in samples]
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def describe(saturated: Sequence[Sample], half: Sequence[Sample]) -> dict[str, Any]:
    """All figures of one kind of load."""
    return {
        "rounds": len(saturated),
        "messages_a_round": saturated[0].messages,
        "messages_per_second": summary(saturated, lambda s: s.per_second),
        "cpu_ms_per_message": summary(saturated, lambda s: s.cpu_ms),
        "cpu_ms_per_message_at_half_load": summary(half, lambda s: s.cpu_ms),
        "latency_ms_at_half_load": {
            name: summary(half, lambda s, share=share: percentile(s.latencies_ms, share))
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
        "half_load_per_second": summary(half, lambda s: s.messages / s.elapsed_s),
        "generator_cores": summary(saturated, lambda s: s.generator_cores),
        "other_programs_cores": summary([*saturated, *half], lambda s: s.others_cores),
        "refused": sum(sample.refused for sample in (*saturated, *half)),
    }
