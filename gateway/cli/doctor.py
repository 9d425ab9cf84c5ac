"""``schwamm doctor``: one line for each thing that has to work, with the mend."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import click

from gateway.checks.dnsbl_health import probe
from gateway.cli.context import json_option, language
from gateway.cli.domain_test import DomainTester
from gateway.cli.findings import Finding, show
from gateway.core.clock import SystemClock
from gateway.core.dns import Budget
from gateway.core.errors import ConfigError, IndexUnavailableError, ResolverError
from gateway.core.routing import Domain, NextHop, NextHopKind
from gateway.locale import Translator, translator
from gateway.locale.bundles import explain_bundle_error
from gateway.locale.drifting import drift_step, explain_drift
from gateway.locale.reasons import LIST_REASONS, explain_code
from gateway.locale.words import STATES, word
from gateway.net.resolver import make_resolver
from gateway.settings import Settings, find_config
from gateway.store.drifting import drift, drift_by_day
from gateway.store.generations import load_current
from gateway.store.index import Index
from gateway.store.ownership import settings_of_service
from models.bundle import BundleError
from models.drift import Step
from models.registry import Registry

_LITTLE_ROOM = 1 << 30
_CONNECT_S = 5.0
_TESTS_AT_ONCE = 10


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration file.")
@json_option
def doctor(config: Path | None, as_json: bool) -> None:
    """Check configuration, disk, database, DNS, lists, next hops and model."""
    if not show(_examine(config), as_json=as_json):
        raise SystemExit(1)


def _examine(config: Path | None) -> Iterator[Finding]:
    try:
        path = find_config(config)
        settings = settings_of_service(path)
    except ConfigError as error:
        _ = translator(language())
        mend = _("correct the file, or write a new one: schwamm init")
        yield Finding(check="config", ok=False, text=str(error), mend=mend)
        return
    _ = translator(language(settings))
    yield Finding(check="config", ok=True, text=str(path))
    yield _disk(settings, _)
    yield _index(settings, _)
    domains = yield from _directory(settings, _)
    yield _model(settings, _)
    yield from _drift(settings, _)
    yield from asyncio.run(_network(settings, domains, _))
    yield _running(settings, _)


def _disk(settings: Settings, _: Translator) -> Finding:
    state = settings.paths.state
    if not os.access(state, os.W_OK):
        return Finding(
            check="disk",
            ok=False,
            text=_("{path} cannot be written").format(path=state),
            mend=_("make it belong to the user that runs Schwamm"),
        )
    free = shutil.disk_usage(state).free
    text = _("{free} GiB free at {path}").format(free=f"{free / 2**30:.1f}", path=state)
    mend = "" if free >= _LITTLE_ROOM else _("make room: below 1 GiB mail is soon answered 452")
    return Finding(check="disk", ok=free >= _LITTLE_ROOM, text=text, mend=mend)


def _index(settings: Settings, _: Translator) -> Finding:
    try:
        index = Index.open(settings.index_url, node=settings.node.name, busy_timeout_s=2.0)
    except IndexUnavailableError as error:
        return Finding(check="index", ok=False, text=str(error), mend="schwamm reindex")
    try:
        counts = index.listings.counts()
    except IndexUnavailableError as error:
        return Finding(check="index", ok=False, text=str(error), mend="schwamm reindex")
    finally:
        index.close()
    chosen = language(settings)
    text = ", ".join(
        f"{number} {word(STATES, state.value, chosen)}" for state, number in sorted(counts.items())
    )
    return Finding(check="index", ok=True, text=text or _("empty"))


def _directory(settings: Settings, _: Translator) -> Generator[Finding, None, tuple[Domain, ...]]:
    domains: tuple[Domain, ...] = ()
    try:
        generation = load_current(settings.paths.state / "generations")
    except ConfigError as error:
        yield Finding(check="domains", ok=False, text=str(error), mend="schwamm domain list")
        return domains
    domains = generation.domains
    text = _("{n} served, configuration {number}").format(n=len(domains), number=generation.number)
    mend = "" if domains else _("add one: schwamm domain add NAME --next-hop HOST:25")
    yield Finding(check="domains", ok=bool(domains), text=text, mend=mend)
    return domains


def _model(settings: Settings, _: Translator) -> Finding:
    registry = Registry(settings.models_directory, public_key=settings.model_key)
    try:
        bundle = registry.current()
    except BundleError as error:
        mend = _(
            "let another one serve: schwamm model list, schwamm model promote NAME; the shipped "
            "one is made anew by that"
        )
        text = explain_bundle_error(error, _)
        return Finding(check="model", ok=False, text=text, mend=mend)
    return Finding(check="model", ok=True, text=bundle.model_id)


def _drift(settings: Settings, _: Translator) -> Iterator[Finding]:
    """Whether the last days' mail is still what the model knows; one finding for each sign."""
    now = SystemClock().now_ms()
    try:
        index = Index.open(settings.index_url, node=settings.node.name, busy_timeout_s=2.0)
        try:
            found = drift(drift_by_day(index, now), now)
        finally:
            index.close()
    except IndexUnavailableError:
        return  # said by the index's own finding
    if not found:
        yield Finding(check="drift", ok=True, text=_("recent mail looks as it did before"))
    for one in found:
        yield Finding(
            check="drift",
            ok=one.step is Step.WAIT,
            text=explain_drift(one.code, one.parameters, language(settings)),
            mend=drift_step(one.step, language(settings)),
        )


