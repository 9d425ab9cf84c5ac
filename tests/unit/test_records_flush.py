"""Group commit: a flush serves those who came before it began, and fails for all of them."""

import errno
import threading

import pytest

from gateway.store.files import SharedFlush


class SlowFlush:
    """A flush that waits to be let through, and fails as told."""

    def __init__(self, *outcomes: int) -> None:
        self.outcomes = list(outcomes)
        self.begun = 0
        self.entered = threading.Semaphore(0)
        self.let_through = threading.Semaphore(0)

    def __call__(self) -> None:
        self.begun += 1
        self.entered.release()
        assert self.let_through.acquire(timeout=10)
        if number := self.outcomes.pop(0):
            raise OSError(number, "as told")


class Waiter(threading.Thread):
    def __init__(self, shared: SharedFlush) -> None:
        super().__init__()
        self.shared = shared
        self.heard: OSError | None = None
        self.arrived = threading.Event()

    def run(self) -> None:
        self.arrived.set()
        try:
            self.shared.wait()
        except OSError as error:
            self.heard = error


def start(shared: SharedFlush, number: int) -> list[Waiter]:
    waiters = [Waiter(shared) for _ in range(number)]
    for waiter in waiters:
        waiter.start()
        assert waiter.arrived.wait(10)
    return waiters


def test_latecomers_share_the_next_flush() -> None:
    flush = SlowFlush(0, 0, 0, 0, 0, 0, 0)
    shared = SharedFlush(flush)
    first = start(shared, 1)
    assert flush.entered.acquire(timeout=10)
    late = start(shared, 5)
    while any(waiter.is_alive() for waiter in late):
        flush.let_through.release()
        for waiter in late:
            waiter.join(0.05)
    first[0].join(10)
    assert flush.begun >= 2  # never the one that had begun before they came
    assert [waiter.heard for waiter in first + late] == [None] * 6


def test_a_failed_flush_fails_for_all_it_served_and_for_nobody_else() -> None:
    flush = SlowFlush(errno.EIO, 0)
    shared = SharedFlush(flush)
    (failed,) = start(shared, 1)
    assert flush.entered.acquire(timeout=10)
    (good,) = start(shared, 1)
    flush.let_through.release()
    assert flush.entered.acquire(timeout=10)
    flush.let_through.release()
    failed.join(10)
    good.join(10)
    assert failed.heard is not None
    assert failed.heard.errno == errno.EIO
    assert good.heard is None


def test_a_flush_cut_short_is_no_flush() -> None:
    def flush() -> None:
        raise KeyboardInterrupt

    shared = SharedFlush(flush)
    with pytest.raises(KeyboardInterrupt):
        shared.wait()
    with pytest.raises(KeyboardInterrupt):
        shared.wait()
