"""``make bench-load``: does a crowd slow others down, and does large mail eat the memory?

1. 1,000 idle and 100 slow connections: latency of normal transactions with and without them, in
   one run, turn and turn about. The p95 has to stay within 1.2 times that without.
2. 200 messages of 25 MB at once beside 1,000 idle connections, with the default memory budget and
   with a small one that has to say 452. Every message is at the next hop once, whole; no worker
   needs more memory than its budget and a fixed share; no temporary file is left.

Prints tables, writes ``bench-output/bench-load.json``, and fails when one of these does not hold.
``--quick`` does less of it.
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.perf.bench import machine
from tests.perf.end_to_end import Bench, Schwamm, block_lists, percentile, serving
from tests.perf.part import Part
from tests.perf.real_mail import ROOT, corpora, of_five_kb, read_mail, write_mails

IDLE, SLOW = 1000, 100
WORST_RATIO = 1.2
BUDGETS = {"default": 256 * 1024 * 1024, "small": 4 * 1024 * 1024}
LARGE_BYTES = 25 * 1024 * 1024
# What a worker may grow by beyond its budget: buffers of connections, and of what is handed on.
SHARE_BYTES = 150 * 1024 * 1024


def main() -> int:
    """Measure, print, write; 1 when a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, 40 large messages")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-output")
    arguments = parser.parse_args()
    quick = arguments.quick
    with tempfile.TemporaryDirectory(prefix="schwamm-load-") as folder:
        scratch = Path(folder)
        result: dict[str, Any] = {"machine": machine()}
        result["crowd"] = crowd(scratch, rounds=3 if quick else 9, messages=80 if quick else 200)
        count = 40 if quick else 200
        result["large"] = {
            name: large(scratch / name, count, budget) for name, budget in BUDGETS.items()
        }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "bench-load.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    failures = list(wrong(result))
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


def crowd(scratch: Path, *, rounds: int, messages: int, rate: float = 25.0) -> dict[str, Any]:
    """Latency of normal transactions alone and in the crowd, in turn."""
    write_mails(scratch / "mails", of_five_kb(read_mail(corpora(scratch)), 500))
    (scratch / "zone.json").write_text(json.dumps(block_lists()))
    samples: dict[str, list[tuple[float, ...]]] = {"alone": [], "in the crowd": []}
    kept = {"idle": IDLE, "slow": SLOW}
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Part("tests.perf.quick_sink"))
        dns = stack.enter_context(Part("tests.perf.quick_dns", str(scratch / "zone.json")))
        generator = stack.enter_context(Part("tests.perf.load"))
        many = stack.enter_context(Part("tests.perf.crowd"))
        ports = {"sink_port": sink.hello["port"], "dns_port": dns.hello["port"]}
        side = stack.enter_context(serving(scratch / "gateway", workers=2, **ports))
        bench = Bench(side, generator, sink, dns, scratch / "mails")
        bench.run(200, per_connection=1, connections=8)
        before = memory_of_workers(side)
        for number in range(rounds):
            for condition in sorted(samples, reverse=bool(number % 2)):
                if condition == "in the crowd":
                    many.ask(
                        open={"port": side.port, "idle": IDLE, "slow": SLOW, "network": "127.9"}
                    )
                run = bench.run(messages, per_connection=1, rate=rate)
                samples[condition].append(run.latencies_ms)
                if condition == "in the crowd":
                    crowded = memory_of_workers(side)
                    found = many.ask(close=True)
                    kept = {kind: min(kept[kind], found[kind]) for kind in kept}
        refused = bench.sent - bench.codes["250"]
    latency = {name: latencies(found) for name, found in samples.items()}
    return {
        "rounds": rounds,
        "messages_a_round": messages,
        "rate_per_second": rate,
        "connections_kept": kept,
        "refused": refused,
        "latency_ms": latency,
        "ratio_p95": round(latency["in the crowd"]["p95"] / latency["alone"]["p95"], 3),
        "workers_mb_before_and_in_the_crowd": [before, crowded],
    }


def latencies(rounds: list[tuple[float, ...]]) -> dict[str, float]:
    """Medians over the rounds of each round's percentiles."""
    return {
        name: round(statistics.median(percentile(one, share) for one in rounds), 2)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def large(scratch: Path, messages: int, budget_bytes: int) -> dict[str, Any]:
    """Many large messages at once; the client's ledger against the next hop's."""
    scratch.mkdir()
    (scratch / "zone.json").write_text(json.dumps(block_lists()))
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Part("tests.perf.large_sink"))
        dns = stack.enter_context(Part("tests.perf.quick_dns", str(scratch / "zone.json")))
        clients = stack.enter_context(Part("tests.perf.large"))
        many = stack.enter_context(Part("tests.perf.crowd"))
        ports = {"sink_port": sink.hello["port"], "dns_port": dns.hello["port"]}
        variables = {"SCHWAMM_SMTP__MEMORY_BUDGET_BYTES": str(budget_bytes)}
        side = stack.enter_context(
            serving(scratch / "gateway", workers=2, variables=variables, **ports)
        )
        before = memory_of_workers(side)
        many.ask(open={"port": side.port, "idle": IDLE, "slow": 0, "network": "127.9"})
        with_idle = memory_of_workers(side)
        with watching(side) as peak:
            answer = clients.ask(port=side.port, messages=messages, size_bytes=LARGE_BYTES)
        kept = many.ask(close=True)
        side.wait_idle(messages)
        taken = Counter((number, octets) for number, octets in sink.ask()["taken"])
        wanted = Counter((number, answer["body_bytes"]) for number in range(messages))
        return {
            "messages": messages,
            "seconds": round(answer["seconds"], 1),
            "heard": answer["heard"],
            "missing_or_cut": (wanted - taken).total(),
            "twice": (taken - wanted).total(),
            "idle_kept": kept["idle"],
            "workers_mb": {
                "before": before,
                "with 1,000 idle": with_idle,
                "most of one": round(peak["worker"] / 1e6, 1),
                "after": memory_of_workers(side),
            },
            "grown_bytes": round(peak["worker"] - max(before) * 1e6),
            "budget_bytes": budget_bytes,
            "temporary_files_at_most_mb": round(peak["files"] / 1e6),
            "temporary_files_left": open_temporary_bytes(side),
        }


