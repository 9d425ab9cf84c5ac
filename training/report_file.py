"""Where the evaluation report goes: asked before a long run, written after it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from gateway.locale import Translator, translator
from training.evaluate import Evaluation


def check_report_path(path: Path, index: Path, _: Translator) -> None:
    """Refuse a place where no report can be written, before hours are spent on the run.

    What lies there stays as it is until there is something to replace it. Raises click's errors.
    """
    place = Path(os.path.realpath(path))  # of a link, what it points to
    try:
        if not place.parent.is_dir():
            text = _("--report: {folder}: there is no such folder; create it first")
            raise click.UsageError(text.format(folder=place.parent))
        if not place.exists():
            place.open("xb").close()
            place.unlink()
        elif place.samefile(index):
            text = _("--report: {path} is the index; choose another name for the report")
            raise click.UsageError(text.format(path=path))
        elif place.is_file():  # opening a pipe would wait for its reader
            place.open("ab").close()
    except OSError as error:
        raise _unwritable(path, error, _) from error


def write_report(path: Path, evaluation: Evaluation, language: str) -> None:
    """Draw and write the page. Raises ClickException where the disk does not take it."""
    # It speaks of a folder for its cache that it could not make, which is nobody's concern here.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # Matplotlib takes a second to import and writes a cache: only a report needs it.
    from training.report import html_report  # noqa: PLC0415

    page = html_report(evaluation, language=language)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error, translator(language)) from error


def _unwritable(path: Path, error: OSError, _: Translator) -> click.ClickException:
    text = _("the report {path} cannot be written: {error}; choose another place for it")
    return click.ClickException(text.format(path=path, error=error.strerror or error))
