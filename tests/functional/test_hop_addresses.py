"""A next hop with several addresses, some of which swallow packets or refuse."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from gateway.net import hop_addresses
from gateway.net.smtp_client import ConnectFault, SmtpConnection
from gateway.settings import DeliverySettings
from tests.fakes.sink import sink

_SETTINGS = DeliverySettings(connect_timeout_s=3, command_timeout_s=5)


@pytest.fixture
def swallowing() -> Iterator[str]:
    """An address where connecting neither succeeds nor fails: its queue of new clients is full."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.2", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):
            client = open_sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.2", port))
        yield f"127.0.0.2:{port}"


async def _connected(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> str:
    """Connect to a host that has these addresses; where we are in the end, or why nowhere."""

    async def found(_host: str, _port: int, **kind: int) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, kind["type"], 0, "", (one, 0)) for one in addresses]

    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def to_its_port(
        protocol: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        local_addr: tuple[str, int] | None,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        name, _, number = host.partition(":")
        return await connect(protocol, name, int(number), local_addr=local_addr)

    monkeypatch.setattr(loop, "getaddrinfo", found)
    monkeypatch.setattr(loop, "create_connection", to_its_port)
    async with sink() as any_hop:
        hop = any_hop.hop
    made = await SmtpConnection.connect(hop, hostname="gw.example", settings=_SETTINGS, tls=None)
    if isinstance(made, ConnectFault):
        return made.text
    peer = made._wire.transport.get_extra_info("peername")
    made.abort()
    return f"{peer[0]}:{peer[1]}"


async def test_one_that_swallows_packets_does_not_hide_the_next(
    swallowing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sink() as good:
        address = f"127.0.0.1:{good.port}"
        assert await _connected(monkeypatch, swallowing, address) == address


async def test_one_that_refuses_does_not_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sink() as gone:
        refusing = f"127.0.0.1:{gone.port}"
    async with sink() as good:
        address = f"127.0.0.1:{good.port}"
        assert await _connected(monkeypatch, refusing, refusing, address) == address


async def test_none_that_answers(swallowing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _connected(monkeypatch, swallowing) == "no connection within 3 s"
    assert "no address" in await _connected(monkeypatch)


def test_a_link_local_address_keeps_its_interface() -> None:
    assert hop_addresses._literal(socket.AF_INET6, ("fe80::1", 25, 0, 7)) == "fe80::1%7"
    assert hop_addresses._literal(socket.AF_INET6, ("2001:db8::1", 25, 0, 0)) == "2001:db8::1"
    assert hop_addresses._literal(socket.AF_INET, ("192.0.2.1", 25)) == "192.0.2.1"
