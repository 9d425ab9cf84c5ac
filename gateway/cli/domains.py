"""``schwamm domain``, ``customer`` and ``user``: who is served, and who may log in."""

import json
from dataclasses import replace

import click

from gateway.cli.context import config_option, json_option, language, print_rows
from gateway.cli.domain_test import test_domain
from gateway.cli.passwords import password_option
from gateway.cli.state import open_directory
from gateway.core.recipients import parse_recipient_rules
from gateway.core.routing import LONGEST_QUEUE_H, Domain, OnOutage, parse_next_hop
from gateway.locale import translator
from gateway.settings import Settings
from gateway.store.directory import Customer
from gateway.store.ownership import operator
from gateway.store.people import Grant, Role, ScopeKind

_CHOICES = (
    click.option("--next-hop", multiple=True, help="HOST:PORT or maildir:/PATH; by priority."),
    click.option("--alias", multiple=True, help="Another name of this domain."),
    click.option("--customer", help="The customer it belongs to."),
    click.option("--on-outage", type=click.Choice(["spool", "defer"]), help="Next hop down: what?"),
    click.option("--reject/--no-reject", default=None, help="Refuse from the reject score on."),
    click.option("--unsure-score", type=float),
    click.option("--spam-score", type=float),
    click.option("--reject-score", type=float),
    click.option("--retention-days", type=click.IntRange(1, 3650)),
    click.option(
        "--queue-hours",
        type=click.IntRange(0, LONGEST_QUEUE_H),
        help="How long mail may wait for the next hop; 0: delivery.expire_after_s.",
    ),
    click.option("--recipients", help="any, list:anna,info, pattern:*.*, callout[:defer]."),
    click.option("--subject-tag", help="Put before the subject of unsure mail; empty: none."),
)


