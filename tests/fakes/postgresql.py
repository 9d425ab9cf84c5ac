"""A PostgreSQL server of Debian's package, in a folder of its own, on a socket nobody else knows.

It runs as an unprivileged user (it refuses to be root), sorts by German rules so that a query that
relies on the octet order shows, and dies with the process that started it.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg

_USER = "postgres"
_START_S = 60.0
_CUT_OFF = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@dataclass(slots=True)
class PostgresqlServer:
    """A server; its databases are emptied and used again, which is faster than new ones."""

    folder: Path
    programs: Path
    process: subprocess.Popen[bytes] | None = None
    free: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Serve, and return when it answers."""
        command = [str(self.programs / "postgres"), *_options(self.folder / "data", self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_as_nobody_special(), *command], stdout=log, stderr=log
            )
        _wait_until_it_answers(self.process, self.folder)

    def stop(self) -> None:
        """Cut off everybody who is connected, and end."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)
            self.process = None

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """An empty database's URL."""
        if not self.free:
            self.made.append(f"test_{len(self.made)}")
            self._run("postgres", f"CREATE DATABASE {self.made[-1]}")
            self.free.append(self.made[-1])
        name = self.free.pop()
        try:
            yield f"postgresql://{_USER}@/{name}?host={quote(str(self.folder))}"
        finally:
            self._run(name, _CUT_OFF)
            self._run(name, "DROP SCHEMA public CASCADE")
            self._run(name, "CREATE SCHEMA public")
            self.free.append(name)

    def _run(self, database: str, statement: str) -> None:
        with psycopg.connect(
            host=str(self.folder), user=_USER, dbname=database, autocommit=True
        ) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


@contextlib.contextmanager
def postgresql() -> Iterator[PostgresqlServer]:
    """Start a server and stop it at the end."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    folder = Path(tempfile.mkdtemp(prefix="schwamm-pg-"))
    try:
        _give_away(folder)
        _initialise(programs, folder / "data")
        server = PostgresqlServer(folder, programs)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _initialise(programs: Path, data: Path) -> None:
    command = [str(programs / "initdb"), "-D", str(data), "-U", _USER, "--auth=trust"]
    locale = ["--encoding=UTF8", "--locale=C.UTF-8"]
    sorting = ["--locale-provider=icu", "--icu-locale=de-DE", "--no-sync"]
    subprocess.run(
        [*_as_nobody_special(), *command, *locale, *sorting], check=True, capture_output=True
    )


def _options(data: Path, folder: Path) -> list[str]:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "fsync": "off",  # the tests' databases need not survive the machine
        "max_connections": "60",
        "shared_buffers": "32MB",
    }
    return ["-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]


def _as_nobody_special() -> list[str]:
    command = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        command += [f"--reuid={_USER}", f"--regid={_USER}", "--init-groups"]
    return [*command, "--"]


def _give_away(folder: Path) -> None:
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        os.chown(folder, user.pw_uid, user.pw_gid)


def _wait_until_it_answers(process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + _START_S
    while True:
        try:
            psycopg.connect(host=str(folder), user=_USER, dbname="postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError((folder / "log").read_text(errors="replace")) from None
            time.sleep(0.1)
        else:
            return
