"""Limits and counters."""

import pytest

from gateway.settings import SmtpSettings
from gateway.smtp.limits import Limits, LocalConnectionCounter, client_ip


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
    }
    limits = Limits.from_settings(SmtpSettings(**chosen))
    assert {name: getattr(limits, name) for name in chosen} == chosen


def test_connections_of_a_client_are_counted_and_forgotten() -> None:
    counter = LocalConnectionCounter(per_client=2)
    assert [counter.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert counter.enter("192.0.2.2")
    counter.leave("192.0.2.1")
    assert counter.enter("192.0.2.1")
    for ip in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        counter.leave(ip)
    assert counter._open == {}


def test_an_ipv6_network_is_one_client() -> None:
    counter = LocalConnectionCounter(per_client=2)
    ips = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1", "odd:address"]
    assert [counter.enter(ip) for ip in ips] == [True, True, False, True, True]
    for ip in ("2001:db8::2", "2001:db8::1", "2001:db8:0:1::1", "odd:address"):
        counter.leave(ip)
    assert counter._open == {}


def test_this_machine_counts_only_when_asked_to() -> None:
    counter = LocalConnectionCounter(per_client=1)
    assert all(counter.enter(ip) for ip in ("127.0.0.1", "127.0.0.1", "::1", "::1"))
    counter.leave("127.0.0.1")
    counting = LocalConnectionCounter(per_client=1, count_loopback=True)
    assert [counting.enter("127.0.0.1") for _ in range(2)] == [True, False]


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
