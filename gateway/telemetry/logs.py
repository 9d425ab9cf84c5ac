"""Structured logging on standard error: event name, key=value pairs, one summary a message."""

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog

from gateway.settings import LogSettings

_PERSONAL = ("mail_from", "recipients", "recipient", "subject", "from_header", "rcpt_to")


class _Unfailing:
    """Standard error, but a log that cannot be written fails nobody.

    A full disk below the log file must not end a session between hand-over and reply: the client
    would send what was delivered once more.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure(settings: LogSettings, *, role: str) -> None:
    """Set up logging of this process; addresses and subjects are left out unless settings allow."""
    json_lines = settings.format == "json" or (
        settings.format == "auto" and not sys.stderr.isatty()
    )
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json_lines
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if not settings.personal_data:
        processors.insert(0, _without_personal_data)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
    # aiosmtpd and others log through the standard library, addresses included: only warnings pass.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
    logging.getLogger("mail.log").setLevel(logging.ERROR)


def _without_personal_data(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    del logger, method
    for key in _PERSONAL:
        event.pop(key, None)
    return event
