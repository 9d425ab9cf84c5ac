"""Who is served and where their mail goes: one immutable generation of the configuration.

Customers, domains and their choices live in the database; every node serves from a snapshot of it
on disk, so that a dead database never stops routing (data model, section 2).
"""

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.addresses import normal_domain
from gateway.core.errors import ConfigError
from gateway.core.recipients import ANYBODY, RecipientRules

LONGEST_QUEUE_H = 30 * 24
_TLS_OPTION = "?tls="
_HOST = re.compile(r"\w(?:[\w.-]*\w)?\.?")


class NextHopKind(StrEnum):
    """How the target takes mail."""

    SMTP = "smtp"
    LMTP = "lmtp"
    MAILDIR = "maildir"


class OnOutage(StrEnum):
    """What a domain wants when its next hop is down."""

    SPOOL = "spool"
    DEFER = "defer"


class TlsPolicy(StrEnum):
    """How much a next hop's TLS matters."""

    NONE = "none"  # never: for hosts whose TLS is broken, or in our own network
    MAY = "may"  # where offered, unverified (RFC 7435); plain text else
    MUST = "must"  # encrypted or not at all; by whom is not asked
    VERIFY = "verify"  # and by whom: a certificate that is valid for the host's name


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """One target. ``host`` and ``port`` for SMTP and LMTP, ``path`` (absolute) for a Maildir."""

    kind: NextHopKind
    host: str = ""
    port: int = 0
    path: str = ""
    tls: TlsPolicy = TlsPolicy.MAY

    def __str__(self) -> str:
        if self.kind is NextHopKind.MAILDIR:
            return f"maildir:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        prefix = "" if self.kind is NextHopKind.SMTP else f"{self.kind}:"
        policy = "" if self.tls is TlsPolicy.MAY else f"{_TLS_OPTION}{self.tls}"
        return f"{prefix}{host}:{self.port}{policy}"


def parse_next_hop(text: str) -> NextHop:
    """Read ``HOST:PORT``, ``[V6]:PORT``, ``lmtp:HOST:PORT`` or ``maildir:/ABSOLUTE/PATH``.

    Two slashes may stand before HOST, as in an URL. Behind a port ``?tls=none``, ``may`` (the
    default), ``must`` or ``verify`` may follow.

    Raises:
        ConfigError: with an example of what is right.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == NextHopKind.MAILDIR:
        if not rest.startswith("/"):
            raise ConfigError(
                f"next hop {text!r}: a Maildir needs an absolute path, e.g. maildir:/srv/mail"
            )
        return NextHop(kind=NextHopKind.MAILDIR, path=rest)
    hop_kind = NextHopKind.SMTP
    if colon and kind in {NextHopKind.SMTP, NextHopKind.LMTP}:
        hop_kind, text = NextHopKind(kind), rest.removeprefix("//")
    target, option, word = text.partition(_TLS_OPTION)
    if option and word not in set(TlsPolicy):
        raise ConfigError(f"next hop {text!r}: TLS is none, may, must or verify")
    host, _, port = target.rpartition(":")
    if not _is_host(host) or not _is_port(port):
        raise ConfigError(
            f"next hop {text!r}: write HOST:PORT, e.g. mail.example.org:25 or [2001:db8::1]:25, "
            "or maildir:/srv/mail"
        )
    host = host.removeprefix("[").removesuffix("]")
    tls = TlsPolicy(word) if option else TlsPolicy.MAY
    return NextHop(kind=hop_kind, host=host, port=int(port), tls=tls)


def _is_host(text: str) -> bool:
    """A name, an IPv4 address, or an IPv6 address in brackets."""
    if text.startswith("[") and text.endswith("]"):
        try:
            return ipaddress.ip_address(text[1:-1]).version == 6
        except ValueError:
            return False
    return _HOST.fullmatch(text) is not None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One served domain. ``name`` and ``aliases`` are normal forms; scores are points."""

    name: str
    next_hops: tuple[NextHop, ...]
    customer: str = ""
    aliases: tuple[str, ...] = ()
    on_outage: OnOutage = OnOutage.SPOOL
    reject: bool = False  # whether 15 points and more are refused in the dialogue
    unsure_score: float = 4.0
    spam_score: float = 6.0
    reject_score: float = 15.0
    retention_days: int = 14
    subject_tag: str = ""  # empty: UNSURE mail is only marked by header fields
    recipients: RecipientRules = ANYBODY
    queue_hours: int = 0  # how long a copy may wait for the next hop; 0: as the settings say


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One snapshot; every verdict names its ``number``."""

    number: int
    created_at_ms: int
    domains: tuple[Domain, ...] = ()
    _by_name: dict[str, Domain] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for domain in self.domains:
            for name in (domain.name, *domain.aliases):
                self._by_name[normal_domain(name)] = domain

    def domain(self, name: str) -> Domain | None:
        """The served domain that ``name`` (a normal form) is or is an alias of."""
        return self._by_name.get(name)
