"""``schwamm corpus``: labelled mail comes into the archive under the state directory."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path

import click

from gateway.store.ownership import settings_of_service
from models.mailboxes.message import OnProblem
from training.corpus import CorpusMessage, CorpusProblem, read_index, read_messages
from training.corpus.archive import Archive
from training.corpus.index import find_index


def archive_of(config: Path | None) -> Archive:
    """Return the archive of the gateway with this configuration.

    Raises ConfigError when there is none or it is wrong.
    """
    return Archive(settings_of_service(config).paths.state / "corpus")


def run_import(
    *,
    path: Path | None,
    label: str | None,
    index: Path | None,
    config: Path | None,
    who: str | None,
    as_json: bool,
) -> None:
    """Import and say what came of it; exits 1 when not one message was found."""
    problems: list[CorpusProblem] = []

    def note(problem: CorpusProblem) -> None:
        problems.append(problem)
        click.echo(str(problem), err=True)

    stream = _labelled(path, label, index, note)
    archive = archive_of(config)
    try:
        added = archive.add(stream, who=who or getpass.getuser(), reason="import")
    except OSError as error:
        raise click.ClickException(f"the archive cannot be written: {error}") from error
    total = added.new + added.changed + added.known
    counts = {
        "new": added.new,
        "changed": added.changed,
        "known": added.known,
        "skipped": len(problems),
    }
    if as_json:
        click.echo(json.dumps(counts))
    else:
        click.echo(
            f"{added.new} new, {added.changed} with a changed label, {added.known} known "
            f"already, {len(problems)} skipped"
        )
    if not total:
        click.get_current_context().exit(1)


def _labelled(
    path: Path | None, label: str | None, index: Path | None, note: OnProblem
) -> Iterator[tuple[CorpusMessage, bool]]:
    if path is not None and label is not None and index is None:
        is_spam = label == "spam"
        return ((message, is_spam) for message in read_messages(path, on_problem=note))
    if index is None or path is not None or label is not None:
        raise click.UsageError("give either PATH with --label, or --index FILE alone")
    try:
        return read_index(find_index(index), on_problem=note)
    except FileNotFoundError as error:
        raise click.UsageError(str(error)) from error
