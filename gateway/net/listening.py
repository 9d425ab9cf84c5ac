"""Listening sockets: bound once, handed to every process that serves them."""

import errno
import os
import socket
import time

from gateway.core.errors import ConfigError

_PATIENCE_S = 5.0  # children of a killed supervisor need a moment to let go of the port
_BACKLOG = 1024
FIRST_PASSED = 3  # SD_LISTEN_FDS_START


def activated() -> dict[str, socket.socket]:
    """Sockets that systemd (sd_listen_fds(3)) bound for this process, by name.

    ``FileDescriptorName=smtp`` and ``web`` in the socket units name them; one without a name of
    ours is the SMTP socket.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, socket.socket] = {}
    for number in range(int(os.environ.get("LISTEN_FDS", "0"))):
        name = names[number] if number < len(names) and names[number] in {"smtp", "web"} else "smtp"
        sock = socket.socket(fileno=FIRST_PASSED + number)
        sock.setblocking(False)
        found.setdefault(name, sock)
    return found


def bind(host: str, port: int, *, patience_s: float = _PATIENCE_S) -> socket.socket:
    """A listening TCP socket that child processes can inherit.

    Never SO_REUSEPORT: a second instance would start unnoticed.

    Raises:
        ConfigError: naming the address, when it is in use or may not be bound.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    end = time.monotonic() + patience_s
    while True:
        sock = socket.socket(family, kind, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE and time.monotonic() < end:
                time.sleep(0.2)
                continue
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}; "
                "stop what holds that port or choose another in gateway.toml"
            ) from error
        sock.setblocking(False)
        return sock
