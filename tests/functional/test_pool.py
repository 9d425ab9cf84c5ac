"""Kept connections and the health of next hops, over real sockets and a clock that tests move."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme

from gateway.core.clock import SystemClock
from gateway.core.handoff import Phase
from gateway.core.routing import NextHop
from gateway.net.pool import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pool
from gateway.settings import DeliverySettings
from tests.fakes.sink import Fault, Script, sink
from tests.functional.test_nexthop import MAIL, fates, transaction

SETTINGS = DeliverySettings(
    connect_timeout_s=0.5, command_timeout_s=0.5, final_timeout_s=0.5, idle_connection_s=30
)


class MovedClock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def now_ms(self) -> int:
        return round(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s


class Watched:
    """A pool, its clock, and what its callback heard."""

    def __init__(self, settings: DeliverySettings) -> None:
        self.clock = MovedClock()
        self.heard: list[tuple[int, bool]] = []
        self.reasons: list[str] = []
        self.pool = Pool(
            settings, hostname="gw.example", clock=self.clock, on_availability=self._hear
        )

    def _hear(self, hop: NextHop, up: bool, reason: str) -> None:
        self.heard.append((hop.port, up))
        self.reasons.append(reason)

    async def send(self, target: NextHop, *recipients: str) -> list[str]:
        return fates(await self.pool.hand_off(target, transaction(MAIL, *recipients)))


@asynccontextmanager
async def watched(settings: DeliverySettings = SETTINGS) -> AsyncIterator[Watched]:
    one = Watched(settings)
    try:
        yield one
    finally:
        await one.pool.close()
        one.pool.abort()


async def test_a_connection_serves_many_messages() -> None:
    async with sink() as target, watched() as w:
        for _ in range(10):
            assert await w.send(target.hop) == ["250"]
        assert target.connections == 1
        await w.pool.close()
        assert target.commands[-1] == "QUIT"
    assert len(target.messages) == 10
    assert w.heard == []


async def test_no_more_connections_than_allowed() -> None:
    settings = SETTINGS.model_copy(
        update={"connections_per_next_hop": 3, "connect_timeout_s": 5, "command_timeout_s": 5}
    )
    async with sink(Script(delay_s=0.01)) as target, watched(settings) as w:
        results = await asyncio.gather(*(w.send(target.hop) for _ in range(12)))
    assert results == [["250"]] * 12
    assert target.most_open == 3


async def test_waiting_for_a_free_connection_ends() -> None:
    settings = SETTINGS.model_copy(
        update={"connections_per_next_hop": 1, "connect_timeout_s": 0.1, "final_timeout_s": 5}
    )
    async with sink(Script(answers={"final": Fault.HANG})) as target, watched(settings) as w:
        stuck = asyncio.create_task(w.send(target.hop))
        while not target.commands or target.commands[-1] != "DATA":
            await asyncio.sleep(0.01)
        result = await w.pool.hand_off(target.hop, transaction())
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
    assert fates(result) == ["before_dot"]
    assert "busy" in result.fault
    assert not w.pool.is_down(target.hop)


async def test_an_idle_connection_has_its_time() -> None:
    async with sink() as target, watched() as w:
        await w.send(target.hop)
        w.clock.now_s += SETTINGS.idle_connection_s + 1
        await w.send(target.hop)
        assert target.connections == 2
        w.clock.now_s += SETTINGS.idle_connection_s + 1
        w.pool.close_idle()
        while target.commands.count("QUIT") < 2:
            await asyncio.sleep(0.005)
        while target.open_connections:
            await asyncio.sleep(0.005)


async def test_idle_connections_end_by_themselves() -> None:
    settings = SETTINGS.model_copy(update={"idle_connection_s": 0.1})
    async with sink() as target:
        pool = Pool(settings, hostname="gw.example", clock=SystemClock())
        await pool.hand_off(target.hop, transaction())
        while target.open_connections:
            await asyncio.sleep(0.01)
        assert target.commands[-1] == "QUIT"
        await pool.close()


async def test_a_connection_closed_while_idle_is_not_a_failure() -> None:
    async with sink() as target, watched() as w:
        await w.send(target.hop)
        target.drop_connections()
        await asyncio.sleep(0.02)
        assert await w.send(target.hop) == ["250"]
    assert target.connections == 2
    assert w.heard == []


@pytest.mark.parametrize("answer", [Fault.CLOSE, Fault.RESET, "421 4.3.2 too many messages"])
async def test_a_stale_connection_is_found_out_at_mail_and_replaced(answer: str | Fault) -> None:
    async with sink() as target, watched() as w:
        await w.send(target.hop)
        kept_script = target.script
        target.script = Script()  # for the next connection; the open one goes on with the old
        kept_script.answers["mail"] = answer
        assert await w.send(target.hop) == ["250"]
    assert target.connections == 2
    assert len(target.messages) == 2
    assert w.heard == []


@pytest.mark.parametrize(("step", "expected"), [("final", "after_dot"), ("in_data", "before_dot")])
async def test_nothing_is_repeated_once_content_was_sent(step: str, expected: str) -> None:
    async with sink() as target, watched() as w:
        await w.send(target.hop)
        target.script.answers[step] = Fault.CLOSE
        target.script.in_data_after = 100_000
        lines = 10 if step == "final" else 1_500_000
        one = transaction(b"a: b\r\n\r\n" + b"0123456789abcde\r\n" * lines)
        assert fates(await w.pool.hand_off(target.hop, one)) == [expected]
    assert target.connections == 1
    assert len(target.messages) == 1


async def test_an_outage_costs_one_attempt_and_is_told_once() -> None:
    async with sink() as target, watched() as w:
        hop = target.hop
        await target.stop()
        first = await w.pool.hand_off(hop, transaction())
        assert fates(first) == ["before_dot"]
        assert w.pool.is_down(hop)
        assert w.pool.fails_at_once(hop)
        for _ in range(50):
            again = await w.pool.hand_off(hop, transaction())
            assert again.fault.startswith("next hop is down: cannot connect")
        assert w.heard == [(hop.port, False)]
        assert w.pool.down_hops() == (hop,)


async def test_pauses_double_to_a_limit_and_end_with_the_outage() -> None:
    async with sink() as target, watched() as w:
        hop = target.hop
        await target.stop()
        pauses = []
        for _ in range(8):
            await w.send(hop)
            started = w.clock.now_s
            while w.pool.fails_at_once(hop):
                w.clock.now_s += 0.5
            pauses.append(w.clock.now_s - started)
        assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
        assert (pauses[0], pauses[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)
        async with sink(port=hop.port) as back:
            assert await w.send(hop) == ["250"]
            assert len(back.messages) == 1
            assert w.heard == [(hop.port, False), (hop.port, True)]
            assert not w.pool.is_down(hop)
            assert w.pool.down_reason(hop) == ""


async def test_one_at_a_time_finds_out_whether_it_is_back() -> None:
    async with sink() as target, watched() as w:
        hop = target.hop
        await target.stop()
        await w.send(hop)
        w.clock.now_s += FIRST_PAUSE_S
        async with sink(Script(delay_s=0.05), port=hop.port) as back:
            results = await asyncio.gather(*(w.send(hop) for _ in range(5)))
            assert sorted(fate for (fate,) in results) == ["250"] + ["before_dot"] * 4
            assert back.connections == 1


async def test_a_probe_brings_it_up_without_a_message() -> None:
    async with sink() as target, watched() as w:
        hop = target.hop
        await target.stop()
        await w.send(hop)
        assert not await w.pool.probe(hop)
        w.clock.now_s += FIRST_PAUSE_S
        assert not await w.pool.probe(hop)  # still gone; the pause doubles
        async with sink(port=hop.port) as back:
            assert not await w.pool.probe(hop)  # within the pause
            w.pool.expect_up(hop)  # another process reached it
            assert await w.pool.probe(hop)
            assert w.heard == [(hop.port, False), (hop.port, True)]
            assert await w.send(hop) == ["250"]
            assert back.connections == 1  # the probe's connection was kept


async def test_a_next_hop_that_greets_and_falls_silent_stays_down() -> None:
    """No flapping: a greeting alone does not clear it, an answered MAIL does."""
    async with sink(Script(answers={"mail": Fault.HANG})) as target, watched() as w:
        assert await w.send(target.hop) == ["before_dot"]
        w.clock.now_s += FIRST_PAUSE_S
        results = await asyncio.gather(*(w.send(target.hop) for _ in range(5)))
        assert results == [["before_dot"]] * 5
        assert target.connections == 2  # one of the five asked, the others had their answer at once
        w.clock.now_s += 2 * FIRST_PAUSE_S
        assert not await w.pool.probe(target.hop)
        assert w.heard == [(target.port, False)]
        target.script = Script()
        w.clock.now_s += 4 * FIRST_PAUSE_S
        assert await w.pool.probe(target.hop)
        assert w.heard == [(target.port, False), (target.port, True)]
        assert await w.send(target.hop) == ["250"]
        assert target.connections == 4
    assert target.commands.count("MAIL FROM:<>") == 2


async def test_a_message_that_gets_its_answer_clears_it_too() -> None:
    async with sink(Script(answers={"final": Fault.HANG})) as target, watched() as w:
        assert await w.send(target.hop) == ["after_dot"]
        target.script = Script(answers={"rcpt": "550 5.1.1 who?"})
        w.clock.now_s += FIRST_PAUSE_S
        assert w.pool.is_down(target.hop)
        assert await w.send(target.hop) == ["550"]
        assert w.heard == [(target.port, False), (target.port, True)]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (Script(answers={"greeting": "554 5.3.2 no service"}), "554 5.3.2 no service"),
        (Script(answers={"greeting": Fault.HANG}), "timeout (waiting for greeting)"),
        (Script(answers={"ehlo": Fault.CLOSE}), "waiting for EHLO"),
        (Script(answers={"mail": Fault.HANG}), "timeout (waiting for MAIL)"),
        (Script(answers={"rcpt": Fault.CLOSE}), "waiting for RCPT"),
        (Script(answers={"final": Fault.HANG}), "timeout (waiting for end of DATA)"),
    ],
)
async def test_what_takes_a_next_hop_down(script: Script, reason: str) -> None:
    async with sink(script) as target, watched() as w:
        await w.send(target.hop)
        assert w.heard == [(target.port, False)]
        assert reason in w.reasons[0]


@pytest.mark.parametrize(
    "script",
    [
        Script(answers={"mail": "451 4.7.1 greylisted"}),
        Script(answers={"rcpt": "550 5.1.1 who?"}),
        Script(answers={"data": "554 5.7.1 never"}),
        Script(answers={"final": "452 4.2.2 full"}),
        Script(answers={"final": Fault.CLOSE}),  # may be this one message's fault
        # Who refuses somebody and hangs up is there for the others.
        Script(answers={"mail": "550 5.7.1 not from you"}, close_after=("mail",)),
        Script(answers={"rcpt": "554 5.7.1 nor to them"}, close_after=("rcpt",)),
        Script(answers={"mail": "421 4.7.0 too many of yours"}),
        Script(
            answers={"mail": "550 5.7.1 not from you"},
            close_after=("mail",),
            offers=("8BITMIME",),
        ),
    ],
)
async def test_what_does_not(script: Script) -> None:
    async with sink(script) as target, watched() as w:
        await w.send(target.hop)
    assert w.heard == []


async def test_a_closed_pool_answers_with_a_value() -> None:
    async with sink() as target, watched() as w:
        await w.pool.close()
        result = await w.pool.hand_off(target.hop, transaction())
    assert fates(result) == ["before_dot"]
    assert result.fault == "shutting down"
    assert target.connections == 0


async def test_close_lets_a_message_finish_and_abort_settles_the_rest() -> None:
    settings = SETTINGS.model_copy(update={"final_timeout_s": 30})
    async with sink(Script(answers={"final": Fault.HANG})) as target, watched(settings) as w:
        running = asyncio.create_task(w.pool.hand_off(target.hop, transaction()))
        while "DATA" not in target.commands:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        await w.pool.close()
        assert not running.done()
        w.pool.abort()
        result = await running
    assert result.replies[0].phase is Phase.AFTER_DOT


# ---- STARTTLS


@pytest.fixture(scope="module")
def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("sink.test").configure_cert(context)
    return context


def tls_script(context: ssl.SSLContext, **answers: str | Fault | None) -> Script:
    return Script(tls=context, answers=dict(answers))


async def test_tls_is_used_where_offered(server_tls: ssl.SSLContext) -> None:
    big = transaction(b"a: b\r\n\r\n" + b".x" * 40_000 + b"\r\n", chunk_bytes=7_001)
    async with sink(tls_script(server_tls)) as target, watched() as w:
        assert await w.send(target.hop) == ["250"]
        assert fates(await w.pool.hand_off(target.hop, big)) == ["250"]
    assert [message.tls for message in target.messages] == [True, True]
    assert target.messages[1].content == b"".join(big.content.chunks())
    assert [line.split()[0] for line in target.commands[:4]] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
    assert target.connections == 1


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "501 5.5.4 never"])
async def test_a_refused_starttls_means_plain_text(server_tls: ssl.SSLContext, answer: str) -> None:
    async with sink(tls_script(server_tls, starttls=answer)) as target, watched() as w:
        assert await w.send(target.hop) == ["250"]
    assert [message.tls for message in target.messages] == [False]
    assert target.connections == 1


async def test_broken_tls_falls_back_to_plain_text_and_is_remembered() -> None:
    useless = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # no certificate: no shared cipher
    async with sink(Script(tls=useless)) as target, watched() as w:
        for _ in range(2):
            assert await w.send(target.hop) == ["250"]
            target.drop_connections()
            await asyncio.sleep(0.02)
    assert [message.tls for message in target.messages] == [False, False]
    assert target.commands.count("STARTTLS") == 1
    assert w.heard == []


async def test_octets_before_the_handshake_are_not_taken_for_encrypted(
    server_tls: ssl.SSLContext,
) -> None:
    injected = "220 go ahead\r\n250-sink.test\r\n250 SIZE 1"
    async with sink(tls_script(server_tls, starttls=injected)) as target, watched() as w:
        assert await w.send(target.hop) == ["250"]
    assert [message.tls for message in target.messages] == [False]


@pytest.mark.parametrize(("step", "expected"), [("mail", "before_dot"), ("final", "after_dot")])
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.CLOSE, Fault.RESET, Fault.GARBAGE])
async def test_faults_inside_tls(
    server_tls: ssl.SSLContext, step: str, expected: str, fault: Fault
) -> None:
    async with sink(tls_script(server_tls, **{step: fault})) as target, watched() as w:
        assert await w.send(target.hop) == [expected]
    assert not target.messages


async def test_a_peer_inside_tls_that_stops_reading(server_tls: ssl.SSLContext) -> None:
    big = transaction(b"a: b\r\n\r\n" + b"0123456789abcde\r\n" * 1_000_000)
    script = Script(tls=server_tls, read_pause=True)
    async with sink(script) as target, watched() as w:
        assert fates(await w.pool.hand_off(target.hop, big)) == ["before_dot"]
    assert not target.messages
