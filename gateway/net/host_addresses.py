"""Addresses of hosts as this machine's own resolver knows them (hosts file included)."""

import asyncio
import ipaddress
import socket


async def addresses_of(host: str) -> tuple[str, ...]:
    """All addresses of a host, in a fixed spelling; none when it cannot be resolved."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    texts = (str(entry[4][0]).partition("%")[0] for entry in found)
    return tuple(sorted({str(ipaddress.ip_address(text)) for text in texts}))


def is_own_address(text: str) -> bool:
    """Whether a connection can come from this address of this machine."""
    try:
        version = ipaddress.ip_address(text).version
    except ValueError:
        return False
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6) as sock:
        try:
            sock.bind((text, 0))
        except OSError:
            return False
    return True
