"""Rivals that are servers: started for one run, on loopback, ended with it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from training.bench_accuracy_rivals import RivalFailedError

_START_TIMEOUT_S: Final = 60.0


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """Run a server as long as the context lasts; what it prints is dropped."""
    with subprocess.Popen(  # noqa: S603  # Debian's programs, arguments of ours
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(answers: Callable[[], bool], name: str) -> None:
    """Ask until a server answers. Raises RivalFailedError when it does not within a minute."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if answers():
            return
        time.sleep(0.1)
    raise RivalFailedError(f"{name}: it did not start")
