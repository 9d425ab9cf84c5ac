"""The story of a copy: which event moves it where, as one table, and that order of reading is all
the same."""

import itertools
from collections.abc import Sequence

import pytest

from gateway.core.record import CopyState, Event, HoldReason, What
from gateway.store.folding import CopyNow, after, beginning, change_of
from tests.contract.samples import NOON_MS, make_copy, make_facts

D, Q, H, R = CopyState.DELIVERED, CopyState.QUEUED, CopyState.HELD, CopyState.RELEASED
OURS = {Q, H, R}


def told(state: CopyState, at_ms: int = NOON_MS + 1000, **detail: object) -> Event:
    return Event(at_ms=at_ms, what=What.COPY, mail_id="", detail={"state": state.value, **detail})


def start(state: CopyState) -> CopyNow:
    copy = make_copy(state=state)
    return beginning(make_facts(copy), copy)


def fold(state: CopyState, *events: Event) -> CopyNow:
    now = start(state)
    for event in events:
        now = after(now, change_of(event))
    return now


@pytest.mark.parametrize(("was", "new"), list(itertools.product(CopyState, CopyState)))
def test_where_an_event_moves_a_copy(was: CopyState, new: CopyState) -> None:
    moved = fold(was, told(new)).state
    if new is CopyState.EXPIRED:
        assert moved is (new if was is H else was)  # only what lies in the quarantine expires there
    elif was in OURS or (new is D and was is not D):
        assert moved is new
    else:
        assert moved is was  # settled: nothing brings it back, least of all a second release


@pytest.mark.parametrize(
    ("was", "event", "expected"),
    [
        (H, told(R), NOON_MS + 1000),
        (H, told(R, next_attempt_at_ms=NOON_MS + 5), NOON_MS + 5),
        (Q, told(Q, next_attempt_at_ms=NOON_MS + 9), NOON_MS + 9),
        (Q, told(H), None),
        (Q, told(D), None),
    ],
)
def test_when_it_is_tried_next(was: CopyState, event: Event, expected: int | None) -> None:
    assert fold(was, event).next_attempt_at_ms == expected


@pytest.mark.parametrize("state", CopyState)
def test_only_what_waits_is_due_at_the_beginning(state: CopyState) -> None:
    due = start(state).next_attempt_at_ms
    assert (due is not None) == (state in {Q, R})


def test_time_in_a_state_counts_from_when_it_was_entered() -> None:
    once = fold(Q, told(Q, NOON_MS + 10, attempts=1), told(Q, NOON_MS + 20, attempts=2))
    assert (once.since_ms, once.changed_at_ms, once.attempts) == (NOON_MS + 40, NOON_MS + 20, 2)
    held = fold(Q, told(H, NOON_MS + 30, hold_reason="queue_expired", admin_only=True))
    assert (held.since_ms, held.hold_reason) == (NOON_MS + 30, HoldReason.QUEUE_EXPIRED)
    assert held.admin_only is True


def test_a_reason_to_hold_ends_with_the_holding() -> None:
    assert fold(H, told(H, reply="seen")).hold_reason is HoldReason.SPAM
    assert fold(H, told(R)).hold_reason is None
    again = fold(H, told(R), told(H, NOON_MS + 2000, hold_reason="refused_by_next_hop"))
    assert again.hold_reason is HoldReason.REFUSED_BY_NEXT_HOP


def test_what_an_event_does_not_say_stays() -> None:
    now = fold(Q, told(Q, reply="450 busy", attempts=3, next_hop="b.example:25"), told(Q))
    assert (now.reply, now.attempts, now.next_hop) == ("450 busy", 3, "b.example:25")
    spelled_out = fold(Q, told(Q, next_hop={"kind": "maildir", "path": "/srv/mail"}))
    assert spelled_out.next_hop == "maildir:/srv/mail"


def test_two_stories_that_end_alike() -> None:
    """Events of the same copies, folded in order, whatever lies between."""
    events: Sequence[Event] = [
        told(R, NOON_MS + 1), told(D, NOON_MS + 2, reply="250 ok"), told(R, NOON_MS + 3),
    ]  # fmt: skip
    assert fold(H, *events).state is D
    assert fold(H, *events) == fold(H, *events[:2])
