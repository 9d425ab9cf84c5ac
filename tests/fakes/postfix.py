"""Debian's Postfix as a customer's mail server, in a directory of its own on free loopback ports.

The package's ``master.cf.dist`` is used (without chroot, which needs copies of system files); what
differs stands below. Only root may start it, and nothing of the system's own instance is touched.
"""

import os
import shutil
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.gateway import free_port, wait_until

USERS = ("postmaster", "abuse", "anna", "bert", "cora")


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A folder that servers may enter after they dropped root; pytest's own are private.

    Who is not root skips; where CI looks, that fails as a missing package does.
    """
    if os.geteuid() != 0:
        text = "Postfix and Dovecot are started by root only"
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    folder = Path(tempfile.mkdtemp(prefix=f"schwamm-{prefix}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Postfix:
    """One instance; users have a Maildir whatever the domain. ``more`` are lines of main.cf.

    ``plain_port`` is a second way in that offers neither 8BITMIME, SMTPUTF8, DSN nor PIPELINING.
    """

    def __init__(
        self,
        folder: Path,
        *,
        domains: tuple[str, ...] = ("trial.example",),
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.domains = domains
        self.port = free_port()
        self.plain_port = free_port()
        self._more = dict(more or {})

    @property
    def log(self) -> Path:
        return self.folder / "log" / "mail.log"

    def write(self) -> "Postfix":
        for name in ("postfix", "spool", "log", "mail"):
            (self.folder / name).mkdir()
        (self.folder / "data").mkdir(mode=0o700)
        shutil.chown(self.folder / "data", "postfix")
        shutil.chown(self.folder / "mail", "nobody", "nogroup")
        (self.folder / "postfix" / "main.cf").write_text(self._main())
        (self.folder / "postfix" / "master.cf").write_text(self._master())
        return self

    def start(self) -> "Postfix":
        done = self._postfix("start")
        if done.returncode:
            raise RuntimeError(f"postfix: {done.stdout}{done.stderr}")
        wait_until((self.folder / "spool" / "pid" / "master.pid").exists, "postfix")
        return self

    def stop(self, how: str = "stop") -> None:
        self._postfix(how)

    def mails(self, user: str) -> list[bytes]:
        """What lies in a user's Maildir, in no order."""
        return [path.read_bytes() for path in (self.folder / "mail" / user / "new").glob("*")]

    def _postfix(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["postfix", "-c", str(self.folder / "postfix"), command],
            capture_output=True,
            text=True,
            check=False,
        )

    def _main(self) -> str:
        boxes = ", ".join(
            f"{{{user}@{domain}={user}/}}" for user in USERS for domain in self.domains
        )
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": f"{self.folder}/spool",
            "data_directory": f"{self.folder}/data",
            "myhostname": f"mail.{self.domains[0]}",
            "mydestination": "",
            "mynetworks": "192.0.2.1/32",
            "inet_interfaces": "loopback-only",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "virtual_mailbox_domains": ", ".join(self.domains),
            "virtual_mailbox_base": f"{self.folder}/mail",
            "virtual_mailbox_maps": f"inline:{{ {boxes} }}",
            "virtual_uid_maps": "static:65534",
            "virtual_gid_maps": "static:65534",
            "maillog_file": str(self.log),
            "maillog_file_prefixes": str(self.folder),
            "smtpd_tls_security_level": "none",
            "message_size_limit": "1000000",
            **self._more,
        }
        return "".join(f"{name} = {value}\n" for name, value in settings.items())

    def _master(self) -> str:
        lines = []
        for line in Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
            fields = line.split()
            if len(fields) != 8 or line.startswith((" ", "#")):
                lines.append(line)
                continue
            fields[4] = "n"
            if fields[:2] == ["smtp", "inet"]:
                fields[0] = str(self.port)
                poor = [str(self.plain_port), *fields[1:]]
                lines.append(" ".join(poor))
                lines.append("  -o smtpd_discard_ehlo_keywords=8bitmime,smtputf8,dsn,pipelining")
            lines.append(" ".join(fields))
        return "\n".join(lines) + "\n"


@contextmanager
def running_postfix(**options: object) -> Iterator[Postfix]:
    """A Postfix for one test or module, stopped at the end."""
    with open_folder("postfix") as folder:
        server = Postfix(folder, **options).write()  # type: ignore[arg-type]
        try:
            yield server.start()
        finally:
            server.stop("abort")


Request = Mapping[str, str]


@contextmanager
def policy_server(decide: Callable[[Request], str]) -> Iterator[int]:
    """A policy service (SMTPD_POLICY_README): ``decide`` gets the attributes, gives the action."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request: dict[str, str] = {}
            for line in self.rfile:
                name, equals, value = line.decode().strip().partition("=")
                if equals:
                    request[name] = value
                    continue
                self.wfile.write(f"action={decide(request)}\n\n".encode())
                request = {}

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
