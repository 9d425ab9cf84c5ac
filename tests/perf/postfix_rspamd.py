"""Debian's Postfix with Rspamd as its milter and Redis behind it, in directories of their own.

The packages' default configurations are used: Postfix's ``master.cf.dist`` (without chroot, which
needs copies of system files), Rspamd's whole rule set, Redis as shipped. Changed is what the
comparison needs: ports, paths, where mail goes, no greylisting (it would answer 4xx), and what
Rspamd rejects goes to Postfix's hold queue, as Schwamm holds it. Root starts them; each drops to
its own user.
"""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.gateway import free_port, wait_until
from tests.perf.processes import Memory, cpu_s, family, memory
from tests.perf.real_mail import RealMail

PACKAGES = {"postfix": "postfix", "rspamd": "rspamd", "redis-server": "redis-server"}
_QUEUES = ("maildrop", "incoming", "active", "deferred")
_LEARN_AT_ONCE = 200
_QUIET_CORES = 0.03


def missing_packages() -> list[str]:
    """Debian packages to install first."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [package for tool, package in PACKAGES.items() if not shutil.which(tool, path=path)]


class PostfixRspamd:
    """The peer, as a Side."""

    name = "postfix+rspamd"

    def __init__(self, directory: Path, sink_port: int) -> None:
        self.directory = directory
        self.port = free_port()
        self._sink_port = sink_port
        self._children: list[subprocess.Popen[bytes]] = []
        self._master = 0

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    @property
    def log(self) -> Path:
        return self.directory / "log" / "mail.log"

    @property
    def rspamd_log(self) -> Path:
        return self.directory / "rspamd" / "log" / "rspamd.log"

    def start(self) -> None:
        """All three, until each of them answers."""
        self.directory.chmod(0o755)
        self._start_redis()
        self._start_rspamd()
        self._start_postfix()

    def stop(self) -> None:
        if self._master:
            subprocess.run(["postfix", "-c", str(self.directory / "postfix"), "abort"], check=False)
        for child in reversed(self._children):
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=20)

    def pids(self) -> list[int]:
        return family([self._master, *(child.pid for child in self._children)])

    def memory_by_role(self) -> dict[str, Memory]:
        names = ("redis", "rspamd")
        found = {
            name: memory(family([one.pid])) for name, one in zip(names, self._children, strict=True)
        }
        return {"postfix": memory(family([self._master])), **found}

    def wait_idle(self, messages: int) -> None:
        """Postfix has nothing left to move (held mail stays), and nobody computes any more."""
        del messages
        wait_until(lambda: not self._moving(), "an empty queue", 180)
        self.wait_quiet()

    def wait_quiet(self, patience_s: float = 120.0) -> None:
        """Until all processes together use next to nothing for half a second."""

        def quiet() -> bool:
            before = cpu_s(self.pids())
            time.sleep(0.5)
            return cpu_s(self.pids()) - before < 0.5 * _QUIET_CORES

        wait_until(quiet, "the peer to be quiet", patience_s)

    def held(self) -> int:
        return _files_below(self.spool / "hold")

    def symbol_count(self, symbol: str) -> int:
        """How many messages Rspamd gave a symbol, by its log."""
        pattern = re.compile(rf"[\[,]{symbol}\(")
        with self.rspamd_log.open(errors="replace") as lines:
            return sum(1 for line in lines if pattern.search(line))

    def _moving(self) -> bool:
        return any(_files_below(self.spool / name) for name in _QUEUES)

    def learn(self, mails: Sequence[RealMail]) -> None:
        """Train the statistics with the run's own mail."""
        folder = self.directory / "learn"
        for kind in ("ham", "spam"):
            (folder / kind).mkdir(parents=True)
        for number, mail in enumerate(mails):
            kind = "spam" if mail.is_spam else "ham"
            (folder / kind / f"{number}.eml").write_bytes(mail.content)
        for kind in ("ham", "spam"):
            files = sorted(str(path) for path in (folder / kind).iterdir())
            for at in range(0, len(files), _LEARN_AT_ONCE):
                batch = files[at : at + _LEARN_AT_ONCE]
                command = ["rspamc", "-h", "127.0.0.1:11334", f"learn_{kind}", *batch]
                subprocess.run(command, check=False, capture_output=True, timeout=300)

    def statistics(self) -> str:
        """What Rspamd says of itself."""
        command = ["rspamc", "-h", "127.0.0.1:11334", "stat"]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout

    def _start_redis(self) -> None:
        folder = self._owned("redis", "redis")
        config = folder / "redis.conf"
        config.write_text(
            f"include /etc/redis/redis.conf\nbind 127.0.0.1\nport 6379\ndaemonize no\n"
            f"dir {folder}\npidfile {folder}/pid\nlogfile {folder}/log\n"
        )
        config.chmod(0o644)
        self._spawn("redis-server", str(config), user="redis")
        wait_until(lambda: _answers("redis-cli", "-p", "6379", "ping"), "redis")

    def _start_rspamd(self) -> None:
        folder = self._owned("rspamd", "_rspamd")
        for name in ("db", "run", "log", "local.d"):
            self._owned(f"rspamd/{name}", "_rspamd")
        local = folder / "local.d"
        (local / "redis.conf").write_text('servers = "127.0.0.1:6379";\n')
        (local / "actions.conf").write_text("greylist = null;\n")
        (local / "greylist.conf").write_text("enabled = false;\n")
        (local / "worker-proxy.inc").write_text("quarantine_on_reject = true;\n")
        variables = {"LOCAL_CONFDIR": folder, "DBDIR": folder / "db", "RUNDIR": folder / "run"}
        options = [f"--var={name}={path}" for name, path in variables.items()]
        command = ["rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", *options]
        self._spawn(*command, f"--var=LOGDIR={folder}/log")
        wait_until(lambda: _answers("rspamc", "-h", "127.0.0.1:11334", "stat"), "rspamd", 120)

    def _start_postfix(self) -> None:
        config = self.directory / "postfix"
        for folder in (config, self.spool, self.log.parent):
            folder.mkdir()
        (self._owned("data", "postfix")).chmod(0o700)
        (config / "main.cf").write_text(self._main())
        (config / "master.cf").write_text(self._master_cf())
        done = subprocess.run(
            ["postfix", "-c", str(config), "start"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"postfix: {done.stdout}{done.stderr}")
        pid = self.spool / "pid" / "master.pid"
        wait_until(pid.exists, "postfix")
        self._master = int(pid.read_text())

    def _main(self) -> str:
        return "\n".join(
            (
                "compatibility_level = 3.6",
                f"queue_directory = {self.spool}",
                f"data_directory = {self.directory}/data",
                "myhostname = mx.trial.example",
                "mydestination =",
                "mynetworks = 127.0.0.1/32",
                "inet_interfaces = 127.0.0.1",
                "inet_protocols = ipv4",
                "relay_domains = trial.example",
                f"relay_transport = relay:[127.0.0.1]:{self._sink_port}",
                f"maillog_file = {self.log}",
                f"maillog_file_prefixes = {self.directory}",
                "smtpd_milters = inet:127.0.0.1:11332",
                "milter_default_action = tempfail",
                "milter_protocol = 6",
                "smtputf8_enable = yes",
                "",
            )
        )

    def _master_cf(self) -> str:
        lines = []
        for line in Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
            fields = line.split()
            if len(fields) == 8 and not line.startswith((" ", "#")):
                fields[4] = "n"
                if fields[:2] == ["smtp", "inet"]:
                    fields[0] = f"127.0.0.1:{self.port}"
                lines.append(" ".join(fields))
                continue
            lines.append(line)
        return "\n".join(lines) + "\n"

    def _owned(self, name: str, user: str) -> Path:
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, user)
        return folder

    def _spawn(self, *command: str, user: str | None = None) -> None:
        with (self.directory / f"{Path(command[0]).name}.out").open("wb") as out:
            self._children.append(subprocess.Popen(command, stdout=out, stderr=out, user=user))


def _files_below(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _answers(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def running_peer(directory: Path, sink_port: int) -> Iterator[PostfixRspamd]:
    """The peer, stopped at the end."""
    directory.mkdir()
    peer = PostfixRspamd(directory, sink_port)
    try:
        peer.start()
        yield peer
    finally:
        peer.stop()
