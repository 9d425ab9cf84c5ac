"""``schwamm corpus``: labelled mail comes into the archive under the state directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from gateway.core.handoff import printable
from gateway.locale import Translator
from gateway.locale.mailboxes import explain_problem
from gateway.store.ownership import operator, settings_of_service
from models.mailboxes.message import OnProblem
from training.archived_lessons import SeenMail
from training.cli_language import no_index, spoken
from training.corpus import CorpusMessage, CorpusProblem, read_index, read_messages
from training.corpus.archive import Archive
from training.corpus.index import find_index

_TAKEN_BACK = "none"
_LABELS = {"ham": False, "spam": True, _TAKEN_BACK: None}
_SHORTEST = 8  # characters of a digest that name a message, if no other begins so


def archive_of(config: Path | None) -> Archive:
    """Return the archive of the gateway with this configuration.

    Raises ConfigError when there is none or it is wrong.
    """
    return Archive(archive_directory(config))


def archive_directory(config: Path | None) -> Path:
    """Return where the archive lies. Raises as ``archive_of``."""
    return settings_of_service(config).paths.state / "corpus"


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
    _ = spoken(settings_of_service(config))

    def note(problem: CorpusProblem) -> None:
        problems.append(problem)
        click.echo(explain_problem(problem, _), err=True)

    stream: Iterator[tuple[CorpusMessage, bool | None]]
    labelled = _labelled(path, label, index, note, _)
    archive = archive_of(config)
    try:
        if label == _TAKEN_BACK:
            stream = ((message, None) for message, _is_spam in labelled)
        else:
            stream = iter(SeenMail(archive_directory(config)).watch(labelled))
        added = archive.add(stream, who=who or operator(), reason="import")
    except OSError as error:
        text = _("the archive cannot be written: {error}")
        raise click.ClickException(text.format(error=error.strerror or error)) from error
    total = added.new + added.changed + added.known
    counts = {
        "new": added.new,
        "changed": added.changed,
        "known": added.known,
        "skipped": len(problems),
    }
    if as_json:
        click.echo(json.dumps(counts))
    elif label == _TAKEN_BACK:
        text = _("{changed} labels taken back, {known} messages had none, {skipped} skipped")
        click.echo(text.format(**counts))
    else:
        text = _(
            "{new} new, {changed} with a changed label, {known} known already, {skipped} skipped"
        )
        click.echo(text.format(**counts))
    if not total:
        click.get_current_context().exit(1)


def run_label(
    digest: str, value: str, *, reason: str, config: Path | None, who: str | None
) -> None:
    """Change or take back the label of one imported message."""
    _ = spoken(settings_of_service(config))
    archive = archive_of(config)
    found = [one for one in archive.labels() if one.startswith(digest.lower())]
    if len(found) != 1 or len(digest) < _SHORTEST:
        text = _(
            "{id} names no imported message, or several; train and the file labels.jsonl in "
            "{folder} show the whole ids"
        )
        folder = archive_directory(config)
        raise click.ClickException(text.format(id=printable(digest), folder=folder))
    try:
        archive.relabel(found[0], _LABELS[value], who=who or operator(), reason=reason)
    except OSError as error:
        text = _("the archive cannot be written: {error}")
        raise click.ClickException(text.format(error=error.strerror or error)) from error
    if value == _TAKEN_BACK:
        click.echo(_("{id}: label taken back").format(id=found[0]))
    else:
        click.echo(_("{id}: labelled {label}").format(id=found[0], label=value))


def _labelled(
    path: Path | None, label: str | None, index: Path | None, note: OnProblem, _: Translator
) -> Iterator[tuple[CorpusMessage, bool]]:
    if path is not None and label is not None and index is None:
        is_spam = label == "spam"
        return ((message, is_spam) for message in read_messages(path, on_problem=note))
    if index is None or path is not None or label is not None:
        raise click.UsageError(_("give either PATH with --label, or --index FILE alone"))
    try:
        return read_index(find_index(index), on_problem=note)
    except FileNotFoundError as error:
        raise click.UsageError(no_index(index, _)) from error
