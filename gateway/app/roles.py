"""Starts one role in this process."""

import asyncio
import signal

from gateway.core.errors import ConfigError
from gateway.settings import Settings
from gateway.telemetry.logs import configure


def run_role(role: str, settings: Settings) -> None:
    """Run ``smtp``, ``web`` or ``keeper`` until SIGTERM.

    Each imports only what it needs: an SMTP worker loads neither SQLAlchemy nor scikit-learn.

    Raises:
        ConfigError: an unknown role, or what that role needs is not there.
    """
    configure(settings.log, role=role)
    match role:
        case "smtp":
            import uvloop  # noqa: PLC0415

            from gateway.app.worker import run_worker  # noqa: PLC0415

            uvloop.run(run_worker(settings))
        case "web":
            from gateway.app.web import run_web  # noqa: PLC0415

            asyncio.run(run_web(settings))
        case "keeper":
            from gateway.app.keeper import run_keeper  # noqa: PLC0415

            asyncio.run(run_keeper(settings))
        case _:
            raise ConfigError(f"no role {role!r}; there are smtp, web and keeper")
    # Python gives signals back their deadly default while it tears itself down; all is done here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
