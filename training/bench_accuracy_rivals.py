"""Other free filters, driven over the same messages: one fresh word list for each stream."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from training.evaluate import FilterUnderTest

_TIMEOUT_S = 60


class MissingRivalError(Exception):
    """A filter is not installed; the text names the line that installs it."""


class RivalFailedError(Exception):
    """A filter that is installed gave no answer."""


class Bogofilter:
    """Debian's ``bogofilter`` with its own defaults, one process for each message.

    Its score is read at full precision (``-TT``, 16 digits), so that rounding costs it no ranks.
    """

    spam_cutoff = 0.99
    _nothing_known = 0.52  # its own prior, robx, before there is a word list

    def __init__(self, folder: Path) -> None:
        program = shutil.which("bogofilter")
        if program is None:
            raise MissingRivalError("bogofilter is missing: apt-get install bogofilter")
        # No user or system settings: everyone measures the same program.
        self._command = [program, "-C", "-d", str(folder)]
        self._trained = False

    def classify(self, raw: bytes) -> float:
        """Return the spamicity, 0 to 1. Raises RivalFailedError when there is no answer."""
        if not self._trained:
            return self._nothing_known
        done = self._run("-TT", raw)
        if done.returncode not in {0, 1, 2}:
            raise RivalFailedError(f"bogofilter: {done.stderr.decode('utf-8', 'replace')[:200]}")
        return float(done.stdout)

    def train(self, raw: bytes, is_spam: bool) -> None:
        """Register a message as spam or ham."""
        done = self._run("-s" if is_spam else "-n", raw)
        if done.returncode != 0:
            raise RivalFailedError(f"bogofilter: {done.stderr.decode('utf-8', 'replace')[:200]}")
        self._trained = True

    def _run(self, option: str, raw: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603  # a fixed program, mail on its standard input only
            [*self._command, option],
            input=raw,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )


@contextmanager
def open_bogofilter() -> Iterator[FilterUnderTest]:
    """A bogofilter that knows nothing yet. Raises MissingRivalError."""
    # In memory where that can be: waiting for a disk is no part of the comparison.
    memory = Path("/dev/shm")  # noqa: S108  # only the parent of a fresh private folder
    parent = memory if memory.is_dir() else None
    with TemporaryDirectory(prefix="bogofilter-", dir=parent) as folder:
        tested = Bogofilter(Path(folder))
        yield FilterUnderTest(
            name="bogofilter",
            scorer=tested,
            learn=tested.train,
            threshold=tested.spam_cutoff,
        )
