"""German and English. Sentences in the source are English and are the keys of the catalogue.

The catalogue is a gettext ``.po`` file, read by Babel when the first German sentence is asked for
and kept in memory: nothing to compile. English needs no catalogue, and a process that shows
nothing to people (an SMTP worker) never imports Babel.
"""

import gettext
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

LANGUAGES = ("de", "en")
DOMAIN = "schwamm"
_HERE = Path(__file__).parent

Translator = Callable[[str], str]
PluralTranslator = Callable[[str, str, int], str]


@cache
def translations(language: str) -> gettext.NullTranslations:
    """The catalogue of a language, as Jinja and gettext want it; English for an unknown one."""
    if language == "en" or language not in LANGUAGES:
        return gettext.NullTranslations()
    from babel.messages.mofile import write_mo  # noqa: PLC0415  costs 50 ms: not for workers
    from babel.messages.pofile import read_po  # noqa: PLC0415

    with catalogue_path(language).open("rb") as file:
        catalogue = read_po(file, locale=language, domain=DOMAIN)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def catalogue_path(language: str) -> Path:
    """Where the catalogue of a language lies."""
    return _HERE / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def translator(language: str) -> Translator:
    """The function that callers name ``_``: ``_("Stop with Ctrl+C.")``."""
    return translations(language).gettext


def plural_translator(language: str) -> PluralTranslator:
    """The function that callers name ``ngettext``: ``ngettext("{n} mail", "{n} mails", n)``."""
    return translations(language).ngettext


def N_(message: str) -> str:  # noqa: N802  gettext's own name
    """Mark a sentence for the catalogue that is translated later, where it is shown."""
    return message
