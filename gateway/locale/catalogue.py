"""Keeps the catalogues in step with the source: ``python -m gateway.locale.catalogue``.

Finds every sentence in ``_()``, ``N_()`` and ``ngettext()`` of ``gateway`` and ``training`` and in
the web pages' templates, adds it to the catalogue without a translation and drops what is gone.
Nothing is guessed: a changed sentence is a new one. A test fails while one is not translated.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from gateway.locale import DOMAIN, catalogue_path

_ROOT = Path(__file__).parents[2]
_ROOMS = ("gateway", "training")
_METHODS = [
    ("**.py", "python"),
    ("**/templates/**.html", "jinja2"),
    ("**/templates/**.txt", "jinja2"),
]
_KEYWORDS: dict[str, tuple[int, ...] | None] = {"_": None, "N_": None, "ngettext": (1, 2)}
_HEADER = "# German texts of Schwamm. See gateway/locale/catalogue.py for how this file is kept."

Sentence = str | tuple[str, ...]


def sentences(root: Path = _ROOT) -> Iterator[tuple[str, Sentence]]:
    """Every sentence in the source: the file it stands in, and its text or (singular, plural)."""
    for room in _ROOMS:
        found = extract_from_dir(root / room, _METHODS, keywords=_KEYWORDS)
        for name, _line, message, _comments, _context in found:
            yield f"{room}/{name}", message


def load(language: str) -> Catalog:
    """The catalogue as it is in the source tree."""
    with catalogue_path(language).open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def update(language: str) -> int:
    """Bring the catalogue up to date; how many sentences wait for a translation."""
    old = load(language)
    fresh = Catalog(
        locale=language,
        domain=DOMAIN,
        header_comment=_HEADER,
        project="Schwamm",
        creation_date=old.creation_date,
        fuzzy=False,
    )
    for name, sentence in sentences():
        fresh.add(sentence, locations=[(name, 1)])
    waiting = 0
    for message in fresh:
        if message.id:
            known = old.get(message.id)
            message.string = known.string if known and not known.fuzzy else message.string
            waiting += not message.string or not all(message.string)
    with catalogue_path(language).open("wb") as file:
        write_po(file, fresh, include_lineno=False, sort_output=True, width=100, omit_header=False)
    return waiting


def main() -> int:
    """Update the German catalogue and say what is missing."""
    waiting = update("de")
    print(f"{catalogue_path('de')}: {waiting} sentences without a translation")  # noqa: T201
    return 1 if waiting else 0


if __name__ == "__main__":
    sys.exit(main())
