"""``schwamm model``: which models there are, what is in them, and which one serves."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from gateway.core.handoff import printable
from gateway.locale import Translator
from gateway.locale.bundles import explain_bundle_error
from gateway.store.ownership import operator, settings_of_service
from models.bundle import Bundle, BundleError
from models.registry import Registry, expand_baseline, mend_shipped
from training.cli_language import spoken
from training.cli_model_history import History, Promotion

GATE = "gate_passed"
"""The metric of a site model that tells whether it passed its gate: 1 or 0."""


def models_directory(config: Path | None) -> Path:
    """Return where the models of this gateway lie; the shipped one is put there if need be.

    Raises ConfigError, BundleError if the shipped model is damaged, click's error where it can't
    be written.
    """
    settings = settings_of_service(config)
    directory = settings.models_directory
    if not Registry(directory).names():
        try:
            expand_baseline(directory)
        except OSError as error:
            raise not_writable(directory, error, spoken(settings)) from error
    return directory


def not_writable(directory: Path, error: OSError, _: Translator) -> click.ClickException:
    """Return what to say of a models' folder that can't be written, and what to do."""
    text = _("the models' folder cannot be written: {error}").format(error=error.strerror or error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        step = _("make room in {folder}: a model takes about 45 MB")
    else:
        step = _("make {folder} writable for the user that runs Schwamm")
    return click.ClickException(f"{text}; {step.format(folder=directory)}")


def run_list(*, config: Path | None, as_json: bool) -> None:
    """Print a line for each model, the newest first, broken ones too."""
    _ = _spoken(config)
    registry = opened(config)
    rows = [_row(registry, name, None if as_json else _) for name in registry.names()]
    rows.sort(key=lambda row: str(row["created_at"]), reverse=True)
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    gates: dict[object, str] = {None: "", True: _("passed"), False: _("failed")}
    table = Table(box=None)
    table.add_column(_("model"), no_wrap=True, min_width=24)
    table.add_column(_("serves"))
    table.add_column(_("made"), no_wrap=True, min_width=10, max_width=10)
    for heading in ("ham", "spam"):
        table.add_column(heading, justify="right")
    table.add_column(_("gate"), no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["model"]),
            _("yes") if row["serves"] else "",
            str(row["created_at"])[:10],
            _number(row["ham_messages"]),
            _number(row["spam_messages"]),
            gates[row["gate_passed"]],
        )
    Console().print(table)
    for row in rows:  # below: sentences do not fit into a column
        if row["problem"]:
            click.echo(_("cannot be used: {why}").format(why=row["problem"]))


def run_verify(name: str | None, *, config: Path | None) -> None:
    """Check a model, or all of them, against its digest; exit 1 if one is damaged."""
    _ = _spoken(config)
    registry = opened(config)
    damaged = False
    if name is not None:
        known(registry, name, _)
    for one in registry.names() if name is None else (name,):
        try:
            registry.load(one)
        except BundleError as error:
            damaged = True
            click.echo(explain_bundle_error(error, _), err=True)
        else:
            click.echo(_("{model}: whole and untouched").format(model=one))
    if damaged:
        click.get_current_context().exit(1)


def run_promote(name: str, *, config: Path | None, force: bool) -> None:
    """Make a model serve; one that failed its gate only by force."""
    _ = _spoken(config)
    registry = opened(config)
    directory = registry.directory
    try:
        mend_shipped(directory, name)
    except OSError as error:
        raise not_writable(directory, error, _) from error
    except BundleError:
        pass  # told when it is loaded
    bundle = loaded(registry, name, _)
    passed = gate_of(bundle)
    if bundle.origin == "site" and not passed and not force:
        text = _(
            "{model} did not pass its gate ('model show {model}' tells its measures); "
            "--force promotes it all the same"
        )
        if passed is None:
            text = _(
                "{model} was never judged by a gate: make a candidate of this site's mail "
                "(schwamm train); --force promotes it all the same"
            )
        raise click.ClickException(text.format(model=name))
    why = "promoted by force" if force else "promoted"
    done = _told(directory, lambda: History(registry).promote(name, who=operator(), why=why), _)
    if done.name == done.previous:
        click.echo(_("{model} served already").format(model=done.name))
        return
    before = done.previous or _("none")
    click.echo(_("{model} serves; before it: {before}").format(model=done.name, before=before))


def run_rollback(*, config: Path | None) -> None:
    """Let the model serve again that served before."""
    _ = _spoken(config)
    registry = opened(config)
    done = _told(registry.directory, lambda: History(registry).rollback(who=operator()), _)
    text = _("{model} serves again; {before} is kept")
    click.echo(text.format(model=done.name, before=done.previous))


def _spoken(config: Path | None) -> Translator:
    return spoken(settings_of_service(config))


def _directory(config: Path | None) -> Path:
    try:
        return models_directory(config)
    except BundleError as error:
        raise click.ClickException(explain_bundle_error(error, _spoken(config))) from error


def opened(config: Path | None) -> Registry:
    """Return the models of this gateway."""
    return Registry(_directory(config), public_key=settings_of_service(config).model_key)


def known(registry: Registry, name: str, _: Translator) -> None:
    """Raise click's error, with the way to the right name, unless there is such a model."""
    if name not in registry.names():
        text = _("there is no model {name}; see: schwamm model list")
        raise click.ClickException(text.format(name=printable(name)))


def loaded(registry: Registry, name: str | None, _: Translator) -> Bundle:
    """Return a model, that which serves without a name. Raises click's error."""
    if name is not None:
        known(registry, name, _)
    try:
        return registry.current() if name is None else registry.load(name)
    except BundleError as error:
        raise click.ClickException(explain_bundle_error(error, _)) from error


def _told(directory: Path, change: Callable[[], Promotion], _: Translator) -> Promotion:
    try:
        return change()
    except BundleError as error:
        raise click.ClickException(explain_bundle_error(error, _)) from error
    except OSError as error:
        raise not_writable(directory, error, _) from error


def _number(value: object) -> str:
    return "" if value is None else str(value)


def gate_of(bundle: Bundle) -> bool | None:
    """Whether a model passed its gate; None where there was none."""
    passed = bundle.metrics.get(GATE)
    return None if passed is None else passed > 0.0


def _row(registry: Registry, name: str, _: Translator | None) -> dict[str, object]:
    """Return a model's line; what is wrong with it in the reader's language, if there is one."""
    row: dict[str, object] = {
        "model": name,
        "serves": pointed(registry) == name,
        "created_at": "",
        "ham_messages": None,
        "spam_messages": None,
        "gate_passed": None,
        "problem": None,
    }
    try:
        bundle = registry.load(name)
    except BundleError as error:
        return {**row, "problem": str(error) if _ is None else explain_bundle_error(error, _)}
    return {
        **row,
        "created_at": bundle.created_at,
        "ham_messages": bundle.manifest.ham_messages,
        "spam_messages": bundle.manifest.spam_messages,
        "gate_passed": gate_of(bundle),
    }


def pointed(registry: Registry) -> str:
    """Return the name of the model that serves, empty for none."""
    try:
        return registry.pointed()
    except BundleError:
        return ""
