"""Puts the scanner together; the worker and ``schwamm scan`` use the same one."""

from collections.abc import Callable

from gateway.checks import local_checks
from gateway.checks.content import ContentCheck, ContentModels
from gateway.checks.dnsbl import DnsblCheck, zones_of
from gateway.checks.dnsbl_health import OnHealth
from gateway.checks.weights import CAPS, with_lists
from gateway.core.dns import Resolver
from gateway.pipeline.scanner import CpuGuard, Scanner
from gateway.pipeline.scoring import Weights
from gateway.settings import Settings
from models.bundle import Bundle


def weights(settings: Settings) -> Weights:
    """The default points, those of the block lists' symbols, and the operator's own."""
    listed = [symbol for zone in settings.dnsbl for symbol in zone.codes.values()]
    points, groups = with_lists(listed)
    return Weights(
        points={**points, **settings.scores.symbols},
        groups=groups,
        caps={**CAPS, **settings.scores.caps},
    )


def build_scanner(
    settings: Settings,
    *,
    models: ContentModels,
    guard: CpuGuard,
    shadow: Callable[[], Bundle | None] = lambda: None,
) -> Scanner:
    """The scanner of one process; the models may change under it, the settings do not."""
    return Scanner(
        local=local_checks(),
        remote=(),
        content=ContentCheck(models, words=settings.model.words, shadow=shadow),
        weights=weights(settings),
        guard=guard,
        deadline_s=settings.scores.scan_deadline_s,
        settings_digest=settings.digest,
    )


def connection_checks(
    settings: Settings, resolver: Resolver, *, on_health: OnHealth | None = None
) -> tuple[DnsblCheck, ...]:
    """What is asked about a client at CONNECT; nothing when no list is turned on."""
    zones = zones_of(settings.dnsbl)
    return (DnsblCheck(zones, resolver, on_health=on_health),) if zones else ()
