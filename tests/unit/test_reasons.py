"""Every symbol and every code has a plain sentence in both languages."""

from collections.abc import Mapping

import pytest

from gateway.checks.dnsbl_health import ListState
from gateway.checks.weights import BAYES, POINTS
from gateway.core import dns
from gateway.core.errors import ResolverError
from gateway.core.record import HoldReason
from gateway.core.verdict import VerdictClass
from gateway.locale import LANGUAGES
from gateway.locale.reasons import (
    ERROR_REASONS,
    HOLD_REASONS,
    LIST_REASONS,
    SYMBOL_REASONS,
    VERDICT_REASONS,
    explain_code,
    explain_symbol,
)


def test_symbols_and_sentences_match_one_to_one() -> None:
    assert set(SYMBOL_REASONS) == set(POINTS) | set(BAYES)


def test_codes_and_sentences_match_one_to_one() -> None:
    assert set(HOLD_REASONS) == set(HoldReason)
    assert set(VERDICT_REASONS) == set(VerdictClass)
    assert set(LIST_REASONS) == set(ListState)


def test_every_cause_of_the_resolver_has_a_sentence() -> None:
    causes = {
        cause.code
        for cause in vars(dns).values()
        if isinstance(cause, type)
        and issubclass(cause, ResolverError)
        and cause is not ResolverError
    }
    assert len(causes) == 7
    assert causes <= set(ERROR_REASONS)


def test_german_differs_from_english() -> None:
    for symbol in SYMBOL_REASONS:
        german, english = (explain_symbol(symbol, "", language) for language in ("de", "en"))
        assert german != english


@pytest.mark.parametrize(
    ("symbol", "detail", "language", "sentence"),
    [
        (
            "DNSBL_TRIAL",
            "zone=bl.example code=127.0.0.2",
            "de",
            "Der einliefernde Server steht auf der Sperrliste bl.example.",
        ),
        (
            "DNSBL_TRIAL",
            "zone=bl.example code=127.0.0.2",
            "en",
            "The sending server is on the block list bl.example.",
        ),
        (
            "PHISHED_LINK",
            "shown=bank.example real=evil.test",
            "en",
            "A link shows bank.example, but leads to evil.test.",
        ),
        ("PHISHED_LINK", "", "en", "A link shows ?, but leads to ?."),
        (
            "EXE_ATTACHMENT",
            "file={0.__class__}.exe",
            "en",
            "An attachment is a program: {0.__class__}.exe.",
        ),
        ("SITE_OWN", "", "en", "The rule SITE_OWN noticed this message."),
    ],
)
def test_sentences_take_their_parameters(
    symbol: str, detail: str, language: str, sentence: str
) -> None:
    assert explain_symbol(symbol, detail, language) == sentence


def test_codes_take_their_parameters_and_unknown_ones_stand_for_themselves() -> None:
    table: Mapping[str, str] = LIST_REASONS
    assert (
        explain_code(table, "lists_world", "en", zone="bl.example")
        == "The block list bl.example lists every address; it is not used."
    )
    assert explain_code(table, "new_code", "de") == "new_code"
    assert LANGUAGES == ("de", "en")
