"""SMTP AUTH (RFC 4954) with PLAIN (RFC 4616) and LOGIN: the words on the wire, no passwords kept.

Both mechanisms tell us the password, so they exist only under TLS. What a client sends here never
reaches a log, not even in part: people type a password where their name belongs.
"""

import base64
import binascii
from dataclasses import dataclass, field

from gateway.smtp.answers import AUTH_CANCELLED, BAD_ARGUMENTS, UNKNOWN_MECHANISM
from gateway.smtp.commands import RefusedCommandError
from gateway.smtp.wire import Wire

MAX_LINE_BYTES = 4096  # login of 320, password of 1024 letters, in base64, with room
ASK_PLAIN = b"334 \r\n"
ASK_LOGIN_NAME = b"334 VXNlcm5hbWU6\r\n"
ASK_LOGIN_PASSWORD = b"334 UGFzc3dvcmQ6\r\n"
_MECHANISMS = frozenset({"PLAIN", "LOGIN"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says of itself."""

    login: str
    password: str = field(repr=False)


async def read_credentials(wire: Wire, argument: str, deadline: float) -> Credentials | None:
    """Lead the exchange that ``AUTH <argument>`` begins; None: well-formed, and nobody's.

    Raises:
        RefusedCommandError: 501 for what is no base64 or was cancelled, 504 for other mechanisms.
        EndedError: see ``Wire.read_line``.
    """
    mechanism, _, initial = argument.partition(" ")
    mechanism = mechanism.upper()
    if not mechanism:
        raise RefusedCommandError(BAD_ARGUMENTS, "AUTH without mechanism")
    if mechanism not in _MECHANISMS:
        raise RefusedCommandError(UNKNOWN_MECHANISM, "AUTH mechanism")
    if mechanism == "PLAIN":
        data = _decoded(initial.encode()) if initial else await _asked(wire, ASK_PLAIN, deadline)
        return _plain(data)
    name = _decoded(initial.encode()) if initial else await _asked(wire, ASK_LOGIN_NAME, deadline)
    password = await _asked(wire, ASK_LOGIN_PASSWORD, deadline)
    return _credentials(name, password)


async def _asked(wire: Wire, challenge: bytes, deadline: float) -> bytes:
    wire.say(challenge)
    line = await wire.read_line(deadline)
    if line == b"*":
        raise RefusedCommandError(AUTH_CANCELLED, "AUTH cancelled")
    return _decoded(line)


def _decoded(text: bytes) -> bytes:
    """A line of base64; ``=`` stands for an empty response (RFC 4954 §4)."""
    if len(text) > MAX_LINE_BYTES:
        raise RefusedCommandError(BAD_ARGUMENTS, "AUTH response too long")
    if text == b"=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedCommandError(BAD_ARGUMENTS, "AUTH response is no base64") from error


def _plain(data: bytes) -> Credentials | None:
    """``authzid NUL authcid NUL passwd``; acting for somebody else is nobody's right."""
    parts = data.split(b"\0")
    if len(parts) != 3:
        return None
    acting_for, name, password = parts
    if acting_for not in {b"", name}:
        return None
    return _credentials(name, password)


def _credentials(name: bytes, password: bytes) -> Credentials | None:
    try:
        found = Credentials(login=name.decode(), password=password.decode())
    except UnicodeDecodeError:
        return None
    return found if found.login and found.password else None
