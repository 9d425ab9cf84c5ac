"""The catalogue: complete, with the same placeholders, nothing guessed, nothing left over."""

import re
import subprocess
import sys
from string import Formatter

import pytest

from gateway.locale import LANGUAGES, plural_translator, translations, translator
from gateway.locale.catalogue import load, sentences

_SOURCE = list(sentences())
_PRINTF = re.compile(r"%(?:\(\w+\))?[-#0 +]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa]")


def placeholders(text: str) -> set[str]:
    """Names in braces, and printf marks as Jinja's i18n uses them."""
    named = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    return named | set(_PRINTF.findall(text))


def test_the_source_has_sentences() -> None:
    assert ("gateway/locale/reasons.py", "The message names no sender.") in _SOURCE


def test_every_sentence_of_the_source_is_translated() -> None:
    catalogue = load("de")
    missing = []
    for file, sentence in _SOURCE:
        message = catalogue.get(sentence if isinstance(sentence, str) else sentence[0])
        strings = message.string if message else ""
        if not strings or not all([strings] if isinstance(strings, str) else strings):
            missing.append((file, sentence))
    assert missing == []


def test_nothing_is_fuzzy_or_obsolete() -> None:
    catalogue = load("de")
    known = {sentence if isinstance(sentence, str) else sentence[0] for _, sentence in _SOURCE}
    ids = {m.id if isinstance(m.id, str) else m.id[0] for m in catalogue if m.id}
    assert ids - known == set()
    assert [message.id for message in catalogue if message.id and message.fuzzy] == []
    assert list(catalogue.obsolete) == []


def test_translations_use_the_same_placeholders() -> None:
    for message in load("de"):
        if not message.id or not message.string or not all(message.string):
            continue
        sources = [message.id] if isinstance(message.id, str) else list(message.id)
        texts = [message.string] if isinstance(message.string, str) else list(message.string)
        wanted = set().union(*(placeholders(source) for source in sources))
        for text in texts:
            assert placeholders(text) <= wanted, message.id
        assert placeholders(texts[-1]) == placeholders(sources[-1]), message.id


def test_german_and_english() -> None:
    assert translator("de")("This is probably spam.") == "Das ist wahrscheinlich Spam."
    assert translator("en")("This is probably spam.") == "This is probably spam."
    assert translator("fr")("This is probably spam.") == "This is probably spam."
    assert plural_translator("en")("{n} mail", "{n} mails", 1) == "{n} mail"
    assert translations("de") is translations("de")


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_showing_german_imports_babel(language: str) -> None:
    code = (
        "import sys, gateway.locale as l, gateway.locale.reasons, gateway.checks;"
        "assert 'babel' not in sys.modules;"
        f"l.translator({language!r})('This is probably spam.');"
        "print('babel' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(language == "de")
