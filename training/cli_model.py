"""``schwamm model``: which models there are, what is in them, and which one serves."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from gateway.store.ownership import settings_of_service
from models.bundle import Bundle, BundleError
from models.registry import Registry, expand_baseline
from training.cli_model_history import History, Promotion

GATE = "gate_passed"
"""The metric of a site model that tells whether it passed its gate: 1 or 0."""


def models_directory(config: Path | None) -> Path:
    """Return where the models of this gateway lie; the shipped one is put there if need be.

    Raises ConfigError, and BundleError if the shipped model is damaged.
    """
    directory = settings_of_service(config).models_directory
    if not Registry(directory).names():
        expand_baseline(directory)
    return directory


def run_list(*, config: Path | None, as_json: bool) -> None:
    """Print a line for each model, the newest first, broken ones too."""
    registry = Registry(_directory(config))
    rows = [_row(registry, name) for name in registry.names()]
    rows.sort(key=lambda row: str(row["created_at"]), reverse=True)
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    table = Table(box=None)
    table.add_column("model", no_wrap=True, min_width=24)
    table.add_column("serves")
    table.add_column("made", no_wrap=True, min_width=10, max_width=10)
    for heading in ("ham", "spam"):
        table.add_column(heading, justify="right")
    for heading in ("gate", "problem"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            str(row["model"]),
            "yes" if row["serves"] else "",
            str(row["created_at"])[:10],
            _number(row["ham_messages"]),
            _number(row["spam_messages"]),
            "" if row["gate_passed"] is None else "passed" if row["gate_passed"] else "failed",
            str(row["problem"] or ""),
        )
    Console().print(table)


def run_show(name: str | None, *, config: Path | None, as_json: bool) -> None:
    """Print what a model is made of."""
    bundle = _loaded(Registry(_directory(config)), name)
    shown = {"model": bundle.model_id, **asdict(bundle.manifest)}
    if as_json:
        click.echo(json.dumps(shown, default=dict))
        return
    for key, value in shown.items():
        if isinstance(value, dict):
            click.echo(f"{key}:")
            for inner, detail in value.items():
                click.echo(f"  {inner}: {detail}")
        else:
            click.echo(f"{key}: {value}")


def run_verify(name: str | None, *, config: Path | None) -> None:
    """Check a model, or all of them, against its digest; exit 1 if one is damaged."""
    registry = Registry(_directory(config))
    damaged = False
    for one in registry.names() if name is None else (name,):
        try:
            registry.load(one)
        except BundleError as error:
            damaged = True
            click.echo(str(error), err=True)
        else:
            click.echo(f"{one}: whole and untouched")
    if damaged:
        click.get_current_context().exit(1)


def run_promote(name: str, *, config: Path | None, force: bool) -> None:
    """Make a model serve; one that failed its gate only by force."""
    directory = _directory(config)
    bundle = _loaded(Registry(directory), name)
    if _gate(bundle) is False and not force:
        raise click.ClickException(
            f"{name} did not pass its gate ('model show {name}' tells its measures); "
            "--force promotes it all the same"
        )
    why = "promoted by force" if force else "promoted"
    done = _told(lambda: History(directory).promote(name, who=getpass.getuser(), why=why))
    click.echo(f"{done.name} serves; before it: {done.previous or 'none'}")


def run_rollback(*, config: Path | None) -> None:
    """Let the model serve again that served before."""
    directory = _directory(config)
    done = _told(lambda: History(directory).rollback(who=getpass.getuser()))
    click.echo(f"{done.name} serves again; {done.previous} is kept")


def _directory(config: Path | None) -> Path:
    try:
        return models_directory(config)
    except BundleError as error:
        raise click.ClickException(str(error)) from error


def _loaded(registry: Registry, name: str | None) -> Bundle:
    try:
        return registry.current() if name is None else registry.load(name)
    except BundleError as error:
        raise click.ClickException(str(error)) from error


def _told(change: Callable[[], Promotion]) -> Promotion:
    try:
        return change()
    except BundleError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"the models' folder cannot be written: {error}") from error


def _number(value: object) -> str:
    return "" if value is None else str(value)


def _gate(bundle: Bundle) -> bool | None:
    passed = bundle.metrics.get(GATE)
    return None if passed is None else passed > 0.0


def _row(registry: Registry, name: str) -> dict[str, object]:
    row: dict[str, object] = {
        "model": name,
        "serves": _pointed(registry) == name,
        "created_at": "",
        "ham_messages": None,
        "spam_messages": None,
        "gate_passed": None,
        "problem": None,
    }
    try:
        bundle = registry.load(name)
    except BundleError as error:
        return {**row, "problem": str(error)}
    return {
        **row,
        "created_at": bundle.created_at,
        "ham_messages": bundle.manifest.ham_messages,
        "spam_messages": bundle.manifest.spam_messages,
        "gate_passed": _gate(bundle),
    }


def _pointed(registry: Registry) -> str:
    try:
        return registry.pointed()
    except BundleError:
        return ""