def _with_choices(command: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(_CHOICES):
        command = option(command)
    return command


def _changed(domain: Domain, given: dict[str, object]) -> Domain:
    """The domain with what was given on the command line."""
    values = {key: value for key, value in given.items() if value is not None and value != ()}
    if "next_hop" in values:
        hops = values.pop("next_hop")
        values["next_hops"] = tuple(parse_next_hop(hop) for hop in hops)  # type: ignore[attr-defined]
    if "alias" in values:
        values["aliases"] = values.pop("alias")
    if "on_outage" in values:
        values["on_outage"] = OnOutage(str(values["on_outage"]))
    if "recipients" in values:
        values["recipients"] = parse_recipient_rules(str(values["recipients"]))
    return replace(domain, **values)  # type: ignore[arg-type]  # click gave each its type


@click.group()
def domain() -> None:
    """Domains that are served: add, list, set, remove, test."""


domain.add_command(test_domain)


@domain.command("add")
@click.argument("name")
@_with_choices
@config_option
def add_domain(settings: Settings, name: str, **given: object) -> None:
    """Serve a domain; its mail goes to --next-hop."""
    if not given.get("next_hop"):
        raise click.UsageError("where does its mail go? --next-hop mail.example.org:25")
    with open_directory(settings) as directory:
        generation = directory.add_domain(
            _changed(Domain(name=name, next_hops=()), given), by=operator()
        )
    _say(settings, name, generation.number)


@domain.command("set")
@click.argument("name")
@_with_choices
@config_option
def set_domain(settings: Settings, name: str, **given: object) -> None:
    """Change a served domain; what is not named stays."""
    with open_directory(settings) as directory:
        generation = directory.set_domain(name, lambda old: _changed(old, given), by=operator())
    _say(settings, name, generation.number)


@domain.command("remove")
@click.argument("name")
@config_option
def remove_domain(settings: Settings, name: str) -> None:
    """Serve a domain no longer; what is held for it stays."""
    with open_directory(settings) as directory:
        generation = directory.remove_domain(name, by=operator())
    _say(settings, name, generation.number)


def _say(settings: Settings, name: str, number: int) -> None:
    _ = translator(language(settings))
    click.echo(
        _(
            "{domain}: changed in configuration {number}; running workers use it within seconds."
        ).format(domain=name, number=number)
    )


@domain.command("list")
@json_option
@config_option
def list_domains(settings: Settings, as_json: bool) -> None:
    """All served domains."""
    _ = translator(language(settings))
    with open_directory(settings) as directory:
        domains = directory.domains()
    rows = [
        {
            "domain": one.name,
            "aliases": list(one.aliases) if as_json else ", ".join(one.aliases),
            "customer": one.customer,
            "next_hops": [str(hop) for hop in one.next_hops]
            if as_json
            else ", ".join(str(hop) for hop in one.next_hops),
            "on_outage": one.on_outage.value,
            "unsure_score": one.unsure_score,
            "spam_score": one.spam_score,
            "reject": one.reject,
            "reject_score": one.reject_score,
            "retention_days": one.retention_days,
            "subject_tag": one.subject_tag,
            "recipients": str(one.recipients),
            "queue_hours": one.queue_hours,
        }
        for one in domains
    ]
    print_rows(
        rows,
        as_json=as_json,
        columns=[
            ("domain", _("Domain")),
            ("aliases", _("Aliases")),
            ("customer", _("Customer")),
            ("next_hops", _("Next hop")),
            ("on_outage", _("On outage")),
            ("spam_score", _("Spam from")),
            ("retention_days", _("Days kept")),
        ],
        empty=_("No domain is served yet."),
    )


@click.group()
def customer() -> None:
    """Customers: add, list, remove."""


@customer.command("add")
@click.argument("customer_id")
@click.option("--name", default="", help="Its full name.")
@config_option
def add_customer(settings: Settings, customer_id: str, name: str) -> None:
    """Take in a customer."""
    with open_directory(settings) as directory:
        directory.add_customer(Customer(id=customer_id, name=name or customer_id), by=operator())
    click.echo(f"{customer_id}: ok")


@customer.command("remove")
@click.argument("customer_id")
@config_option
def remove_customer(settings: Settings, customer_id: str) -> None:
    """Let go of a customer without domains."""
    with open_directory(settings) as directory:
        directory.remove_customer(customer_id, by=operator())
    click.echo(f"{customer_id}: ok")


@customer.command("list")
@json_option
@config_option
def list_customers(settings: Settings, as_json: bool) -> None:
    """All customers."""
    _ = translator(language(settings))
    with open_directory(settings) as directory:
        customers = directory.customers()
    print_rows(
        ({"customer": one.id, "name": one.name} for one in customers),
        as_json=as_json,
        columns=[("customer", _("Customer")), ("name", _("Name"))],
        empty=_("No customer yet."),
    )


@click.group()
def user() -> None:
    """People who may log in: add, list, password."""


@user.command("add")
@click.argument("login")
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.USER.value)
@click.option("--customer", "customer_id", help="Rights end at this customer.")
@click.option("--domain", "domain_name", help="Rights end at this domain.")
@click.option("--name", default="")
@password_option
@config_option
def add_user(
    settings: Settings,
    login: str,
    role: str,
    customer_id: str | None,
    domain_name: str | None,
    name: str,
    password: str,
) -> None:
    """Take in a person; the password is asked for."""
    kind, scope = ScopeKind.ALL, ""
    if domain_name:
        kind, scope = ScopeKind.DOMAIN, domain_name
    elif customer_id:
        kind, scope = ScopeKind.CUSTOMER, customer_id
    elif Role(role) is Role.USER:
        kind, scope = ScopeKind.ADDRESS, login
    grant = Grant(role=Role(role), scope_kind=kind, scope=scope)
    with open_directory(settings) as directory:
        directory.people.add(login, password, (grant,), by=operator(), name=name)
    click.echo(f"{login}: ok")


@user.command("password")
@click.argument("login")
@password_option
@config_option
def set_password(settings: Settings, login: str, password: str) -> None:
    """Give a person a new password."""
    with open_directory(settings) as directory:
        directory.people.set_password(login, password, by=operator())
    click.echo(f"{login}: ok")


@user.command("list")
@json_option
@config_option
def list_users(settings: Settings, as_json: bool) -> None:
    """All people and their rights."""
    _ = translator(language(settings))
    with open_directory(settings) as directory:
        people = directory.people.all()
    for one in people:
        grants = [f"{grant.role} {grant.scope_kind} {grant.scope}".strip() for grant in one.grants]
        if as_json:
            row = {"login": one.login, "name": one.name, "grants": grants, "disabled": one.disabled}
            click.echo(json.dumps(row))
        else:
            click.echo(f"{one.login:<30} {', '.join(grants)}")
    if not people and not as_json:
        click.echo(_("Nobody yet."))
