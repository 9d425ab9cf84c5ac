"""Default points of every symbol, its group, and the most a group may add.

Chosen from ``tests/perf/symbol_rates.py``: what honest mail shows too weighs little, and no group
of cheap signs reaches UNSURE (4 points) by itself. Settings override points and caps by name.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

_HEADERS = {
    "MISSING_DATE": 1.0,
    "INVALID_DATE": 1.0,
    "DATE_IN_FUTURE": 2.0,
    "DATE_IN_PAST": 0.7,
    "MISSING_FROM": 1.5,
    "MULTIPLE_FROM": 2.0,
    "INVALID_FROM": 1.5,
    "MISSING_MID": 1.0,
    "INVALID_MSGID": 1.5,
    "MSGID_ODD_HOST": 1.0,
    "MISSING_TO": 0.2,
    "UNDISC_RCPT": 0.7,
    "SUBJ_ALL_CAPS": 0.8,
    "SUBJ_MIXED_SCRIPTS": 2.0,
    "FROM_MIXED_SCRIPTS": 2.0,
    "FROM_NAME_HAS_OTHER_ADDRESS": 1.0,
    "FREEMAIL_REPLYTO": 1.5,
    "SUBJ_EXCESS_ENCODED": 0.5,
}
_MIME = {
    "MIME_BASE64_TEXT": 0.5,
    "AMBIGUOUS_MIME": 2.0,
    "BROKEN_MIME": 0.5,
}
_HTML = {
    "MIME_HTML_ONLY": 0.3,
    "HTML_IMAGE_LITTLE_TEXT": 1.5,
    "HTML_HIDDEN_TEXT": 0.5,
    "HTML_FORM": 0.5,
}
_LINKS = {"PHISHED_LINK": 1.2, "URL_NUMERIC_IP": 2.0}
_ATTACHMENTS = {"EXE_ATTACHMENT": 3.5, "DOUBLE_EXTENSION": 2.0}

GTUBE_POINTS = 20.0
DNSBL_POINTS = 3.5
"""Of a listing whose symbol has no points of its own in the settings: one list alone is a doubt."""

_GROUPS: Mapping[str, Mapping[str, float]] = {
    "headers": _HEADERS,
    "mime": _MIME,
    "html": _HTML,
    "links": _LINKS,
    "attachments": _ATTACHMENTS,
    "test": {"GTUBE": GTUBE_POINTS},
}

POINTS: Mapping[str, float] = MappingProxyType(
    {name: points for symbols in _GROUPS.values() for name, points in symbols.items()}
)
GROUPS: Mapping[str, str] = MappingProxyType(
    {name: group for group, symbols in _GROUPS.items() for name in symbols}
)
CAPS: Mapping[str, float] = MappingProxyType(
    {"headers": 3.0, "mime": 2.5, "html": 1.5, "links": 2.5, "attachments": 5.0, "dnsbl": 7.0}
)
BAYES = ("BAYES_SPAM", "BAYES_UNSURE", "BAYES_HAM")
"""The classifier's symbols; it computes their points, within the cap of its model."""


def with_lists(symbols: Iterable[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Points and groups with the symbols that the settings give to block lists' answers."""
    points, groups = dict(POINTS), dict(GROUPS)
    for name in symbols:
        points.setdefault(name, DNSBL_POINTS)
        groups.setdefault(name, "dnsbl")
    return points, groups
