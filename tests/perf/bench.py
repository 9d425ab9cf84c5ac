"""``make bench``: what a message costs, stage by stage and through the whole gateway.

Prints a table beside the budget of the architecture's section 9 and writes
``bench-output/bench.json``. ``--quick`` takes less than a minute, the full run less than six. How
to read it: docs/benchmarks.md.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.settings import load
from tests.perf.end_to_end import (
    Bench,
    Sample,
    Schwamm,
    block_lists,
    describe,
    generator_rate,
    serving,
)
from tests.perf.part import Part
from tests.perf.real_mail import ROOT, corpora, of_five_kb, read_mail, write_mails
from tests.perf.stages import Figure, measure_stages

# Architecture, section 9: CPU milliseconds of one 5 KB mail.
BUDGET = {
    "smtp_in": 0.7,
    "classifier": 0.7,  # parse and features 0.6, score 0.1
    "score": 0.1,
    "checks": 0.7,
    "hand_off": 0.3,
    "record_and_journal": 0.1,
    "whole": 2.5,
}
KINDS = (1, 10)  # messages a connection
CONNECTIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    rounds: int
    messages: int
    half_load_s: float
    stage_mails: int
    stage_rounds: int
    part_messages: int  # for the benches of receiving and of handing off


FULL = Plan(
    rounds=5, messages=1500, half_load_s=6, stage_mails=200, stage_rounds=7, part_messages=400
)
QUICK = Plan(
    rounds=2, messages=400, half_load_s=2.5, stage_mails=60, stage_rounds=3, part_messages=100
)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute, rough figures")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=ROOT / "bench-output")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="schwamm-bench-") as folder:
        result = _measure(Path(folder), QUICK if arguments.quick else FULL, arguments.workers)
    result["seconds"] = round(time.monotonic() - began_s, 1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    _show(result)
    return 1 if result["whole"]["refused"] else 0


def machine() -> dict[str, Any]:
    """What it was measured on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average_before": os.getloadavg()[0],
        "commit": commit.stdout.strip(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _measure(scratch: Path, plan: Plan, workers: int) -> dict[str, Any]:
    say = Console(stderr=True).print
    result: dict[str, Any] = {"machine": machine(), "workers": workers}
    mails = of_five_kb(read_mail(corpora(scratch)), 2000)
    sizes = sorted(len(mail.content) for mail in mails)
    result["mail"] = {
        "messages": len(mails),
        "median_bytes": sizes[len(sizes) // 2],
        "spam_share": round(sum(mail.is_spam for mail in mails) / len(mails), 3),
    }
    write_mails(scratch / "mails", mails)
    (scratch / "zone.json").write_text(json.dumps(block_lists()))
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Part("tests.perf.quick_sink"))
        dns = stack.enter_context(Part("tests.perf.quick_dns", str(scratch / "zone.json")))
        generator = stack.enter_context(Part("tests.perf.load"))
        side = stack.enter_context(
            serving(
                scratch / "gateway",
                workers=workers,
                sink_port=sink.hello["port"],
                dns_port=dns.hello["port"],
            )
        )
        bench = Bench(side, generator, sink, dns, scratch / "mails")
        with Part("tests.perf.quick_sink") as bare:
            result["generator_per_second"] = {
                str(kind): round(
                    generator_rate(generator, bare, scratch / "mails", per_connection=kind)
                )
                for kind in KINDS
            }
        say("the whole gateway ...")
        result["whole"] = _whole(bench, side, plan)
        state = scratch / "stages"
        for name in ("journal", "records", "tmp"):
            (state / name).mkdir(parents=True)
        settings = load(side.gateway.config)
        say("stages ...")
        stages = measure_stages(
            mails[: plan.stage_mails], rounds=plan.stage_rounds, state=state, settings=settings
        )
    say("receiving and handing off, each by itself ...")
    result["stages"] = {name: asdict(figure) for name, figure in stages.items()}
    result["stages"] |= _parts(plan)
    return result


def _whole(bench: Bench, side: Schwamm, plan: Plan) -> dict[str, Any]:
    bench.run(max(200, plan.messages // 4), per_connection=10, connections=CONNECTIONS)
    saturated: dict[int, list[Sample]] = {kind: [] for kind in KINDS}
    half: dict[int, list[Sample]] = {kind: [] for kind in KINDS}
    for _ in range(plan.rounds):
        for kind in KINDS:
            full = bench.run(plan.messages, per_connection=kind, connections=CONNECTIONS)
            saturated[kind].append(full)
            rate = full.per_second / 2
            few = max(50, round(rate * plan.half_load_s))
            half[kind].append(bench.run(few, per_connection=kind, rate=rate))
    total = bench.memory()
    return {
        **{str(kind): describe(saturated[kind], half[kind]) for kind in KINDS},
        "connections": CONNECTIONS,
        "sent": bench.sent,
        "answers": dict(bench.codes),
        "refused": bench.sent - bench.codes["250"],
        "delivered": bench.sink.ask()["messages"],
        "held": side.held(),
        "idle_cores": round(bench.idle_cores(), 4),
        "memory_mb": {"rss": _mb(total.rss), "pss": _mb(total.pss)},
        "memory_mb_by_role": {
            role: {"rss": _mb(one.rss), "pss": _mb(one.pss)}
            for role, one in side.memory_by_role().items()
        },
    }


def _mb(octets: int) -> float:
    return round(octets / 1e6, 1)


def _parts(plan: Plan) -> dict[str, dict[str, float]]:
    """The benches of receiving (beside bare aiosmtpd) and of handing off, in their own words."""
    count = str(plan.part_messages)
    received = _json_of("tests.perf.bench_smtp_in", "--messages", count, "--rounds", "3")
    handed = _json_of("tests.perf.bench_handoff", count)["cpu_ms_per_message"]
    found = {"hand_off": _only(handed["relay"])}
    for kind in KINDS:
        figure = received[f"cpu_ms_a_message_{kind}_a_connection"]["schwamm"]
        found[f"smtp_in_{kind}"] = {
            "median": figure["median"], "least": figure["min"], "most": figure["max"],
        }  # fmt: skip
    return found


def _only(value: float) -> dict[str, float]:
    return asdict(Figure(median=value, least=value, most=value))


def _json_of(module: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _show(result: dict[str, Any]) -> None:
    console = Console(width=100)
    mail, place = result["mail"], result["machine"]
    console.print(
        f"{mail['messages']} real messages near 5 KB (median {mail['median_bytes']} octets), "
        f"{result['workers']} workers; {place['processor']}, {place['cores']} cores, "
        f"Python {place['python']}, {place['commit']}"
    )
    alone = result["generator_per_second"]
    console.print(
        f"generator and sink with nothing between them: {alone['1']} messages a second with 1 a "
        f"connection, {alone['10']} with 10"
    )
    console.print(_cost_table(result))
    console.print(_load_table(result["whole"]))
    console.print(_memory_table(result["whole"]))
    whole = result["whole"]
    console.print(
        f"sent {whole['sent']}: delivered {whole['delivered']}, held {whole['held']}, "
        f"refused {whole['refused']}; idle {whole['idle_cores'] * 1000:.0f} CPU ms a second; "
        f"took {result['seconds']} s"
    )


def _cost_table(result: dict[str, Any]) -> Table:
    table = Table(title="CPU milliseconds per message")
    table.add_column("what")
    for name in ("median", "least", "most", "budget"):
        table.add_column(name, justify="right")
    stages = result["stages"]
    rows = [
        ("SMTP in, 1 a connection", stages["smtp_in_1"], BUDGET["smtp_in"]),
        ("SMTP in, 10 a connection", stages["smtp_in_10"], None),
        ("parse", stages["parse"], None),
        ("features", stages["features"], None),
        ("score", stages["score"], BUDGET["score"]),
        ("parse, features, score", stages["classifier"], BUDGET["classifier"]),
        ("the same, one stage at a time", stages["classifier_warm"], BUDGET["classifier"]),
        ("words for and against", stages["words"], None),
        ("checks that compute", stages["checks"], BUDGET["checks"]),
        ("scanner: all of these", stages["scanner"], None),
        ("hand-off, open connection", stages["hand_off"], BUDGET["hand_off"]),
        ("journal line", stages["journal"], BUDGET["record_and_journal"]),
        ("record, durable (held mail only)", stages["record"], None),
        ("intake: dot to reply, no hand-off", stages["intake"], None),
    ]
    for name, figure, budget in rows:
        _add_row(table, name, [figure[key] for key in ("median", "least", "most")], budget)
    for kind in KINDS:
        figure = result["whole"][str(kind)]["cpu_ms_per_message"]
        values = [figure[key] for key in ("median", "min", "max")]
        name = f"whole gateway, all processes, {kind} a connection"
        _add_row(table, name, values, BUDGET["whole"])
    return table


def _add_row(table: Table, name: str, values: list[float], budget: float | None) -> None:
    shown = f"{budget:.1f}" if budget else ""
    table.add_row(name, *(f"{value:.3f}" for value in values), shown)


def _load_table(whole: dict[str, Any]) -> Table:
    table = Table(title=f"Whole gateway, {whole['connections']} connections (median, least-most)")
    table.add_column("")
    for kind in KINDS:
        table.add_column(f"{kind} a connection", justify="right")
    rows = {
        "messages per second": ("messages_per_second",),
        "latency at half load, p50 ms": ("latency_ms_at_half_load", "p50"),
        "p95 ms": ("latency_ms_at_half_load", "p95"),
        "p99 ms": ("latency_ms_at_half_load", "p99"),
        "half load, messages per second": ("half_load_per_second",),
        "CPU ms per message at half load": ("cpu_ms_per_message_at_half_load",),
        "generator's share of a core": ("generator_cores",),
        "other programs, cores": ("other_programs_cores",),
    }
    for name, path in rows.items():
        cells = []
        for kind in KINDS:
            figure = whole[str(kind)]
            for step in path:
                figure = figure[step]
            cells.append(f"{figure['median']:.2f} ({figure['min']:.2f}-{figure['max']:.2f})")
        table.add_row(name, *cells)
    return table


def _memory_table(whole: dict[str, Any]) -> Table:
    table = Table(title="Resident memory, MB")
    for name in ("process", "RSS", "PSS (shared pages once)"):
        table.add_column(name, justify="left" if name == "process" else "right")
    for role, one in {**whole["memory_mb_by_role"], "all": whole["memory_mb"]}.items():
        table.add_row(role, str(one["rss"]), str(one["pss"]))
    return table


if __name__ == "__main__":
    sys.exit(main())
