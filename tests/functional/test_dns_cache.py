"""How long answers are kept, and how many."""

import pytest

from gateway.core.dns import Answer, ServfailError
from gateway.net.dns_cache import DnsCache


class Now:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.s = 1000.0

    def now_ms(self) -> int:
        return int(self.s * 1000)

    def monotonic_s(self) -> float:
        return self.s


LISTED = Answer(records=("127.0.0.2",))
ABSENT = Answer(rcode="NXDOMAIN")


@pytest.mark.parametrize(
    ("answer", "ttl_s", "seconds"),
    [
        (LISTED, 60, 60),
        (LISTED, 0, 0),
        (LISTED, 2**31 - 1, 86_400),
        (ABSENT, 30, 30),
        (ABSENT, 0, 0),
        (ABSENT, 86_400, 3_600),
        (ABSENT, None, 5),
    ],
)
def test_times_to_live_have_bounds(answer: Answer, ttl_s: int | None, seconds: int) -> None:
    clock = Now()
    cache = DnsCache(10, clock)
    cache.put(("a", "A"), answer, ttl_s)
    clock.s += seconds - 0.5
    assert (cache.get(("a", "A")) is not None) == (seconds > 0)
    clock.s += 1
    assert cache.get(("a", "A")) is None


def test_what_is_kept_says_how_long_it_lasts() -> None:
    clock = Now()
    cache = DnsCache(10, clock)
    cache.put(("a", "A"), LISTED, 60)
    clock.s += 20.5
    assert cache.get(("a", "A")) == Answer(records=("127.0.0.2",), ttl_s=39, from_cache=True)
    assert cache.get(("a", "TXT")) is None


def test_a_failure_is_kept_for_seconds() -> None:
    clock = Now()
    cache = DnsCache(10, clock)
    cache.put_failure(("a", "A"), ServfailError("x answers SERVFAIL"))
    with pytest.raises(ServfailError, match="x answers SERVFAIL"):
        cache.get(("a", "A"))
    clock.s += 5
    assert cache.get(("a", "A")) is None


def test_the_one_unused_for_longest_goes_first() -> None:
    cache = DnsCache(3, Now())
    for name in "abc":
        cache.put((name, "A"), LISTED, 60)
    assert cache.get(("a", "A"))
    cache.put(("d", "A"), LISTED, 60)
    assert len(cache) == 3
    assert [name for name in "abcd" if cache.get((name, "A"))] == ["a", "c", "d"]
