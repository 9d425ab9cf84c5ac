"""Recipients that are asked for at the next hop: over real sockets, through a running gateway."""

import asyncio
from pathlib import Path

from gateway.core.addresses import parse_address
from gateway.core.clock import SystemClock
from gateway.net.callout import Callout, Existence
from gateway.net.pool import Pool
from gateway.settings import DeliverySettings
from tests.fakes.gateway import Gateway
from tests.fakes.sink import Answer, Fault, Script, Sink, sink
from tests.fakes.smtp_client import RawClient

_SETTINGS = DeliverySettings(connect_timeout_s=2, command_timeout_s=1, final_timeout_s=2)
_NOBODY = "550 5.1.1 no such user"


class _OnlyAnna(dict[str, Answer]):
    """The sink's answers by address: everybody but Anna is unknown."""

    def get(self, address: str, default: Answer = None) -> Answer:  # type: ignore[override]
        return default if address.strip("<>").startswith("anna@") else _NOBODY


def _pool() -> Pool:
    return Pool(_SETTINGS, hostname="gw.example.org", clock=SystemClock())


async def _ask(pool: Pool, to: Sink, address: str) -> Existence:
    return await Callout(pool, SystemClock()).ask(to.hop, parse_address(address))


async def test_asked_by_the_null_sender_without_a_message() -> None:
    pool = _pool()
    async with sink(Script(by_rcpt=_OnlyAnna())) as to:
        assert await _ask(pool, to, "anna@example.org") is Existence.KNOWN
        assert await _ask(pool, to, "bert@example.org") is Existence.UNKNOWN
        await pool.close()
        assert to.connections == 1
        assert to.messages == []
        assert to.commands.count("MAIL FROM:<>") == 2
        assert "DATA" not in to.commands
        assert to.commands.index("RSET") > to.commands.index("MAIL FROM:<>")


async def test_a_next_hop_that_misbehaves_leaves_us_unsure() -> None:
    for script in (
        Script(answers={"mail": "550 5.7.1 no null sender here"}),
        Script(answers={"rcpt": Fault.CLOSE}),
        Script(answers={"rcpt": Fault.HANG}),
        Script(answers={"rcpt": Fault.GARBAGE}),
        Script(answers={"greeting": "554 5.7.1 go away"}),
    ):
        pool = _pool()
        async with sink(script) as to:
            assert await _ask(pool, to, "bert@example.org") is Existence.UNSURE
            await pool.close()
    pool = _pool()
    assert await _ask(pool, to, "bert@example.org") is Existence.UNSURE  # nobody listens any more
    await pool.close()


def _prepare(gateway: Gateway) -> None:
    gateway.init()
    gateway.run("domain", "set", "trial.example", "--recipients", "callout")
    gateway.run(
        *("domain", "add", "list.example", "--next-hop", gateway.next_hop),
        *("--recipients", "list:anna,info"),
    )
    gateway.start()


async def test_through_a_running_gateway(tmp_path: Path) -> None:
    async with sink(Script(by_rcpt=_OnlyAnna())) as to:
        gateway = Gateway(tmp_path, f"127.0.0.1:{to.port}")
        try:
            await asyncio.to_thread(_prepare, gateway)
            rows = await asyncio.to_thread(gateway.rows, "domain", "list")
            assert {row["domain"]: row["recipients"] for row in rows} == {
                "trial.example": "callout",
                "list.example": "list:anna,info",
            }
            async with RawClient("127.0.0.1", gateway.smtp_port) as client:
                await client.reply()
                await client.ask("EHLO client.example")
                await client.ask("MAIL FROM:<a@client.example>")
                codes = {
                    name: (await client.ask(f"RCPT TO:<{name}.example>"))[:9]
                    for name in ("anna@trial", "bert@trial", "anna@list", "bert@list")
                }
            assert codes == {
                "anna@trial": "250 2.1.5",
                "bert@trial": "550 5.1.1",
                "anna@list": "250 2.1.5",
                "bert@list": "550 5.1.1",
            }
            assert to.messages == []
        finally:
            gateway.kill_everything()
