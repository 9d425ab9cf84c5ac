"""Starts one role in this process."""

import asyncio
import os
import signal
from pathlib import Path

import structlog

from gateway.app.life import SUPERVISED, orphaned
from gateway.app.renewal import Renewal
from gateway.core.errors import ConfigError
from gateway.settings import Settings
from gateway.telemetry.logs import configure

_log = structlog.get_logger()


def run_role(role: str, settings: Settings, config: Path) -> None:
    """Run ``smtp``, ``web`` or ``keeper`` until SIGTERM; without supervisor, SIGHUP begins anew.

    Each imports only what it needs: an SMTP worker loads neither SQLAlchemy nor scikit-learn.

    Raises:
        ConfigError: an unknown role, or what that role needs is not there.
    """
    configure(settings.log, role=role)
    if orphaned():  # it died while Python started here: its successor waits for our sockets
        _log.error("the supervisor is gone; not starting")
        return
    renewal = None if SUPERVISED in os.environ else Renewal(config)
    match role:
        case "smtp":
            import uvloop  # noqa: PLC0415

            from gateway.app.worker import run_worker  # noqa: PLC0415

            uvloop.run(run_worker(settings, renewal))
        case "web":
            from gateway.app.web import run_web  # noqa: PLC0415

            asyncio.run(run_web(settings, renewal))
        case "keeper":
            from gateway.app.keeper import run_keeper  # noqa: PLC0415

            asyncio.run(run_keeper(settings, renewal))
        case _:
            raise ConfigError(f"no role {role!r}; there are smtp, web and keeper")
    if renewal is not None:
        renewal.begin_anew()
    # Python gives signals back their deadly default while it tears itself down; all is done here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
