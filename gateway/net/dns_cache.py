"""What DNS said lately: a bounded cache with bounds on every time to live."""

from collections import OrderedDict

from gateway.core.clock import Clock
from gateway.core.dns import Answer
from gateway.core.errors import ResolverError

LONGEST_S = 86_400  # RFC 8767 §4 calls a week sane; a gateway gains nothing beyond a day
LONGEST_NEGATIVE_S = 3_600  # RFC 2308 §5: one to three hours
FAILURE_S = 5  # RFC 9520 §3.2: failures too, at least 1 s, at most 5 min
_NO_SOA_S = 5  # RFC 2308 §5 says not to keep these; 5 s spare a burst of the same question

Key = tuple[str, str]


class DnsCache:
    """Answers and failures by question; the one unused for longest goes first."""

    def __init__(self, entries: int, clock: Clock) -> None:
        self._entries = entries
        self._clock = clock
        self._kept: OrderedDict[Key, tuple[float, Answer | ResolverError]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Answer | None:
        """The kept answer with what is left of its time, or None.

        Raises:
            ResolverError: the kept failure.
        """
        kept = self._kept.get(key)
        if kept is None:
            return None
        left_s = kept[0] - self._clock.monotonic_s()
        if left_s <= 0:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        found = kept[1]
        if isinstance(found, ResolverError):
            raise type(found)(*found.args)
        return Answer(records=found.records, rcode=found.rcode, ttl_s=int(left_s), from_cache=True)

    def put(self, key: Key, answer: Answer, ttl_s: int | None) -> None:
        """Keep an answer as long as it allows; None stands for a negative one without a SOA."""
        if answer.records:
            keep_s = min(ttl_s or 0, LONGEST_S)
        else:
            keep_s = min(_NO_SOA_S if ttl_s is None else ttl_s, LONGEST_NEGATIVE_S)
        if keep_s > 0:
            self._put(key, keep_s, answer)

    def put_failure(self, key: Key, failure: ResolverError) -> None:
        """Keep a failure for a moment, so that a burst of mail does not ask again and again."""
        self._put(key, FAILURE_S, failure)

    def _put(self, key: Key, keep_s: float, found: Answer | ResolverError) -> None:
        self._kept[key] = (self._clock.monotonic_s() + keep_s, found)
        self._kept.move_to_end(key)
        while len(self._kept) > self._entries:
            self._kept.popitem(last=False)
