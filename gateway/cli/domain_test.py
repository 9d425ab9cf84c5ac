"""``schwamm domain test``: a back door past the gateway, and how the next hop treats us."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence

import click

from gateway.cli.context import config_option, json_option, language
from gateway.cli.findings import Finding, show
from gateway.cli.hop_findings import (
    FOREIGN,
    STRANGER,
    HopFindings,
    questions,
    stranger_finding,
    untested_strangers,
)
from gateway.cli.mx_findings import mx_findings
from gateway.core.addresses import normal_domain, parse_address
from gateway.core.clock import SystemClock
from gateway.core.dns import Resolver
from gateway.core.errors import AddressError, ConfigError
from gateway.core.routing import Domain, NextHop, NextHopKind
from gateway.locale import Translator, translator
from gateway.net.hop_exam import HopExaminer, Question
from gateway.net.host_addresses import addresses_of, is_own_address
from gateway.net.resolver import make_resolver
from gateway.settings import Settings
from gateway.store.generations import load_current

_PATIENCE = {"connect_timeout_s": 5.0, "command_timeout_s": 20.0}


@click.command("test")
@click.argument("name")
@click.option("--recipient", default="", help="A mailbox that exists; default: postmaster.")
@click.option("--source", default="", help="Another address of this machine, to play a stranger.")
@click.option(
    "--spf-sender",
    default="",
    help=f"A sender whose SPF record does not allow us; default: a made-up one of {FOREIGN}.",
)
@json_option
@config_option
def test_domain(
    settings: Settings, name: str, recipient: str, source: str, spf_sender: str, as_json: bool
) -> None:
    """Find the back door: MX, who may deliver past us, and how the next hop treats us.

    Nothing is delivered: every question ends before DATA.
    """
    _ = translator(language(settings))
    domain = _served(settings, name)
    if source and not is_own_address(source):
        raise ConfigError(f"--source {source}: not an address of this machine")
    tester = DomainTester(
        settings, _, recipient=recipient or f"postmaster@{domain.name}", spf_sender=spf_sender
    )
    findings = asyncio.run(tester.all(domain, source))
    if not show(findings, as_json=as_json):
        raise SystemExit(1)


def _served(settings: Settings, name: str) -> Domain:
    try:
        found = load_current(settings.paths.state / "generations").domain(normal_domain(name))
    except AddressError as error:
        raise ConfigError(f"domain {name!r}: {error}") from error
    if found is None:
        raise ConfigError(f"domain {name!r} is not served; see: schwamm domain list")
    return found


class DomainTester:
    """Examines the next hops of domains and their MX records.

    Raises:
        ConfigError: a recipient or sender that is no plain address.
    """

    def __init__(
        self,
        settings: Settings,
        _: Translator,
        *,
        recipient: str = "",
        spf_sender: str = "",
        verifying: ssl.SSLContext | None = None,
    ) -> None:
        for address in filter(None, (recipient, spf_sender)):
            _refuse_odd(address)
        self._settings = settings
        self._delivery = settings.delivery.model_copy(update=_PATIENCE)
        self._ = _
        self._recipient = recipient
        self._spf_sender = spf_sender
        self._verifying = verifying

    async def all(self, domain: Domain, source: str = "") -> list[Finding]:
        """Every finding about one domain; ``source`` plays a stranger."""
        resolver = make_resolver(self._settings.dns, clock=SystemClock())
        try:
            found = [one async for one in self._each(domain, source, resolver)]
        finally:
            await resolver.aclose()
        return found

    async def _each(
        self, domain: Domain, source: str, resolver: Resolver
    ) -> AsyncIterator[Finding]:
        hops = [hop for hop in domain.next_hops if hop.kind is not NextHopKind.MAILDIR]
        known = {hop: await addresses_of(hop.host) for hop in hops}
        behind = frozenset(address for found in known.values() for address in found)
        for name in (domain.name, *domain.aliases):
            async for finding in mx_findings(
                name, resolver, hostname=self._settings.smtp.hostname, behind=behind, _=self._
            ):
                yield finding
        for hop in hops:
            for finding in await self.hop(domain, hop, source, known[hop]):
                yield finding

    async def hop(
        self, domain: Domain, hop: NextHop, source: str, addresses: Sequence[str]
    ) -> list[Finding]:
        """What one next hop says; with ``source``, what it says to a stranger too."""
        asked = questions(
            domain,
            recipient=self._recipient or f"postmaster@{domain.name}",
            spf_sender=self._spf_sender,
        )
        exam = await self._examiner(hop).ask(asked)
        most = self._settings.smtp.max_message_bytes
        found = list(HopFindings(exam, asked, most, self._).all())
        if source:
            first = Question(name=STRANGER, mail_from="", rcpt_to=asked[0].rcpt_to)
            outside = await self._examiner(hop, source).ask([first])
            return [*found, stranger_finding(outside, source, self._)]
        return [*found, untested_strangers(exam, addresses, domain, self._)]

    def _examiner(self, hop: NextHop, source: str = "") -> HopExaminer:
        return HopExaminer(
            hop,
            hostname=self._settings.smtp.hostname,
            settings=self._delivery,
            source=source,
            verifying=self._verifying,
        )


def _refuse_odd(address: str) -> None:
    try:
        plain = parse_address(address).spelling.isascii() and '"' not in address
    except AddressError as error:
        raise ConfigError(f"{address!r}: {error}") from error
    if not plain:
        raise ConfigError(f"{address!r}: write it in ASCII letters, without quotes")
