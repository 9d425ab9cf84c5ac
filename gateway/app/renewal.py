"""SIGHUP for a role that runs by itself, under systemd say: drain, then begin anew in place.

The supervisor answers SIGHUP with a second set of children (ADR 0004). A role without supervisor is
one process that its service manager knows by number, so it keeps that number: the configuration is
read first, and if it cannot be used nothing changes; else the role finishes what it has, as for
SIGTERM, and the same process executes its own command line again. The listening socket is kept open
all the time: clients that come meanwhile wait in its queue, none is refused.
"""

import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from gateway.core.errors import ConfigError
from gateway.net.listening import FIRST_PASSED
from gateway.settings import Settings, load

_log = structlog.get_logger()
_ENVIRONMENT: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(slots=True)
class Renewal:
    """What a role needs to begin anew; ``config`` is the file it was started with."""

    config: Path
    wanted: bool = False
    _terminated: bool = field(init=False, default=False)
    _role: str = field(init=False, default="")
    _listener: socket.socket | None = field(init=False, default=None)
    _bound_to: tuple[str, int] | None = field(init=False, default=None)

    def keep(self, role: str, listener: socket.socket, bound_to: tuple[str, int] | None) -> None:
        """Hold on to a listening socket; ``bound_to`` is None when somebody else bound it."""
        self._role, self._listener, self._bound_to = role, listener.dup(), bound_to

    def terminate(self) -> None:
        """Somebody wants us gone, whatever else was wanted: new clients may go elsewhere."""
        self._terminated = True
        if self._listener is not None:
            self._listener.close()

    def ask(self) -> bool:
        """Whether the configuration can be used; if not, the log says why and nothing changes."""
        try:
            load(self.config)
        except ConfigError as error:
            _log.error("reload refused, the old configuration stays", reason=str(error))
            return False
        self.wanted = True
        return True

    def begin_anew(self) -> None:
        """Become a fresh process of the same number; returns only when SIGTERM came meanwhile.

        Raises:
            ConfigError: the configuration broke since it was asked about.
        """
        if not self.wanted:
            return
        settings = load(self.config)
        # Ignored is inherited: a second SIGHUP must not kill the fresh process before it listens.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        if self._terminated:
            return
        environment = {key: text for key, text in os.environ.items() if key not in _ENVIRONMENT}
        if self._listener is not None and self._still_wanted(settings):
            os.dup2(self._listener.fileno(), FIRST_PASSED)
            environment |= {
                "LISTEN_PID": str(os.getpid()),
                "LISTEN_FDS": "1",
                "LISTEN_FDNAMES": self._role,
            }
        _log.info("reloading", settings=settings.digest)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606

    def _still_wanted(self, settings: Settings) -> bool:
        if self._bound_to is None:
            return True
        section = settings.smtp if self._role == "smtp" else settings.web
        return self._bound_to == (section.host, section.port)
