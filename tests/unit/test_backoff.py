"""Retry delays and the fate of a copy after an attempt: pure, so one table shows them all."""

import pytest

from gateway.core.handoff import CopyReply, Phase
from gateway.core.queueing import Claim
from gateway.core.record import CopyState
from gateway.core.routing import parse_next_hop
from gateway.delivery.backoff import retry_delay_s
from gateway.delivery.results import Settling, copy_event
from gateway.settings import DeliverySettings

SETTINGS = DeliverySettings(first_retry_s=60, longest_retry_s=3600, expire_after_s=86400)
HOP = parse_next_hop("mail.example.org:25")
HOUR_MS = 3_600_000
NOW_MS = 100 * HOUR_MS


def test_delays_double_up_to_the_longest() -> None:
    delays = [retry_delay_s(attempts, SETTINGS, 0.5) for attempts in range(1, 10)]
    assert delays == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_delays_are_spread_by_a_fifth() -> None:
    assert retry_delay_s(1, SETTINGS, 0.0) == pytest.approx(48)
    assert retry_delay_s(1, SETTINGS, 1.0) == pytest.approx(72)


@pytest.mark.parametrize("attempts", [0, -5, 10**9])
def test_odd_counts_are_bounded(attempts: int) -> None:
    assert 60 <= retry_delay_s(attempts, SETTINGS, 0.5) <= 3600


def claim(
    *, state: CopyState = CopyState.QUEUED, attempts: int = 0, since_ms: int = NOW_MS - HOUR_MS
) -> Claim:
    return Claim(
        mail_id="1jd8m3q7k-n1-4h2k0a9",
        recipient="a@one.example",
        domain="one.example",
        state=state,
        attempts=attempts,
        since_ms=since_ms,
        lease_until_ms=NOW_MS + 1,
        fence=1,
    )


def reply(phase: Phase = Phase.ANSWERED, code: int = 0) -> CopyReply:
    return CopyReply(recipient="a@one.example", phase=phase, code=code, text="words", next_hop=HOP)


def settled(one: Claim, result: CopyReply) -> dict[str, object]:
    at = Settling(settings=SETTINGS, now_ms=NOW_MS, retention_days=14, chance=0.5)
    event = copy_event(one, result, at)
    assert (event.mail_id, event.recipient, event.what, event.at_ms) == (
        one.mail_id,
        one.recipient,
        "copy",
        NOW_MS,
    )
    return event.detail


@pytest.mark.parametrize("state", [CopyState.QUEUED, CopyState.RELEASED])
@pytest.mark.parametrize(
    "result",
    [
        reply(code=451),
        reply(code=421),
        reply(code=354),
        reply(Phase.BEFORE_DOT),
        reply(Phase.AFTER_DOT),
    ],
)
def test_what_may_be_tried_again_is(result: CopyReply, state: CopyState) -> None:
    detail = settled(claim(state=state, attempts=2), result)
    assert detail["state"] == state.value
    assert detail["attempts"] == 3
    assert detail["next_attempt_at_ms"] == NOW_MS + 240_000
    assert detail["next_hop"] == "mail.example.org:25"
    assert detail.get("uncertain", False) is (result.phase is Phase.AFTER_DOT)
    assert "words" in str(detail["reply"])


@pytest.mark.parametrize("state", [CopyState.QUEUED, CopyState.RELEASED])
def test_taken_is_delivered_even_after_its_time(state: CopyState) -> None:
    detail = settled(claim(state=state, since_ms=0), reply(code=250))
    assert detail["state"] == "delivered"
    assert "next_attempt_at_ms" not in detail
    assert "hold_reason" not in detail


def test_a_refusal_is_held_for_the_admin() -> None:
    detail = settled(claim(), reply(code=550))
    assert detail["state"] == "held"
    assert detail["hold_reason"] == "refused_by_next_hop"
    assert detail["admin_only"] is True
    assert detail["expires_at_ms"] == NOW_MS + 14 * 86_400_000


@pytest.mark.parametrize("result", [reply(code=451), reply(Phase.AFTER_DOT)])
def test_time_in_the_queue_ends_in_the_hold_never_in_a_bounce(result: CopyReply) -> None:
    detail = settled(claim(attempts=99, since_ms=NOW_MS - 86_400_000), result)
    assert detail["state"] == "held"
    assert detail["hold_reason"] == "queue_expired"
    assert detail["admin_only"] is True


def test_the_last_attempt_is_made_when_the_time_ends() -> None:
    since_ms = NOW_MS - 86_400_000 + 5_000
    detail = settled(claim(attempts=99, since_ms=since_ms), reply(code=451))
    assert detail["next_attempt_at_ms"] == NOW_MS + 5_000
