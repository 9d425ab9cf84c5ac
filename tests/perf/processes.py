"""What a family of processes costs: CPU seconds and memory, read from /proc.

CPU is user plus system time of every living process of the family, plus that of the children each
has waited for, so nothing is lost when one ends. Its resolution is the kernel's tick, 10 ms.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident memory in bytes: ``rss`` counts shared pages for each process, ``pss`` once."""

    rss: int
    pss: int


def family(roots: Iterable[int]) -> list[int]:
    """The processes and all their descendants that live now."""
    found: dict[int, None] = {}
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(root)
            found[root] = None
            found.update(dict.fromkeys(child.pid for child in process.children(recursive=True)))
    return list(found)


def cpu_s(pids: Iterable[int]) -> float:
    """User and system seconds of these processes and of the children they waited for."""
    return sum(_cpu_ticks(pid) for pid in pids) / _TICKS


def _cpu_ticks(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15])  # utime stime cutime cstime


def memory(pids: Iterable[int]) -> Memory:
    """Resident memory of these processes together."""
    rss = pss = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name == "Rss":
                    rss += int(value.split()[0]) * 1024
                elif name == "Pss":
                    pss += int(value.split()[0]) * 1024
    return Memory(rss=rss, pss=pss)


def machine_busy_s() -> float:
    """CPU seconds all of this machine's cores were busy, for whomever."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / _TICKS
