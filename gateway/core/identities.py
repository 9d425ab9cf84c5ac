"""Who may hand in mail under their own name (SMTP AUTH): one immutable picture of the directory."""

from dataclasses import dataclass, field

from gateway.core.addresses import Address
from gateway.core.routing import Domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """How far somebody's rights reach: ids of customers, names of domains, address keys."""

    everywhere: bool = False
    customers: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()

    def covers(self, address: Address, domain: Domain) -> bool:
        """Whether ``address``, which lies in the served ``domain``, is one of theirs."""
        if self.everywhere or domain.name in self.domains or domain.customer in self.customers:
            return True
        return not self.addresses.isdisjoint({address.key, address.untagged_key})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One person who may log in; ``secret`` is the Argon2 digest and stays out of every log."""

    login: str
    secret: str = field(repr=False)
    scopes: Scopes


@dataclass(frozen=True, slots=True)
class Identities:
    """All of them, by login (lower case)."""

    people: tuple[Identity, ...] = ()
    _by_login: dict[str, Identity] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        self._by_login.update({one.login: one for one in self.people})

    def get(self, login: str) -> Identity | None:
        """One of them by login, spelled in any case."""
        return self._by_login.get(login.strip().casefold())
