"""A verdict in words: what was seen, how many points each sign gave, which words spoke."""

from collections.abc import Iterator

from gateway.core.verdict import Verdict
from gateway.locale import translator
from gateway.locale.reasons import explain_symbol
from gateway.locale.words import VERDICTS, word


def explained(verdict: Verdict | None, language: str) -> Iterator[str]:
    """Lines for a person, the strongest reason first."""
    _ = translator(language)
    if verdict is None:
        yield _("Not scanned: this mail stopped the scanner twice and is held unopened.")
        return
    yield _("{points} points: {verdict}").format(
        points=f"{verdict.score:.1f}", verdict=word(VERDICTS, verdict.kind.value, language)
    )
    for symbol in sorted(verdict.symbols, key=lambda one: -abs(one.points)):
        reason = explain_symbol(symbol.name, symbol.detail, language)
        yield f"  {symbol.points:+6.1f}  {symbol.name:<28} {reason}"
    for text, words in (
        (_("Words for spam: {words}"), [w.word for w in verdict.words if w.weight > 0]),
        (_("Words against: {words}"), [w.word for w in verdict.words if w.weight < 0]),
    ):
        # A colon marks what is no word but a trait of header or structure; --json has them all.
        plain = [word for word in words if ":" not in word]
        if plain:
            yield text.format(words=", ".join(plain))
    if verdict.errors:
        yield _("Checks that failed: {checks}").format(checks=", ".join(verdict.errors))
    yield _("Model {model}, configuration {generation}").format(
        model=verdict.model_id or "-", generation=verdict.generation
    )
