"""A connection to a host by any of its addresses, within one time limit."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, TypeVar

_MOST: Final = 8  # addresses that are tried; each gets its share of the time

P = TypeVar("P", bound=asyncio.Protocol)


async def open_connection(
    protocol: Callable[[], P], host: str, port: int, *, source: str, timeout_s: float
) -> P:
    """Connect to the first address of ``host`` that answers (RFC 5321 §5.1).

    asyncio tries them in turn, but waits for each as long as the kernel does: one address that
    swallows packets, a forgotten AAAA record for one, would make the host unreachable. ``source``
    is the address of ours to come from.

    Raises:
        TimeoutError: nothing answered in time.
        OSError, ValueError: refused, unreachable, or no such host.
    """
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + timeout_s
    async with asyncio.timeout(timeout_s):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(_literal(family, address) for family, *_, address in found))
    local = (source, 0) if source else None
    last: OSError | None = None
    for number, address in enumerate(addresses[:_MOST]):
        left = min(len(addresses), _MOST) - number
        try:
            async with asyncio.timeout((ends_s - loop.time()) / left):
                _, made = await loop.create_connection(protocol, address, port, local_addr=local)
        except OSError as error:  # TimeoutError is one
            last = error
        else:
            return made
    raise last or OSError(f"{host} has no address")


def _literal(family: int, address: tuple[object, ...]) -> str:
    """An address without its port; a link-local one of IPv6 keeps its interface (RFC 4007 §11)."""
    scope = address[3] if family == socket.AF_INET6 and len(address) > 3 else 0
    return f"{address[0]!s}%{scope}" if scope else str(address[0])
