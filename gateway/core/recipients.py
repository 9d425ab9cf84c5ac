"""Which local parts a domain has: everybody, a list, patterns, or whoever the next hop knows."""

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from gateway.core.addresses import ALWAYS_ACCEPTED, Address
from gateway.core.errors import ConfigError

_MAX_NAMES = 5000
_MAX_STARS = 4
_EXAMPLE = "any, list:anna,info, pattern:*.*,info, callout or callout:defer"
_NAME = re.compile(r"[^\s,@\x00-\x1f\x7f]{1,64}\Z")


class RecipientSource(StrEnum):
    """Who knows whether a mailbox exists."""

    ANY = "any"
    LIST = "list"
    PATTERN = "pattern"
    CALLOUT = "callout"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRules:
    """How a domain's recipients are told from others.

    ``names`` are local parts of a LIST, or patterns with ``*`` and ``?`` for PATTERN, in lower
    case. ``defer`` is what a CALLOUT without an answer does: 450 if set, else the mail is taken.
    """

    source: RecipientSource = RecipientSource.ANY
    names: tuple[str, ...] = ()
    defer: bool = False

    def knows(self, address: Address) -> bool | None:
        """Whether the mailbox exists; None: the next hop has to be asked.

        A plus-tag belongs to the mailbox before it. ``postmaster`` and ``abuse`` always exist.
        """
        bare = address.untagged_key.rpartition("@")[0]
        if self.source is RecipientSource.ANY or bare in ALWAYS_ACCEPTED:
            return True
        if self.source is RecipientSource.CALLOUT:
            return None
        candidates = {address.local, bare}
        if self.source is RecipientSource.LIST:
            return not candidates.isdisjoint(self.names)
        return any(fnmatchcase(one, pattern) for one in candidates for pattern in self.names)

    def __str__(self) -> str:
        """As ``parse_recipient_rules`` reads it."""
        if self.source is RecipientSource.CALLOUT:
            return "callout:defer" if self.defer else "callout"
        return f"{self.source}:{','.join(self.names)}" if self.names else str(self.source)


ANYBODY = RecipientRules()


def parse_recipient_rules(text: str) -> RecipientRules:
    """Read what the operator writes, e.g. ``list:anna,info``.

    Raises:
        ConfigError: with an example of what is right.
    """
    word, colon, rest = text.strip().partition(":")
    try:
        source = RecipientSource(word)
    except ValueError as error:
        raise ConfigError(f"recipients {text!r}: write {_EXAMPLE}") from error
    if source is RecipientSource.ANY and not colon:
        return ANYBODY
    if source is RecipientSource.CALLOUT and rest in {"", "accept", "defer"}:
        return RecipientRules(source=source, defer=rest == "defer")
    names = tuple(sorted({name.strip().lower() for name in rest.split(",")}))
    if source in {RecipientSource.ANY, RecipientSource.CALLOUT} or len(names) > _MAX_NAMES:
        raise ConfigError(f"recipients {text[:60]!r}: write {_EXAMPLE}; at most {_MAX_NAMES} names")
    wrong = [name for name in names if not _NAME.match(name) or name.count("*") > _MAX_STARS]
    if wrong:
        raise ConfigError(f"recipients: {wrong[0]!r} is no local part; write {_EXAMPLE}")
    return RecipientRules(source=source, names=names)
