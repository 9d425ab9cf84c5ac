"""SpamAssassin as a rival: a private ``spamd`` with Debian's rules, a Bayes database of its own.

Local tests only (``-L``), as for all filters here: mail of 2002 cannot be looked up today. Nothing
is learned that was not told. It is asked as spamc asks it (``spamd/PROTOCOL`` in SpamAssassin's
source).
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from training.bench_accuracy_rivals import MissingRivalError, RivalFailedError
from training.bench_accuracy_servers import free_ports, running, wait_for
from training.evaluate import FilterUnderTest

REQUIRED_SCORE: Final = 5.0
"""Where SpamAssassin's defaults begin to call mail spam."""

_SITE: Final = Path("/etc/spamassassin")
_INSTALL: Final = "apt-get install spamassassin spamc"
_SCORE: Final = re.compile(rb"^Spam: \w+ ; (-?[\d.]+) / ", re.MULTILINE)
_TIMEOUT_S: Final = 120.0
_MAX_ANSWER_BYTES: Final = 64 * 1024


class SpamAssassin:
    """Asks a spamd, one connection for each message, as spamc does."""

    def __init__(self, port: int) -> None:
        self._port = port

    def classify(self, raw: bytes) -> float:
        """Return the points, in tenths. Raises RivalFailedError when there is no answer."""
        answer = self._ask("CHECK", "", raw)
        found = _SCORE.search(answer)
        if found is None:
            raise RivalFailedError(f"spamassassin: {answer[:200].decode('latin-1')}")
        return float(found[1])

    def train(self, raw: bytes, is_spam: bool) -> None:
        """Teach the Bayes. Raises RivalFailedError when it is not taken."""
        kind = "spam" if is_spam else "ham"
        answer = self._ask("TELL", f"Message-class: {kind}\r\nSet: local\r\n", raw)
        if b" EX_OK" not in answer.partition(b"\n")[0]:
            raise RivalFailedError(f"spamassassin: {answer[:200].decode('latin-1')}")

    def ping(self) -> bool:
        """Return whether it answers."""
        try:
            return b"PONG" in self._ask("PING", "", b"")
        except RivalFailedError:
            return False

    def _ask(self, verb: str, fields: str, raw: bytes) -> bytes:
        head = f"{verb} SPAMC/1.5\r\nContent-length: {len(raw)}\r\n{fields}\r\n"
        try:
            with socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_S) as connection:
                connection.sendall(head.encode("ascii") + raw)
                connection.shutdown(socket.SHUT_WR)
                with connection.makefile("rb") as answer:
                    return answer.read(_MAX_ANSWER_BYTES)
        except OSError as error:
            raise RivalFailedError(f"spamassassin: {error}") from error


@contextmanager
def open_spamassassin() -> Iterator[FilterUnderTest]:
    """A fresh SpamAssassin that has learned nothing. Raises MissingRivalError, RivalFailedError."""
    program = shutil.which("spamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not _SITE.is_dir():
        raise MissingRivalError(f"spamd is missing: {_INSTALL}")
    with TemporaryDirectory(prefix="spamassassin-") as name:
        folder = Path(name)
        as_user = _configure(folder)
        (port,) = free_ports(1)
        options = ["-L", "-l", "-x", "-m", "1", "-s", "null"]
        options += ["-i", "127.0.0.1", "-A", "127.0.0.1", "-p", str(port)]
        options += [f"--siteconfigpath={folder / 'site'}", f"--helper-home-dir={folder}", *as_user]
        tested = SpamAssassin(port)
        with running([program, *options]):
            wait_for(tested.ping, "spamassassin")
            yield FilterUnderTest(
                name="spamassassin",
                scorer=tested,
                learn=tested.train,
                threshold=REQUIRED_SCORE,
            )


def _configure(folder: Path) -> list[str]:
    """Write its settings; return the options that name whom it runs as (never root)."""
    site = folder / "site"
    site.mkdir()
    for path in (*_SITE.glob("*.pre"), *_SITE.glob("[0-9]*.cf")):
        shutil.copy(path, site)
    (site / "local.cf").write_text(
        f"use_bayes 1\nbayes_path {folder}/bayes\nbayes_auto_learn 0\n", encoding="ascii"
    )
    if os.getuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return ["-u", "nobody"]
