"""A real gateway in processes of its own, on free loopback ports, with its state in a folder."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_PATIENCE_S = 60.0
# Children of a killed supervisor may finish their mail first, for smtp.drain_timeout_s.
_START_PATIENCE_S = 150.0


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str, patience_s: float = _PATIENCE_S) -> None:
    """Wait for something that another process brings about."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience_s:g} s in vain for {what}")
        time.sleep(0.05)


@dataclass(slots=True)
class Gateway:
    """One state directory, and the gateway that runs on it now and then."""

    directory: Path
    next_hop: str
    domain: str = "trial.example"
    workers: int = 1
    smtp_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    program: str = sys.executable
    wrapper: tuple[str, ...] = ()  # starts the program of ``serve``
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.directory / "gateway.log"

    @property
    def config(self) -> Path:
        return self.directory / "gateway.toml"

    @property
    def state(self) -> Path:
        return self.directory / "var"

    def variables(self) -> dict[str, str]:
        return {
            **os.environ,
            "LANG": "en_US.UTF-8",
            "SCHWAMM_SMTP__PORT": str(self.smtp_port),
            "SCHWAMM_WEB__PORT": str(self.web_port),
            "SCHWAMM_SMTP__WORKERS": str(self.workers),
            "SCHWAMM_SMTP__HOSTNAME": "mx.trial.example",
            **self.environment,
        }

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``schwamm`` with this gateway's configuration."""
        command = [self.program, "-m", "gateway", *arguments, "--config", str(self.config)]
        done = subprocess.run(
            command, env=self.variables(), capture_output=True, text=True, timeout=120, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def rows(self, *arguments: str) -> list[dict[str, object]]:
        """The JSON lines a listing prints."""
        return [json.loads(line) for line in self.run(*arguments, "--json").stdout.splitlines()]

    def init(self) -> "Gateway":
        command = [self.program, "-m", "gateway", "init", str(self.directory)]
        command += ["--domain", self.domain, "--next-hop", self.next_hop]
        subprocess.run(command, env=self.variables(), check=True, capture_output=True, timeout=120)
        return self

    def start(self) -> "Gateway":
        command = [*self.wrapper, self.program, "-m", "gateway", "serve"]
        command += ["--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.variables(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(self._up, "the gateway to start", _START_PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{self._tail()}") from None
        return self

    def _up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the gateway ended by itself:\n{self._tail()}")
        return "Schwamm is running" in self.log.read_text(errors="replace").rpartition("\x00")[2]

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and wait; returns the exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self.process = None
        with self.log.open("a") as log:
            log.write("\x00")  # what came before belongs to an earlier run
        return code

    def children(self) -> Mapping[str, list[psutil.Process]]:
        """The running roles' processes."""
        assert self.process is not None
        found: dict[str, list[psutil.Process]] = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                command = child.cmdline()
                if "--role" in command:
                    found.setdefault(command[command.index("--role") + 1], []).append(child)
        return found

    def kill_everything(self) -> None:
        """Whatever a test left running ends here."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=30)


@contextlib.contextmanager
def running(directory: Path, next_hop: str, **options: object) -> Iterator[Gateway]:
    """A gateway that was initialised and serves."""
    gateway = Gateway(directory, next_hop, **options)  # type: ignore[arg-type]
    try:
        yield gateway.init().start()
    finally:
        gateway.kill_everything()
