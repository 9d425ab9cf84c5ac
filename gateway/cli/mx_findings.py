"""Where the world delivers a domain's mail: MX records, the gateway, and what is behind it."""

import ipaddress
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet

from gateway.cli.findings import Finding
from gateway.core.dns import Budget, Resolver
from gateway.core.errors import ResolverError
from gateway.locale import Translator
from gateway.net.host_addresses import addresses_of

_BUDGET_S = 5.0


async def mx_findings(
    name: str, resolver: Resolver, *, hostname: str, behind: AbstractSet[str], _: Translator
) -> AsyncIterator[Finding]:
    """One finding for each MX host (RFC 5321 §5.1); ``behind`` are the next hops' addresses."""
    budget = Budget(_BUDGET_S)
    try:
        answer = await resolver.query(name, "MX", budget)
    except ResolverError as error:
        yield Finding(
            check="mx",
            ok=True,
            subject=name,
            text=_("cannot be looked up: {code}").format(code=error.code),
            mend=_("look where MX points to yourself: only to the gateway"),
        )
        return
    hosts = sorted({record.split(" ", 1)[1].rstrip(".") for record in answer.records} - {""})
    if not hosts:
        yield Finding(
            check="mx",
            ok=False,
            subject=name,
            text=_("no MX record"),
            mend=_("publish one that names {hostname}").format(hostname=hostname),
        )
    ours = {hostname.lower().rstrip(".")}
    here = set(await addresses_of(hostname)) - set(behind)
    for host in hosts:
        yield await _one(name, host, resolver, budget, ours, here, behind, _)


async def _one(
    name: str,
    host: str,
    resolver: Resolver,
    budget: Budget,
    ours: AbstractSet[str],
    here: AbstractSet[str],
    behind: AbstractSet[str],
    _: Translator,
) -> Finding:
    if host.lower() in ours:
        return Finding(check="mx", ok=True, subject=name, text=host)
    addresses = await _resolved(host, resolver, budget)
    if addresses & behind:
        return Finding(
            check="mx",
            ok=False,
            subject=name,
            text=_("{host} is the next hop itself: strangers deliver past the filter").format(
                host=host
            ),
            mend=_("take it out of DNS; MX names only the gateway"),
        )
    if addresses & here:
        return Finding(check="mx", ok=True, subject=name, text=host)
    return Finding(
        check="mx",
        ok=True,
        subject=name,
        text=_("{host} is not this gateway").format(host=host),
        mend=_("is it another node of the gateway? else strangers deliver past the filter"),
    )


async def _resolved(host: str, resolver: Resolver, budget: Budget) -> frozenset[str]:
    found: set[str] = set()
    for kind in ("A", "AAAA"):
        try:
            answer = await resolver.query(host, kind, budget)
        except ResolverError:
            continue
        found.update(str(ipaddress.ip_address(record)) for record in answer.records)
    return frozenset(found)
