"""What every test shares: which Debian package it needs, and no skipping where CI looks."""

import os
import shutil
from pathlib import Path

import pytest

PROGRAMS = {  # package -> a program (or path) that is there when it is installed
    "postgresql": "/usr/lib/postgresql/*/bin/postgres",
    "chromium": "chromium",
    "bogofilter": "bogofilter",
    "clamav-daemon": "clamd",
    "postfix": "postfix",
    "dovecot-lmtpd": "dovecot",
    "rbldnsd": "rbldnsd",
    "redis-server": "redis-server",
    "rspamd": "rspamd",
    "spamassassin": "spamd",
    "swaks": "swaks",
}


def _installed(package: str) -> bool:
    program = PROGRAMS[package]
    if program.startswith("/"):
        return any(Path("/").glob(program.lstrip("/")))
    return shutil.which(program) is not None or Path("/usr/sbin", program).exists()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        (package,) = marker.args
        if not _installed(package):
            text = f"needs a Debian package: apt-get install {package}"
            if os.environ.get("CI") == "true":
                pytest.fail(text)
            pytest.skip(text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests run only when asked for: ``-m long`` or ``make test-long``."""
    if config.getoption("-m"):
        return
    chosen = [item for item in items if item.get_closest_marker("long") is None]
    left_out = [item for item in items if item.get_closest_marker("long") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


@pytest.fixture
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that asks for English, whatever the machine's own language."""
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def mail_data(root: Path) -> Path:
    """The folder of real messages that tests share."""
    return root / "tests" / "data" / "mail"