def workers_of(side: Schwamm) -> list[psutil.Process]:
    return list(side.gateway.children()["smtp"])


def anonymous_bytes(process: psutil.Process) -> int:
    """Memory that is the process's own: mapped message files can be dropped at any time."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024


def memory_of_workers(side: Schwamm) -> list[float]:
    """Megabytes of each worker's own memory."""
    return [round(anonymous_bytes(worker) / 1e6, 1) for worker in workers_of(side)]


def open_temporary_bytes(side: Schwamm) -> int:
    """Octets in files without a name that workers have open or mapped, and in the folder."""
    folder = side.gateway.state / "tmp"
    found = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*")}
    for worker in workers_of(side):
        for link in Path(f"/proc/{worker.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(folder) in str(link.readlink()):
                    found[link.stat().st_ino] = link.stat().st_size
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{worker.pid}/maps").read_text().splitlines():
                fields = line.split()
                if len(fields) > 5 and str(folder) in fields[5]:
                    start, _, end = fields[0].partition("-")
                    found[int(fields[4])] = int(end, 16) - int(start, 16)
    return sum(found.values())


@contextlib.contextmanager
def watching(side: Schwamm) -> Iterator[dict[str, int]]:
    """The most memory of any worker and of temporary files, looked at ten times a second."""
    peak = {"worker": 0, "files": 0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            with contextlib.suppress(OSError, psutil.Error):
                most = max(anonymous_bytes(worker) for worker in workers_of(side))
                peak["worker"] = max(peak["worker"], most)
                peak["files"] = max(peak["files"], open_temporary_bytes(side))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def wrong(result: dict[str, Any]) -> Iterator[str]:
    """What does not hold."""
    crowd = result["crowd"]
    if crowd["ratio_p95"] > WORST_RATIO:
        yield f"p95 in the crowd is {crowd['ratio_p95']} times that alone"
    if crowd["connections_kept"] != {"idle": IDLE, "slow": SLOW} or crowd["refused"]:
        yield f"connections kept {crowd['connections_kept']}, refused {crowd['refused']}"
    for name, found in result["large"].items():
        if found["missing_or_cut"] or found["twice"] or set(found["heard"]) - {"250", "452"}:
            yield f"{name}: missing {found['missing_or_cut']}, twice {found['twice']}"
        if found["grown_bytes"] > found["budget_bytes"] + SHARE_BYTES:
            yield f"{name}: a worker grew by {found['grown_bytes']} octets"
        if found["temporary_files_left"]:
            yield f"{name}: {found['temporary_files_left']} octets of temporary files left"
        if found["idle_kept"] != IDLE:
            yield f"{name}: {found['idle_kept']} of {IDLE} idle connections kept"
    if not result["large"]["small"]["heard"].get("452"):
        yield "the small budget was never used up: no 452 was seen"


def show(result: dict[str, Any]) -> None:
    console = Console(width=100)
    crowd = result["crowd"]
    table = Table(title=f"Latency of normal transactions, ms (median of {crowd['rounds']} rounds)")
    for name in ("", "p50", "p95", "p99"):
        table.add_column(name, justify="right" if name else "left")
    for name, figures in crowd["latency_ms"].items():
        table.add_row(name, *(f"{figures[key]:.1f}" for key in ("p50", "p95", "p99")))
    console.print(table)
    before, crowded = crowd["workers_mb_before_and_in_the_crowd"]
    console.print(
        f"p95 ratio {crowd['ratio_p95']:.2f} (must: {WORST_RATIO}); connections kept "
        f"{crowd['connections_kept']}, refused {crowd['refused']}; workers' own memory "
        f"{before} MB, in the crowd {crowded} MB"
    )
    table = Table(title="Large messages at once, beside 1,000 idle connections")
    for name in ("", *result["large"]):
        table.add_column(name, justify="right" if name else "left")
    keys = [key for key in next(iter(result["large"].values())) if key != "workers_mb"]
    for key in keys:
        table.add_row(key.replace("_", " "), *(str(one[key]) for one in result["large"].values()))
    for key in next(iter(result["large"].values()))["workers_mb"]:
        values = (str(one["workers_mb"][key]) for one in result["large"].values())
        table.add_row(f"a worker's own MB, {key}", *values)
    console.print(table)


if __name__ == "__main__":
    began_s = time.monotonic()
    code = main()
    print(f"took {time.monotonic() - began_s:.0f} s")
    sys.exit(code)
