"""``schwamm init``: a configuration whose paths all lie in one folder, the database, an admin."""

import secrets
import socket
from pathlib import Path

import click

from gateway.cli.config_text import Choices, config_text
from gateway.cli.context import language, shown_path
from gateway.cli.state import open_directory
from gateway.core.addresses import normal_domain
from gateway.core.errors import AddressError, ConfigError, GatewayError
from gateway.core.routing import Domain, parse_next_hop
from gateway.delivery.marks import load_key
from gateway.locale import Translator, translator
from gateway.settings import LOCAL_NAME, Settings, load
from gateway.store.directory import Directory
from gateway.store.ownership import operator
from gateway.store.people import Grant, Role
from models.bundle import BundleError
from models.registry import expand_baseline

_TRIAL_DOMAIN = "trial.example"
_TRIAL_DNS_PORT = 5354
_ADMIN = "admin"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--domain", help="The first domain to serve.")
@click.option("--next-hop", help="Its mail server: HOST:PORT, or maildir:/PATH.")
@click.option("--trial", is_flag=True, help="A trial: domain trial.example, a Maildir, own DNS.")
def init(directory: Path, domain: str | None, next_hop: str | None, trial: bool) -> None:
    """Write a commented DIRECTORY/gateway.toml and create the state; again harms nothing."""
    directory = directory.resolve()
    if trial:
        domain = domain or _TRIAL_DOMAIN
        next_hop = next_hop or f"maildir:{directory}/var/trial-maildir"
    if not domain or not next_hop:
        raise click.UsageError("say which domain to serve: --domain example.org --next-hop HOST:25")
    parse_next_hop(next_hop)
    try:
        name = normal_domain(domain)
    except AddressError as error:
        raise ConfigError(f"--domain {domain!r}: {error}") from error
    settings = _configuration(directory, trial=trial)
    _ = translator(language(settings))
    _make_state(settings)
    with open_directory(settings) as known:
        _serve_domain(known, name, next_hop, _)
        _make_admin(known, _)


def _configuration(directory: Path, *, trial: bool) -> Settings:
    path = directory / LOCAL_NAME
    if path.exists():
        settings = load(path)
        _ = translator(language(settings))
        click.echo(_("{path} is there already and stays as it is.").format(path=shown_path(path)))
        return settings
    choices = Choices(
        hostname=socket.getfqdn(),
        language=language(),
        trial_dns_port=_TRIAL_DNS_PORT if trial else 0,
    )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(config_text(choices), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    settings = load(path)
    _ = translator(language(settings))
    click.echo(_("Wrote {path}.").format(path=shown_path(path)))
    return settings


def _make_state(settings: Settings) -> None:
    state = settings.paths.state
    try:
        for name in ("run", "tmp", "records", "journal", "generations", "models", "tls"):
            (state / name).mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)
        load_key(state / "mark.key")
        expand_baseline(settings.models_directory)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be created: {error.strerror}") from error
    except BundleError as error:
        raise GatewayError(f"the shipped model cannot be used: {error}") from error


def _serve_domain(known: Directory, domain: str, next_hop: str, _: Translator) -> None:
    wanted = Domain(name=domain, next_hops=(parse_next_hop(next_hop),))
    served = {name for one in known.domains() for name in (one.name, *one.aliases)}
    if domain in served:
        click.echo(_("{domain} is served already.").format(domain=domain))
        return
    known.add_domain(wanted, by=operator())
    click.echo(_("Serving {domain} -> {next_hop}").format(domain=domain, next_hop=next_hop))


def _make_admin(known: Directory, _: Translator) -> None:
    if known.people.get(_ADMIN) is not None:
        return
    password = secrets.token_urlsafe(12)
    known.people.add(_ADMIN, password, (Grant(role=Role.ADMIN),), by=operator())
    click.echo(
        _("Administrator {login}, password {password} (shown only now; write it down)").format(
            login=_ADMIN, password=password
        )
    )
