"""Workers run on uvloop: what is known of a lost connection must be the same there."""

import asyncio
from collections.abc import Coroutine

import pytest
import uvloop

from tests.fakes.sink import Fault, Script, sink
from tests.functional import test_nexthop as plain
from tests.functional.test_nexthop import NO_PIPELINING, QUICK, STEP_CASES, fates, hand_off


def on_uvloop(work: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert isinstance(runner.get_loop(), uvloop.Loop)
        runner.run(work)


@pytest.mark.parametrize(("step", "answer", "expected"), STEP_CASES)
def test_each_fault_at_each_step(step: str, answer: str | Fault, expected: list[str]) -> None:
    offers = ("PIPELINING", *NO_PIPELINING)
    on_uvloop(plain.test_each_fault_at_each_step_settles_every_copy(step, answer, expected, offers))


@pytest.mark.parametrize("size", [100, 2_000_000])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Fault.CLOSE, "before_dot"),
        (Fault.RESET, "before_dot"),
        (Fault.HANG, "before_dot"),
        ("552 5.3.4 too big", "552"),
        ("250 2.0.0 eager yes", "before_dot"),
    ],
)
def test_a_fault_within_a_large_message(answer: str | Fault, expected: str, size: int) -> None:
    on_uvloop(plain.test_a_fault_within_a_large_message_leaves_no_doubt(answer, expected, size))


def test_a_peer_that_stops_reading_never_gets_the_dot() -> None:
    on_uvloop(plain.test_a_peer_that_stops_reading_never_gets_the_dot())


def test_a_last_piece_stuck_in_our_own_memory_was_not_sent() -> None:
    on_uvloop(plain.test_a_last_piece_stuck_in_our_own_memory_was_not_sent())


def test_a_cancelled_hand_off_cuts_the_connection() -> None:
    on_uvloop(plain.test_a_cancelled_hand_off_cuts_the_connection())


@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.RESET])
def test_a_peer_that_leaves_while_the_last_piece_waits(fault: Fault) -> None:
    """One huge piece, dot included; the peer reads a part of it and goes."""

    async def work() -> None:
        content = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 1_500_000
        script = Script(answers={"in_data": fault}, in_data_after=100_000)
        async with sink(script) as target:
            one = plain.transaction(content, chunk_bytes=1 << 30)
            assert fates(await hand_off(target, one, QUICK)) == ["before_dot"]

    on_uvloop(work())
    asyncio.run(work())
