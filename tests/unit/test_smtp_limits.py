"""Limits and counters."""

import pytest

from gateway.settings import SmtpSettings
from gateway.smtp.limits import Limits, NetworkLimits, client_ip
from gateway.telemetry.networks import NetworkCounts


def test_every_bound_of_the_settings_arrives() -> None:
    chosen = {
        "max_message_bytes": 11,
        "memory_budget_bytes": 12,
        "spill_bytes": 13,
        "max_recipients": 14,
        "max_connections": 15,
        "max_errors": 16,
        "max_received": 17,
        "command_timeout_s": 18.0,
        "data_timeout_s": 19.0,
        "data_min_bytes_per_s": 20,
        "session_timeout_s": 21.0,
        "greet_delay_s": 22.0,
        "unknown_delay_s": 23.0,
    }
    limits = Limits.from_settings(SmtpSettings(**chosen))
    assert {name: getattr(limits, name) for name in chosen} == chosen


class _Time:
    def __init__(self) -> None:
        self.s = 1200.0

    def __call__(self) -> float:
        return self.s


def _limits(time: _Time | None = None, **chosen: object) -> NetworkLimits:
    settings = SmtpSettings(**chosen)  # type: ignore[arg-type]
    return NetworkLimits(settings, NetworkCounts.private(now_s=time or _Time()))


def test_connections_of_a_network_are_counted_and_forgotten() -> None:
    limits = _limits(connections_per_network=2)
    assert [limits.enter(f"192.0.2.{n}") for n in range(3)] == [True, True, False]
    assert limits.enter("192.0.3.1")
    limits.leave("192.0.2.9")
    assert [limits.enter("192.0.2.1") for _ in range(2)] == [True, False]


def test_an_ipv6_network_is_one_client() -> None:
    limits = _limits(connections_per_network=2)
    ips = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1", "odd:address"]
    assert [limits.enter(ip) for ip in ips] == [True, True, False, True, True]


def test_this_machine_is_unlimited_unless_asked() -> None:
    free = _limits(connections_per_network=1, message_rate_per_min=1, unknown_rate_per_min=1)
    for ip in ("127.0.0.1", "::1") * 2:
        assert free.enter(ip)
        assert free.may_send(ip)
        free.unknown_recipient(ip)
        assert not free.guesses(ip)
    counted = _limits(connections_per_network=1, unlimited_networks=("192.0.2.0/24",))
    assert [counted.enter("127.0.0.1") for _ in range(2)] == [True, False]
    assert [counted.enter("192.0.2.1") for _ in range(2)] == [True, True]


def test_zero_is_no_limit() -> None:
    limits = _limits(
        connections_per_network=0,
        connection_rate_per_min=0,
        message_rate_per_min=0,
        unknown_rate_per_min=0,
    )
    for _ in range(500):
        assert limits.enter("192.0.2.1")
        assert limits.may_send("192.0.2.1")
        limits.unknown_recipient("192.0.2.1")
    assert not limits.guesses("192.0.2.1")


def test_rates_are_those_of_the_last_minute() -> None:
    time = _Time()
    limits = _limits(time, message_rate_per_min=4, connection_rate_per_min=2)
    assert [limits.may_send("192.0.2.1") for _ in range(5)] == [True] * 4 + [False]
    assert limits.may_send("198.51.100.1")
    time.s += 75  # three quarters of the five still count: 3.75 and the new one
    assert not limits.may_send("192.0.2.1")
    time.s += 120
    assert limits.may_send("192.0.2.1")
    assert [limits.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    time.s += 120
    assert limits.enter("192.0.2.1")


def test_who_guesses_too_much() -> None:
    limits = _limits(unknown_rate_per_min=3)
    for _ in range(3):
        limits.unknown_recipient("192.0.2.1")
    assert not limits.guesses("192.0.2.77")
    limits.unknown_recipient("192.0.2.1")
    assert limits.guesses("192.0.2.77")
    assert not limits.guesses("198.51.100.1")


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_one_spelling_of_an_address(peer: str, expected: str) -> None:
    assert client_ip(peer) == expected
