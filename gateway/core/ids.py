"""Ids that sort by time and name the node that gave them."""

import hashlib
import os
import re
from itertools import count

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{9}-[a-z0-9]{1,12}-[0-9a-hjkmnp-tv-z]{7}\Z")


def _base32(value: int, digits: int) -> str:
    letters = []
    for _ in range(digits):
        letters.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(letters))


class IdSource:
    """Makes mail ids for one process of one node, e.g. ``1jd8m3q7k-n1-4h2k0a9``.

    The first nine letters are UTC milliseconds, so ids sort by time until the year 3084; the last
    seven are a per-process random start plus a counter, so two processes of a node do not meet.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._low = count(int.from_bytes(os.urandom(4), "big"))

    def next(self, now_ms: int) -> str:
        """A new id for a message received at ``now_ms`` (UTC milliseconds)."""
        return f"{_base32(now_ms, 9)}-{self._node}-{_base32(next(self._low), 7)}"


def derived_id(mail_id: str, of_what: str) -> str:
    """An id for what follows from a mail and must not come about twice: always the same one."""
    digest = hashlib.sha256(f"{mail_id} {of_what}".encode("utf-8", "surrogatepass")).digest()
    return mail_id[:-7] + _base32(int.from_bytes(digest[:5], "big"), 7)


def is_mail_id(text: str) -> bool:
    """Whether ``text`` has the shape of one of our ids; safe to use as a file name then."""
    return _ID.match(text) is not None


def first_id_at(at_ms: int) -> str:
    """A text that sorts before every id given at ``at_ms`` or later, and after all earlier ones."""
    return _base32(at_ms, 9)


def received_at_ms(mail_id: str) -> int:
    """The time an id was given, UTC milliseconds."""
    value = 0
    for letter in mail_id[:9]:
        value = value << 5 | _ALPHABET.index(letter)
    return value
