"""The memory budget: whatever happens, it is given back exactly once."""

import mmap
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gateway.settings import SmtpSettings
from gateway.smtp.body import Body, ByteBudget, Reservation
from gateway.smtp.limits import WINDOW_BYTES, Limits


def _limits(spill_bytes: int) -> Limits:
    return replace(Limits.from_settings(SmtpSettings(hostname="mx")), spill_bytes=spill_bytes)


def _reserve(budget: ByteBudget) -> Reservation:
    reservation = budget.reserve_window()
    assert reservation is not None
    return reservation


def test_releasing_twice_gives_back_once() -> None:
    budget = ByteBudget(10 * WINDOW_BYTES)
    other = _reserve(budget)
    with _reserve(budget) as reservation:
        assert reservation.grow_to(3 * WINDOW_BYTES)
        assert budget.used_bytes == 4 * WINDOW_BYTES
        reservation.release()
        assert budget.used_bytes == WINDOW_BYTES
        assert not reservation.grow_to(2 * WINDOW_BYTES)
    assert budget.used_bytes == WINDOW_BYTES
    other.release()
    assert budget.used_bytes == 0


def test_a_budget_smaller_than_a_window_serves_one_at_a_time() -> None:
    budget = ByteBudget(1000)
    with _reserve(budget):
        assert budget.reserve_window() is None
    with _reserve(budget):
        pass


def test_growing_beyond_the_budget_changes_nothing() -> None:
    budget = ByteBudget(2 * WINDOW_BYTES)
    with _reserve(budget) as reservation:
        assert not reservation.grow_to(2 * WINDOW_BYTES + 1)
        assert budget.used_bytes == reservation.bytes == WINDOW_BYTES
        assert reservation.grow_to(2 * WINDOW_BYTES)


class _Budgets(RuleBasedStateMachine):
    """Any order of reserving, growing, shrinking and releasing keeps the sum right."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.budget = ByteBudget(6 * WINDOW_BYTES)
        self.live: list[Reservation] = []

    @rule(target=held)
    def reserve(self) -> Reservation | None:
        reservation = self.budget.reserve_window()
        if reservation is not None:
            self.live.append(reservation)
        return reservation

    @rule(reservation=held, windows=st.integers(0, 7))
    def grow(self, reservation: Reservation | None, windows: int) -> None:
        if reservation is not None:
            reservation.grow_to(windows * WINDOW_BYTES)

    @rule(reservation=held)
    def shrink(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            reservation.shrink_to_window()

    @rule(reservation=consumes(held), times=st.integers(1, 3))
    def release(self, reservation: Reservation | None, times: int) -> None:
        if reservation is not None:
            for _ in range(times):
                reservation.release()
            self.live.remove(reservation)

    @invariant()
    def used_is_the_sum(self) -> None:
        assert self.budget.used_bytes == sum(each.bytes for each in self.live)
        assert 0 <= self.budget.used_bytes <= self.budget.limit_bytes


TestBudgets = _Budgets.TestCase


@pytest.mark.parametrize("spill_bytes", [0, WINDOW_BYTES, 3 * WINDOW_BYTES, 100 * WINDOW_BYTES])
async def test_memory_or_file_the_content_is_the_same(spill_bytes: int, tmp_path: Path) -> None:
    pieces = [bytes([number]) * 50_000 for number in range(10)]
    budget = ByteBudget(100 * WINDOW_BYTES)
    with _reserve(budget) as reservation:
        body = Body(reservation, limits=_limits(spill_bytes), directory=tmp_path)
        with body:
            for piece in pieces:
                if body.add(piece):
                    await body.spill()
                    assert body.spilled
                    assert reservation.bytes == WINDOW_BYTES
            spilled = body.spilled
            content, _ = await body.finish()
            assert not body._buffer  # memory does not hold it twice while it is scanned
        # What was given away outlives the body.
        assert content[:] == b"".join(pieces)
        assert isinstance(content, mmap.mmap) == spilled == (spill_bytes < 100 * WINDOW_BYTES)
    assert budget.used_bytes == 0


async def test_many_small_pieces_cost_no_more_than_their_bytes(tmp_path: Path) -> None:
    """A client that sends octet by octet must not be able to multiply our memory."""
    with _reserve(ByteBudget(WINDOW_BYTES)) as reservation:
        body = Body(reservation, limits=_limits(WINDOW_BYTES), directory=tmp_path)
        for _ in range(WINDOW_BYTES):
            assert not body.add(b"x")
        assert body._buffer.__sizeof__() < 1.3 * WINDOW_BYTES
