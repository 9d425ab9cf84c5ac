"""In which language a command of training speaks: as the gateway's own command line does."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.locale import LANGUAGES, Translator, translator
from gateway.settings import Settings


def spoken(settings: Settings | None = None) -> Translator:
    """Return ``_`` for the reader: ``--language``, else the terminal's, else the node's."""
    return translator(chosen_language(settings))


def chosen_language(settings: Settings | None = None) -> str:
    """Return ``de`` or ``en``."""
    context = click.get_current_context(silent=True)
    handed_down = context.find_root().obj if context else None
    if isinstance(handed_down, dict) and handed_down.get("language"):
        return str(handed_down["language"])
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        code = os.environ.get(variable, "")[:2].lower()
        if code in LANGUAGES:
            return code
    return settings.node.language if settings else "en"


def no_index(given: Path, _: Translator) -> str:
    """Return why ``find_index`` found none."""
    if given.is_dir():
        return _("{path}: there is no file named 'index' in this folder").format(path=given)
    if given.exists():
        text = _(
            "{path}: this is no regular file; the index is read more than once, so save it first"
        )
        return text.format(path=given)
    return _("{path}: there is no such file").format(path=given)
