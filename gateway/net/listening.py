"""Listening sockets: bound once, handed to every process that serves them."""

import errno
import socket
import time

from gateway.core.errors import ConfigError

_PATIENCE_S = 5.0  # children of a killed supervisor need a moment to let go of the port
_BACKLOG = 1024


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