async def _network(settings: Settings, domains: tuple[Domain, ...], _: Translator) -> list[Finding]:
    resolver = make_resolver(settings.dns, clock=SystemClock())
    try:
        findings = [one async for one in _names(settings, resolver_budget=Budget(5.0), _=_)]
        for zone in settings.dnsbl:
            if not zone.enabled:
                continue
            health = await probe(zone.zone, resolver)
            text = explain_code(
                LIST_REASONS,
                health.state.value,
                language(settings),
                zone=zone.zone,
                detail=health.detail,
            )
            well = health.state.value == "ok"
            mend = "" if well else _("read the list's terms, or turn it off: enabled = false")
            findings.append(Finding(check="block list", ok=well, text=text, mend=mend))
    finally:
        await resolver.aclose()
    hops = {hop for domain in domains for hop in domain.next_hops}
    findings.extend([await _next_hop(hop, _) for hop in sorted(hops, key=str)])
    return [*findings, *await _back_doors(settings, domains, _)]


async def _back_doors(
    settings: Settings, domains: tuple[Domain, ...], _: Translator
) -> list[Finding]:
    """What ``schwamm domain test`` finds wrong; a next hop that is not there was told already."""
    places = asyncio.Semaphore(_TESTS_AT_ONCE)
    one_at_a_time: dict[NextHop, asyncio.Lock] = {}  # many domains may lie on one server
    tester = DomainTester(settings, _)

    async def wrong(domain: Domain) -> list[Finding]:
        server = one_at_a_time.setdefault(domain.next_hops[0], asyncio.Lock())
        async with server, places:
            found = await tester.all(domain)
        return [one for one in found if not one.ok and one.check != "reach"]

    tested = [
        one for one in domains if any(h.kind is not NextHopKind.MAILDIR for h in one.next_hops)
    ]
    answers = await asyncio.gather(*(wrong(domain) for domain in tested))
    findings = []
    for domain, found in zip(tested, answers, strict=True):
        command = f"schwamm domain test {domain.name}"
        if not found:
            text = _("{domain}: nothing found").format(domain=domain.name)
            findings.append(Finding(check="back door", ok=True, text=text))
        for one in found:
            text = f"{domain.name}: {one.check}: {one.text}"
            mend = f"{one.mend}; {command}"
            findings.append(Finding(check="back door", ok=False, text=text, mend=mend))
    return findings


async def _names(
    settings: Settings, *, resolver_budget: Budget, _: Translator
) -> AsyncIterator[Finding]:
    resolver = make_resolver(settings.dns, clock=SystemClock())
    try:
        await resolver.query("example.org", "A", resolver_budget)
    except ResolverError as error:
        yield Finding(
            check="dns",
            ok=False,
            text=_("no answer: {code}").format(code=error.code),
            mend=_("set dns.servers to a resolver that answers; mail goes on without lists"),
        )
    else:
        yield Finding(check="dns", ok=True, text=", ".join(settings.dns.servers) or "resolv.conf")
    finally:
        await resolver.aclose()


async def _next_hop(hop: NextHop, _: Translator) -> Finding:
    if hop.kind is NextHopKind.MAILDIR:
        parent = next(path for path in (Path(hop.path), *Path(hop.path).parents) if path.exists())
        well = os.access(parent, os.W_OK)
        mend = "" if well else _("make it belong to the user that runs Schwamm")
        return Finding(check="next hop", ok=well, text=str(hop), mend=mend)
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(hop.host, hop.port)
            greeting = (await reader.readline()).decode("utf-8", "replace").strip()
            writer.close()
    except (OSError, TimeoutError) as error:
        return Finding(
            check="next hop",
            ok=False,
            text=f"{hop}: {error or 'timeout'}",
            mend=_("is it up, and does its firewall let us in? mail waits in the queue"),
        )
    well = greeting.startswith("220")
    mend = "" if well else _("it does not greet as a mail server does")
    return Finding(check="next hop", ok=well, text=f"{hop}: {greeting[:60]}", mend=mend)


def _running(settings: Settings, _: Translator) -> Finding:
    host, port = settings.smtp.host, settings.smtp.port
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_S) as sock:
            greeting = sock.recv(200).decode("utf-8", "replace").strip()
    except OSError as error:
        return Finding(
            check="gateway",
            ok=False,
            text=_("does not answer at {address}: {error}").format(
                address=f"{host}:{port}", error=error
            ),
            mend="schwamm serve",
        )
    return Finding(check="gateway", ok=greeting.startswith("220"), text=f"{host}:{port}")
