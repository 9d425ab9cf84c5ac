"""``make bench-peer``: the same mail through Schwamm and through Postfix with Rspamd, in one run.

Needs root and Debian's packages. It runs in network, mount and process namespaces of its own:
nothing is reachable from outside or reaches out, ``/etc/resolv.conf`` inside names a server that
answers at once, and everything it started ends with it. Prints tables and writes
``bench-output/bench-peer.json``; what they show and what not: docs/benchmarks.md.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.perf.bench import machine
from tests.perf.end_to_end import Bench, Sample, Schwamm, describe, serving
from tests.perf.part import Part
from tests.perf.peer_mail import PeerMail, prepare
from tests.perf.postfix_rspamd import PostfixRspamd, missing_packages, running_peer
from tests.perf.real_mail import ROOT, corpora, of_five_kb, read_mail, write_mails

KINDS = (1, 10)
CONNECTIONS = 16
NETWORK = "198.18"  # RFC 2544: for benchmarks, so no list exempts it as private or loopback
_DNS_PORT = 53  # Postfix asks the system's resolver, which knows no other


def main() -> int:
    """Go into namespaces of our own, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rough figures in about two minutes")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-output")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    missing = missing_packages()
    if missing:
        print(f"apt-get install {' '.join(missing)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("bench_peer needs root: it starts Postfix in namespaces of its own", file=sys.stderr)
        return 2
    if not arguments.inside:
        return _enter_namespaces(sys.argv[1:])
    _prepare_namespaces()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="schwamm-peer-") as folder:
        Path(folder).chmod(0o755)
        result = _measure(Path(folder), quick=arguments.quick)
    result["seconds"] = round(time.monotonic() - began_s, 1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "bench-peer.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    return 1 if any(side["refused"] for side in result["sides"].values()) else 0


def _enter_namespaces(arguments: Sequence[str]) -> int:
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    inner = [sys.executable, "-m", "tests.perf.bench_peer", *arguments, "--inside"]
    return subprocess.run([*command, "--", *inner], check=False, cwd=ROOT).returncode


def _prepare_namespaces() -> None:
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "route", "add", "local", f"{NETWORK}.0.0/16", "dev", "lo"],
    ):
        subprocess.run(command, check=True)
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write("nameserver 127.0.0.1\n")
    Path(file.name).chmod(0o644)
    subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)
    Path(file.name).unlink()


def _measure(scratch: Path, *, quick: bool) -> dict[str, Any]:
    say = Console(stderr=True).print
    say("mail, signatures and their DNS ...")
    lesson = of_five_kb(read_mail(corpora(scratch)), 2000)  # Rspamd wants 200 of each kind
    mail = prepare(lesson[: 400 if quick else 1000], NETWORK)
    write_mails(scratch / "mails", mail.mails)
    (scratch / "zone.json").write_text(json.dumps(mail.zone))
    with contextlib.ExitStack() as stack:
        sinks = [stack.enter_context(Part("tests.perf.quick_sink")) for _ in range(2)]
        dns = stack.enter_context(
            Part("tests.perf.quick_dns", str(scratch / "zone.json"), str(_DNS_PORT))
        )
        generator = stack.enter_context(Part("tests.perf.load"))
        say("starting both sides ...")
        ours = stack.enter_context(
            serving(
                scratch / "schwamm",
                workers=os.cpu_count() or 1,
                sink_port=sinks[0].hello["port"],
                dns_port=_DNS_PORT,
            )
        )
        theirs = stack.enter_context(running_peer(scratch / "peer", sinks[1].hello["port"]))
        say("training the peer's Bayes with the same mail ...")
        theirs.learn(lesson)
        say("waiting until Rspamd has compiled its rules ...")
        theirs.wait_quiet(300)
        benches = {
            side.name: Bench(side, generator, sink, dns, scratch / "mails", network=NETWORK)
            for side, sink in zip((ours, theirs), sinks, strict=True)
        }
        samples = _drive(benches, quick=quick, say=say)
        return _result(benches, samples, mail, ours, theirs)


Samples = dict[str, dict[int, tuple[list[Sample], list[Sample]]]]


