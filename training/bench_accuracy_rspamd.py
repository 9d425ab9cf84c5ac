"""Rspamd as a rival: a private instance with its default rules and Bayes in a private Redis.

Everything that asks the network is switched off, as it is for all filters here: mail of 2002 cannot
be looked up today. Both servers listen on loopback or a socket in a temporary folder only, and end
with the run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from training.bench_accuracy_rivals import MissingRivalError, RivalFailedError
from training.bench_accuracy_servers import free_ports, running, wait_for
from training.evaluate import FilterUnderTest

ADD_HEADER_SCORE = 6.0
"""Where Rspamd's defaults begin to call mail spam (action "add header")."""

_ASKING_THE_NETWORK = (
    *("arc", "asn", "bimi", "dkim", "dkim_signing", "dmarc", "fuzzy_check", "mx_check", "phishing"),
    *("rbl", "replies", "reputation", "rspamd_update", "spf", "surbl", "url_redirector"),
    *("greylist", "history_redis", "neural", "ratelimit"),  # these keep state of their own
)
_TIMEOUT_S = 30.0


class Rspamd:
    """Speaks to the scanning and the controlling worker over connections that stay open."""

    def __init__(self, scan_port: int, control_port: int) -> None:
        self._scan = HTTPConnection("127.0.0.1", scan_port, timeout=_TIMEOUT_S)
        self._control = HTTPConnection("127.0.0.1", control_port, timeout=_TIMEOUT_S)

    def classify(self, raw: bytes) -> float:
        """Return the points. Raises RivalFailedError when there is no answer."""
        status, answer = _post(self._scan, "/checkv2", raw)
        score = answer.get("score")
        if status != 200 or not isinstance(score, int | float):
            raise RivalFailedError(f"rspamd: status {status}: {answer}")
        return float(score)

    def train(self, raw: bytes, is_spam: bool) -> None:
        """Teach the Bayes; that it knows a message, or finds no words in it, is no failure."""
        status, answer = _post(self._control, "/learnspam" if is_spam else "/learnham", raw)
        if status >= 500 or status in {401, 403}:
            raise RivalFailedError(f"rspamd: learning: status {status}: {answer}")


@contextmanager
def open_rspamd() -> Iterator[FilterUnderTest]:
    """A fresh Rspamd that has learned nothing. Raises MissingRivalError, RivalFailedError."""
    programs = {name: shutil.which(name) for name in ("rspamd", "redis-server")}
    if missing := [name for name, path in programs.items() if path is None]:
        raise MissingRivalError(f"{missing[0]} is missing: apt-get install rspamd redis-server")
    with TemporaryDirectory(prefix="rspamd-") as name:
        folder = Path(name)
        scan_port, control_port = free_ports(2)
        _configure(folder, scan_port, control_port)
        redis = [str(programs["redis-server"]), "--port", "0", "--save", "", "--dir", name]
        rspamd = [str(programs["rspamd"]), "-f", "-i"]
        places = ("LOCAL_CONFDIR", "DBDIR", "RUNDIR", "LOGDIR")
        rspamd += [f"--var={place}={folder}" for place in places]
        with (
            running([*redis, "--unixsocket", f"{folder}/redis.sock"]),
            running(rspamd),
        ):
            for port in (scan_port, control_port):
                wait_for(partial(_answers, port), "rspamd")
            tested = Rspamd(scan_port, control_port)
            yield FilterUnderTest(
                name="rspamd",
                scorer=tested,
                learn=tested.train,
                threshold=ADD_HEADER_SCORE,
            )


def _configure(folder: Path, scan_port: int, control_port: int) -> None:
    local = folder / "local.d"
    local.mkdir()
    files = {
        "worker-normal.inc": f'bind_socket = "127.0.0.1:{scan_port}"; count = 1;',
        "worker-controller.inc": f'bind_socket = "127.0.0.1:{control_port}"; count = 1; '
        'secure_ip = "127.0.0.1";',
        "worker-proxy.inc": "enabled = false;",
        "redis.conf": f'servers = "{folder}/redis.sock";',
        "options.inc": 'dns { nameserver = ["127.0.0.1:1"]; timeout = 0.01s; retransmits = 1; }',
        "logging.inc": 'level = "error";',
    }
    for module in _ASKING_THE_NETWORK:
        files[f"{module}.conf"] = "enabled = false;"
    for name, text in files.items():
        (local / name).write_text(text + "\n", encoding="ascii")


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _post(connection: HTTPConnection, path: str, raw: bytes) -> tuple[int, dict[str, object]]:
    for last_try in (False, True):
        try:
            connection.request("POST", path, body=raw)
            response = connection.getresponse()
            answer = json.loads(response.read() or b"{}")
        except (OSError, HTTPException, ValueError) as error:
            # A server may close a connection that was idle while other filters ran.
            connection.close()
            if last_try:
                raise RivalFailedError(f"rspamd: {error}") from error
        else:
            return response.status, answer if isinstance(answer, dict) else {}
    raise AssertionError("unreachable")
