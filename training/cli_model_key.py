"""``schwamm model key``: the key that models are signed with, and where its halves belong."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.store.ownership import settings_of_service
from training.cli_language import spoken
from training.signing_key import (
    SigningKeyError,
    make_signing_key,
    public_half,
    read_signing_key,
)


def run_key(path: Path, *, config: Path | None) -> None:
    """Make a key, or read the one that is there, and tell what to write where."""
    _ = spoken(settings_of_service(config))
    try:
        key = make_signing_key(path)
    except FileExistsError:
        try:
            key = read_signing_key(path)
        except SigningKeyError as error:
            raise click.ClickException(f"{path}: {_(str(error))}") from error
        click.echo(_("{path} holds a key already; it stays as it is.").format(path=path))
    except OSError as error:
        text = _("{path} cannot be written: {error}")
        why = text.format(path=path, error=error.strerror or error)
        raise click.ClickException(why) from error
    else:
        click.echo(_("{path}: a new key. Who has it can sign models.").format(path=path))
    click.echo(_("Where models are trained, and only there (gateway.toml):"))
    click.echo(f'[training]\nsigning_key = "{path.resolve()}"')
    click.echo(_("On every gateway, which then serves no model of this site without it:"))
    click.echo(f'[model]\nsigned_by = "{public_half(key)}"')