def _drive(benches: dict[str, Bench], *, quick: bool, say: Any) -> Samples:
    """Both sides in turn, round by round, so that the machine's moods meet both."""
    rounds, messages, half_s = (1, 300, 3.0) if quick else (3, 800, 6.0)
    samples: Samples = {name: {kind: ([], []) for kind in KINDS} for name in benches}
    for name, bench in benches.items():
        say(f"warming {name} ...")
        bench.run(messages // 2, per_connection=10, connections=CONNECTIONS)
    for turn in range(rounds):
        for kind in KINDS:
            for name, bench in benches.items():
                say(f"round {turn + 1} of {rounds}: {name}, {kind} a connection ...")
                full = bench.run(messages, per_connection=kind, connections=CONNECTIONS)
                rate = full.per_second / 2
                few = max(50, round(rate * half_s))
                half = bench.run(few, per_connection=kind, rate=rate)
                samples[name][kind][0].append(full)
                samples[name][kind][1].append(half)
    return samples


def _result(
    benches: dict[str, Bench],
    samples: Samples,
    mail: PeerMail,
    ours: Schwamm,
    theirs: PostfixRspamd,
) -> dict[str, Any]:
    sides: dict[str, Any] = {}
    for name, bench in benches.items():
        memory = bench.memory()
        held = ours.held() if name == ours.name else theirs.held()
        sides[name] = {
            **{str(kind): describe(*samples[name][kind]) for kind in KINDS},
            "sent": bench.sent,
            "answers": dict(bench.codes),
            "refused": bench.sent - bench.codes["250"],
            "delivered": bench.sink.ask()["messages"],
            "held": held,
            "idle_cores": round(bench.idle_cores(), 4),
            "memory_mb": {"rss": _mb(memory.rss), "pss": _mb(memory.pss)},
            "processes": len(bench.side.pids()),
            "memory_mb_by_program": {
                program: {"rss": _mb(one.rss), "pss": _mb(one.pss)}
                for program, one in bench.side.memory_by_role().items()
            },
        }
    return {
        "machine": machine(),
        "versions": _versions(),
        "mail": {
            "messages": len(mail.mails),
            "signed": mail.signed,
            "signed_share": round(mail.signed / len(mail.mails), 3),
            "spam_share": round(sum(one.is_spam for one in mail.mails) / len(mail.mails), 3),
        },
        "we_checked": {name: ours.checked(name) for name in ("dkim", "spf", "dmarc")},
        "peer_saw_valid_dkim": theirs.symbol_count("R_DKIM_ALLOW"),
        "peer_saw_bayes": theirs.symbol_count("BAYES_(?:HAM|SPAM)"),
        "peer_statistics": theirs.statistics().splitlines(),
        "dns_queries": next(iter(benches.values())).dns.ask(),
        "sides": sides,
    }


def _mb(octets: int) -> float:
    return round(octets / 1e6, 1)


def _versions() -> dict[str, str]:
    packages = ("postfix", "rspamd", "redis-server")
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    return dict(line.split(" ", 1) for line in shown.stdout.splitlines())


def show(result: dict[str, Any]) -> None:
    """Print the comparison."""
    console = Console(width=110)
    mail, place = result["mail"], result["machine"]
    console.print(
        f"{mail['messages']} real messages near 5 KB, {mail['signed_share']:.0%} DKIM-signed; "
        f"{place['processor']}, {place['cores']} cores, {place['commit']}; {result['versions']}"
    )
    sides = result["sides"]
    for kind in KINDS:
        console.print(_table(sides, kind))
    for name, side in sides.items():
        console.print(
            f"{name}: sent {side['sent']}, delivered {side['delivered']}, held {side['held']} "
            f"({side['held'] / side['sent']:.1%}), refused {side['refused']}; {side['processes']} "
            f"processes, RSS {side['memory_mb']['rss']} MB, PSS {side['memory_mb']['pss']} MB; "
            f"idle {side['idle_cores'] * 1000:.0f} CPU ms a second"
        )
    known = sides["schwamm"]["sent"]
    checked = ", ".join(f"{name.upper()} {n}" for name, n in result["we_checked"].items())
    console.print(f"messages of {known} that Schwamm checked: {checked}")
    console.print(f"valid signatures that the peer saw: {result['peer_saw_valid_dkim']}")
    if not all(result["we_checked"].values()):
        console.print("[bold]What Schwamm does not check, the peer does: compare with care.[/bold]")


def _table(sides: dict[str, Any], kind: int) -> Table:
    table = Table(title=f"{kind} a connection, {CONNECTIONS} connections: median (least-most)")
    table.add_column("")
    for name in sides:
        table.add_column(name, justify="right")
    table.add_column("ratio", justify="right")
    rows = {
        "messages per second": ("messages_per_second",),
        "CPU ms per message": ("cpu_ms_per_message",),
        "CPU ms per message at half load": ("cpu_ms_per_message_at_half_load",),
        "half load, messages per second": ("half_load_per_second",),
        "latency at half load, p50 ms": ("latency_ms_at_half_load", "p50"),
        "p95 ms": ("latency_ms_at_half_load", "p95"),
        "p99 ms": ("latency_ms_at_half_load", "p99"),
        "generator's share of a core": ("generator_cores",),
        "other programs, cores": ("other_programs_cores",),
    }
    for name, path in rows.items():
        found = []
        for side in sides.values():
            figure = side[str(kind)]
            for step in path:
                figure = figure[step]
            found.append(figure)
        cells = [f"{one['median']:.2f} ({one['min']:.2f}-{one['max']:.2f})" for one in found]
        ratio = found[0]["median"] / found[1]["median"] if found[1]["median"] else 0.0
        table.add_row(name, *cells, f"{ratio:.2f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
