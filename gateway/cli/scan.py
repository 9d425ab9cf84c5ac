"""``schwamm scan``: score messages without a server, and without DNS unless asked."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.app.scanning import build_scanner, connection_checks
from gateway.checks.check import ConnectionFacts
from gateway.checks.content import ContentModels
from gateway.checks.dates import date_of, received_time
from gateway.cli.context import json_option, language, printable
from gateway.cli.explaining import explained
from gateway.core.addresses import parse_address
from gateway.core.clock import SystemClock
from gateway.core.dns import Budget
from gateway.core.errors import AddressError, ConfigError, GatewayError
from gateway.core.mail import Envelope, Mail, Session
from gateway.core.routing import Domain
from gateway.core.verdict import Verdict
from gateway.locale import translator
from gateway.locale.mailboxes import explain_problem
from gateway.net.resolver import make_resolver
from gateway.pipeline.policy import DEFAULT, decide
from gateway.pipeline.scanner import Scanner
from gateway.settings import Settings, find_config, load
from gateway.store.generations import load_current
from models.bundle import Bundle, BundleError
from models.mailboxes import CorpusProblem, read_messages
from models.message import scan as scan_message
from models.registry import Registry, baseline_directory


@dataclass(frozen=True, slots=True)
class _Shipped:
    """The baseline as it lies in this installation, where no state directory has a model."""

    bundle: Bundle

    def current(self) -> Bundle:
        """The shipped model."""
        return self.bundle


class _NobodyWatches:
    def enter(self, sha256: str) -> None:
        """No supervisor here."""

    def leave(self) -> None:
        """No supervisor here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Client:
    """The envelope that the caller claims for the messages."""

    ip: str
    helo: str
    mail_from: str
    rcpt: str


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--ip", default="127.0.0.1", help="The client that brought the mail.")
@click.option("--helo", default="localhost", help="What it called itself.")
@click.option("--mail-from", default="", help="Envelope sender; empty: the null sender.")
@click.option("--rcpt", default="", help="Envelope recipient; its domain's thresholds count.")
@click.option("--dns", is_flag=True, help="Ask the block lists about --ip.")
@click.option("--config", type=click.Path(path_type=Path), help="The configuration file.")
@json_option
def scan(
    files: tuple[Path, ...],
    ip: str,
    helo: str,
    mail_from: str,
    rcpt: str,
    dns: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Score messages: eml, mbox, Maildir, folders, gzip of any. No configuration is needed."""
    settings = settings_or_defaults(config)
    client = _Client(ip=ip, helo=helo, mail_from=mail_from, rcpt=rcpt)
    problems = asyncio.run(_scan_all(settings, files, client, use_dns=dns, as_json=as_json))
    if problems:
        raise SystemExit(1)


def settings_or_defaults(config: Path | None) -> Settings:
    """The configuration if there is one; a given one must be there."""
    try:
        return load(find_config(config))
    except ConfigError:
        if config is not None or Path("gateway.toml").is_file():
            raise
        settings = Settings()
        # Nobody chose the node's language: without one of the terminal's, English.
        node = settings.node.model_copy(update={"language": "en"})
        return settings.model_copy(update={"node": node})


def models_of(settings: Settings) -> ContentModels:
    """The model in service here, else the shipped one.

    Raises:
        GatewayError: neither can be loaded.
    """
    registry = Registry(settings.models_directory, public_key=settings.model_key)
    with suppress(BundleError):
        registry.current()
        return registry
    try:
        return _Shipped(Bundle.load(baseline_directory()))
    except BundleError as error:
        raise GatewayError(f"no model can be loaded: {error}") from error


class _PipelineScorer:
    """Scores messages by the whole pipeline, without DNS, outside of any event loop."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._client = _Client(ip="127.0.0.1", helo="localhost", mail_from="", rcpt="")
        self._runner = asyncio.Runner()

    def __call__(self, raw: bytes) -> float:
        """The points of a message."""
        verdict = self._verdict(raw)
        return verdict.score if verdict else 0.0

    def words(self, raw: bytes) -> list[tuple[str, float]]:
        """The words that its verdict names, with their weights."""
        verdict = self._verdict(raw)
        return [(one.word, one.weight) for one in verdict.words] if verdict else []

    def close(self) -> None:
        """Give the event loop back; the command that asked for the scorer is over."""
        self._runner.close()

    def _verdict(self, raw: bytes) -> Verdict | None:
        mail = _mail(raw, self._client)
        return self._runner.run(self._scanner.scan(mail, None, generation=0)).verdict


def pipeline_scorer(models: ContentModels | None = None) -> Callable[[bytes], float]:
    """A function from a message to its points by the whole pipeline, without DNS.

    ``models`` takes the place of the model in service, so that an evaluation can let it learn. The
    function's ``words`` tells which words of a message its verdict names.
    """
    settings = settings_or_defaults(None)
    scorer = _PipelineScorer(
        build_scanner(settings, models=models or models_of(settings), guard=_NobodyWatches())
    )
    if command := click.get_current_context(silent=True):
        command.call_on_close(scorer.close)
    return scorer


async def _scan_all(
    settings: Settings, files: tuple[Path, ...], client: _Client, *, use_dns: bool, as_json: bool
) -> int:
    scanner = build_scanner(settings, models=models_of(settings), guard=_NobodyWatches())
    facts = await _facts(settings, client.ip) if use_dns else ConnectionFacts()
    domain = _domain(settings, client.rcpt)
    problems = 0
    say = translator(language(settings))

    def on_problem(problem: CorpusProblem) -> None:
        nonlocal problems
        problems += 1
        click.echo(f"schwamm: {explain_problem(problem, say)}", err=True)

    for path in files:
        for message in read_messages(path, on_problem=on_problem):
            verdict = await _verdict(scanner, _mail(message.raw, client), facts)
            _print(message.source, verdict, domain, as_json=as_json, chosen=language(settings))
    return problems


async def _facts(settings: Settings, ip: str) -> ConnectionFacts:
    resolver = make_resolver(settings.dns, clock=SystemClock())
    checks = connection_checks(settings, resolver)
    budget = Budget(settings.dns.budget_s)
    try:
        found = [one for check in checks for one in await check.examine_client(ip, budget)]
    finally:
        for check in checks:
            await check.aclose()
        await resolver.aclose()
    return ConnectionFacts(outcomes=tuple(found))


def _domain(settings: Settings, rcpt: str) -> Domain:
    if not rcpt:
        return DEFAULT
    try:
        address = parse_address(rcpt)
    except AddressError as error:
        raise click.BadParameter(f"{rcpt!r}: {error}", param_hint="--rcpt") from error
    with suppress(ConfigError):
        found = load_current(settings.paths.state / "generations").domain(address.domain)
        return found or DEFAULT
    return DEFAULT


def _mail(raw: bytes, client: _Client) -> Mail:
    """As the gateway would have received it: CRLF, and judged at its own time."""
    content = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    parsed = scan_message(content)
    date = parsed.header("date")
    own_time = received_time(parsed) or (date_of(date.raw) if date else None)
    return Mail(
        id="scan",
        received_at_ms=own_time or SystemClock().now_ms(),
        session=Session(ip=client.ip, port=0, helo=client.helo, esmtp=True),
        envelope=Envelope(
            mail_from=client.mail_from,
            rcpt_to=(parse_address(client.rcpt),) if client.rcpt else (),
        ),
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
    )


async def _verdict(scanner: Scanner, mail: Mail, facts: ConnectionFacts) -> Verdict:
    known: asyncio.Future[ConnectionFacts] = asyncio.get_running_loop().create_future()
    known.set_result(facts)
    done = await scanner.scan(mail, known, generation=0)
    if done.verdict is None:
        raise GatewayError("the scanner gave no verdict")
    return done.verdict


def _print(source: str, verdict: Verdict, domain: Domain, *, as_json: bool, chosen: str) -> None:
    action = decide(verdict, domain)
    if as_json:
        click.echo(json.dumps(_row(source, verdict, action.value)))
        return
    click.echo(f"{printable(source)}: {action.value}")
    for line in explained(verdict, chosen):
        click.echo(f"  {printable(line)}")


def _row(source: str, verdict: Verdict, action: str) -> dict[str, object]:
    return {
        "file": source,
        "score": verdict.score,
        "verdict": verdict.kind.value,
        "action": action,
        "probability": verdict.probability,
        "symbols": [
            {"name": one.name, "points": one.points, "detail": one.detail}
            for one in verdict.symbols
        ],
        "words": [{"word": one.word, "weight": one.weight} for one in verdict.words],
        "model": verdict.model_id,
    }
