"""Codes that people read in listings, as words: states of a copy, verdicts, actions, events.

Machines get the codes themselves (``--json``); in English most words are the codes.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.locale import N_, translator

STATES: Mapping[str, str] = MappingProxyType(
    {
        "delivered": N_("delivered"),
        "queued": N_("queued"),
        "held": N_("held"),
        "released": N_("released"),
        "refused": N_("refused"),
        "deferred": N_("deferred"),
        "deleted": N_("deleted"),
        "expired": N_("expired"),
    }
)

VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        "ham": N_("ham"),
        "unsure": N_("unsure"),
        "spam": N_("spam"),
        "malware": N_("malware"),
    }
)

ACTIONS: Mapping[str, str] = MappingProxyType(
    {
        "accept": N_("accept"),
        "tag": N_("tag"),
        "quarantine": N_("quarantine"),
        "reject": N_("reject"),
        "defer": N_("defer"),
    }
)

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "ham": N_("ham"),
        "spam": N_("spam"),
        "none": N_("taken back"),
    }
)

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "message": N_("message answered"),
        "copy": N_("copy"),
        "report": N_("report to the sender"),
        "label": N_("label"),
        "audit": N_("looked at"),
        "availability": N_("availability"),
    }
)

REPORTS: Mapping[str, str] = MappingProxyType(
    {
        "failed": N_("failed"),
        "delayed": N_("delayed"),
        "relayed": N_("passed on"),
        "delivered": N_("delivered"),
    }
)


def word(words: Mapping[str, str], code: str | None, language: str) -> str:
    """The word for a code of one of the tables above; an unknown code stands for itself."""
    if not code:
        return ""
    known = words.get(code)
    return translator(language)(known) if known else code


def spoken(words: Mapping[str, str], language: str) -> dict[str, str]:
    """A whole table in one language."""
    return {code: word(words, code, language) for code in words}
