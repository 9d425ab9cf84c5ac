"""``schwamm model shadow`` and ``compare``: watch a model on real mail before it serves."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from gateway.locale import N_, Translator
from gateway.locale.bundles import explain_bundle_error
from gateway.settings import Settings
from gateway.store.ownership import settings_of_service
from gateway.store.scored import DAY_MS
from models.bundle import BundleError
from models.calibration import DEFAULT_SCALE, PointsScale
from models.registry import Registry
from training.cli_language import spoken
from training.cli_model import known, models_directory, not_writable, pointed
from training.shadow import Band, Comparison, compare
from training.site_index import site_index

_A_DAY = 20_000  # messages looked at per day
_BANDS = {
    Band.NONE: N_("no points"),
    Band.SOME: N_("some points"),
    Band.FULL: N_("all its points"),
}


def run_shadow(name: str, *, config: Path | None) -> None:
    """Let a model score beside the serving one, or with ``none`` no more."""
    settings = settings_of_service(config)
    _ = spoken(settings)
    try:
        directory = models_directory(config)
        registry = Registry(directory, public_key=settings.model_key)
        if name != "none":
            known(registry, name, _)
        if name == pointed(registry):
            text = _("{model} serves already: there is nothing to compare it with")
            raise click.ClickException(text.format(model=name))
        registry.set_shadow(None if name == "none" else name)
    except BundleError as error:
        raise click.ClickException(explain_bundle_error(error, _)) from error
    except OSError as error:
        raise not_writable(directory, error, _) from error
    if name == "none":
        click.echo(_("No model is watched any more."))
    else:
        click.echo(_("{model} now scores beside the serving model.").format(model=name))
        click.echo(_("It decides nothing. Later: schwamm model compare"))


def run_compare(name: str | None, *, days: int, config: Path | None, as_json: bool) -> None:
    """Print how the watched model and the serving one differ on the mail of the last days."""
    settings = settings_of_service(config)
    _ = spoken(settings)
    registry = Registry(settings.models_directory, public_key=settings.model_key)
    shadow = name or _watched(registry, _)
    if not shadow:
        raise click.ClickException(_("no model is watched; first: schwamm model shadow NAME"))
    found = _compared(settings, registry, shadow, days)
    if as_json:
        click.echo(json.dumps(found.as_json()))
        return
    _tell(found, days, _)


def _watched(registry: Registry, _: Translator) -> str:
    try:
        return registry.shadowed()
    except BundleError as error:
        raise click.ClickException(explain_bundle_error(error, _)) from error


def _compared(settings: Settings, registry: Registry, shadow: str, days: int) -> Comparison:
    now = time.time_ns() // 1_000_000
    with site_index(settings) as index:
        labels = {one.mail_id: one.is_spam for one in index.labels.book().standing}
        mails = index.scored.sample(now - days * DAY_MS, now + DAY_MS, a_day=_A_DAY)
        return compare(mails, labels, shadow=shadow, scale=lambda name: _scale(registry, name))


def _scale(registry: Registry, name: str) -> PointsScale:
    """The scale of a model; the usual one for a model that is gone meanwhile."""
    try:
        bundle = registry.load(name)
    except BundleError:
        return DEFAULT_SCALE
    return bundle.manifest.points_scale


def _tell(found: Comparison, days: int, _: Translator) -> None:
    if not found.messages:
        click.echo(
            _("{model} has scored no message in the last {days} days.").format(
                model=found.shadow, days=days
            )
        )
        return
    click.echo(
        _("Serving: {live}   watched: {shadow}").format(live=found.live, shadow=found.shadow)
    )
    click.echo(
        _("{messages} messages; both say the same of {agreed} ({percent} %)").format(
            messages=found.messages,
            agreed=found.agreed,
            percent=f"{100 * found.agreed / found.messages:.2f}",
        )
    )
    if found.beside_others:
        click.echo(
            _("not among them: {number} that came while another model served").format(
                number=found.beside_others
            )
        )
    console = Console(soft_wrap=False, highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in (_("serving"), _("watched")):
        table.add_column(heading)
    table.add_column(_("messages"), justify="right")
    for (live, shadow), number in sorted(found.bands.items()):
        table.add_row(_(_BANDS[live]), _(_BANDS[shadow]), str(number))
    console.print(table)
    for label, counts in sorted(found.by_label.items()):
        click.echo(
            _("Labelled {label}: {messages}; wrong: serving {live}, watched {shadow}").format(
                label=label,
                messages=counts.messages,
                live=counts.live_wrong,
                shadow=counts.shadow_wrong,
            )
        )
    for one in found.differences:
        click.echo(
            _("  {id}: serving {live}, watched {shadow} {label}").format(
                id=one.mail_id, live=f"{one.live:.4f}", shadow=f"{one.shadow:.4f}", label=one.label
            )
        )
