"""Addresses as they came and the key they are matched by (data model, section 3)."""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass

from gateway.core.errors import AddressError

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_DOT_STRING = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*\Z")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # a lone surrogate is no character
_DOTS = re.compile("[.\u3002\uff0e\uff61]")  # RFC 3490 §3.1
_DEVIATIONS = frozenset("ßẞς")
_JOINERS = frozenset("\u200c\u200d")
_ROUTED = frozenset("%!@")
ALWAYS_ACCEPTED = frozenset({"postmaster", "abuse"})  # RFC 5321 §4.5.1, RFC 2142 §4


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A mailbox: the spelling that came, and the normal form it is matched by.

    ``local`` is unquoted and lower-cased, ``domain`` is a lower-case A-label without a trailing
    dot.
    """

    spelling: str
    local: str
    domain: str

    @property
    def key(self) -> str:
        """What lists, rights and quarantine match; the plus-tag is kept."""
        return f"{self.local}@{self.domain}"

    @property
    def untagged_key(self) -> str:
        """The key without its plus-tag: who owns this mailbox."""
        base = self.local.split("+", 1)[0] or self.local
        return f"{base}@{self.domain}"


def parse_address(spelling: str) -> Address:
    """Take apart a mailbox of RFC 5321 §4.1.2 / RFC 6531 without angle brackets.

    Refuses what could make us an open relay: source routes, percent and bang paths, a quoted local
    part with an ``@`` in it, address literals, control characters and overlong parts (RFC 5321
    §4.5.3.1).

    Raises:
        AddressError: with the reason, for our log.
    """
    if len(spelling.encode("utf-8", "surrogatepass")) > 320:
        raise AddressError("address longer than 320 octets")
    if _CONTROL.search(spelling):
        raise AddressError("control character in address")
    raw_local, at, raw_domain = spelling.rpartition("@")
    if not at or not raw_local:
        raise AddressError("address without local part or domain")
    local = _unquote(raw_local)
    if len(local.encode()) > 64:
        raise AddressError("local part longer than 64 octets")
    # A next hop may fold full-width forms to ASCII: what routes after that must not pass before.
    plain = local if local.isascii() else unicodedata.normalize("NFKC", local)
    if _ROUTED & set(plain):
        raise AddressError("sender-specified routing in local part")
    return Address(spelling=spelling, local=local.lower(), domain=normal_domain(raw_domain))


def _unquote(raw_local: str) -> str:
    if not raw_local.startswith('"'):
        if _DOT_STRING.match(raw_local) is None:
            raise AddressError("local part is not a dot-string")
        return raw_local
    if len(raw_local) < 3 or not raw_local.endswith('"'):
        raise AddressError("unbalanced quotes in local part")
    letters: list[str] = []
    inner = iter(raw_local[1:-1])
    for letter in inner:
        if letter == '"':
            raise AddressError("quote inside quoted local part")
        letters.append(next(inner, "") if letter == "\\" else letter)
    return "".join(letters)


def normal_domain(raw: str) -> str:
    """Lower-case A-label without trailing dot (RFC 5890); IDNA 2008 names come as U-labels too.

    Raises:
        AddressError: for literals, empty or overlong labels, and names that IDNA refuses.
    """
    name = raw.removesuffix(".")
    if not name:
        raise AddressError("empty domain")
    if name.startswith("["):
        raise AddressError("address literals are not routed")
    if not name.isascii():
        try:
            name = ".".join(_a_label(label) for label in _DOTS.split(name))
        except UnicodeError as error:
            raise AddressError(f"domain is not a valid international name: {error}") from error
    name = name.lower()
    labels = name.split(".")
    if len(name) > 253 or any(_LABEL.match(label) is None for label in labels):
        raise AddressError("malformed domain")
    if labels[-1].isdigit() and _is_ipv4(name):
        raise AddressError("an IP address is not a domain")
    return name


def _a_label(label: str) -> str:
    """One label in ASCII, as IDNA 2008 has it.

    Python's codec is IDNA 2003, which takes ``straße`` for ``strasse``: two domains that may belong
    to two people (RFC 5894 §7.2). Letters that the standards differ on are encoded here.
    """
    if _JOINERS & set(label):
        raise UnicodeError("joiner in a label")
    if label.isascii() or not _DEVIATIONS & set(label):
        return label.encode("idna").decode("ascii")
    plain = unicodedata.normalize("NFKC", label).lower()
    return f"xn--{plain.encode('punycode').decode('ascii')}"


def _is_ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
