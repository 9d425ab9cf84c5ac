"""When a mail was written and when it arrived, as its fields say."""

from email.utils import mktime_tz, parsedate_tz

from models.message import ParsedMail

_LONGEST = 100  # octets of a date that are looked at; honest ones have 31 and a comment


def date_of(value: bytes) -> int | None:
    """The moment a date of RFC 5322 §3.3 names, UTC milliseconds; None if it is none."""
    try:
        parsed = parsedate_tz(value[:_LONGEST].decode("latin-1"))
        if parsed is None or (parsed[9] is not None and abs(parsed[9]) > 86_400):
            return None
        return mktime_tz(parsed) * 1000
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def received_time(parsed: ParsedMail) -> int | None:
    """When the last server took this mail, by its top Received field (RFC 5321 §4.4).

    The clock for scoring stored mail; None if there is no such field or it names no time.
    """
    received = parsed.header("received")
    if received is None or b";" not in received.raw:
        return None
    return date_of(received.raw.rpartition(b";")[2].strip())
