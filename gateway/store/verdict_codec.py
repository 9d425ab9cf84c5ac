"""A verdict as plain JSON and back, with the outcomes it was made from.

The facts used for scoring are stored with held mail, because DNS cannot be replayed at training
time (architecture, section 3).
"""

from gateway.core.verdict import (
    ContentFinding,
    Outcome,
    ScoredSymbol,
    ShadowFinding,
    Status,
    Symbol,
    Verdict,
    VerdictClass,
    WordReason,
)
from gateway.store.fields import Fields

Json = dict[str, object]


def verdict_to_json(verdict: Verdict) -> Json:
    """The judgement with everything that explains it."""
    data: Json = {"kind": verdict.kind.value, "score": verdict.score}
    if verdict.probability is not None:
        data["probability"] = verdict.probability
    if verdict.known_share is not None:
        data["known_share"] = verdict.known_share
    for name in ("model_id", "generation", "settings_digest", "malware", "scan_ms"):
        if value := getattr(verdict, name):
            data[name] = value
    if verdict.errors:
        data["errors"] = list(verdict.errors)
    if verdict.symbols:
        data["symbols"] = [_scored_to_json(symbol) for symbol in verdict.symbols]
    if verdict.words:
        data["words"] = _words_to_json(verdict.words)
    if verdict.outcomes:
        data["outcomes"] = [_outcome_to_json(one, verdict.words) for one in verdict.outcomes]
    return data


def verdict_from_json(value: object) -> Verdict:
    """The other way.

    Raises:
        RecordFormatError: a field missing or wrong.
    """
    data = Fields(value, "verdict")
    words = _words_from_json(data.entries("words"))
    return Verdict(
        kind=data.member("kind", VerdictClass),
        score=data.number("score"),
        symbols=tuple(_scored_from_json(entry) for entry in data.entries("symbols")),
        words=words,
        probability=data.optional_number("probability"),
        known_share=data.optional_number("known_share"),
        model_id=data.text("model_id", ""),
        generation=data.integer("generation", 0),
        settings_digest=data.text("settings_digest", ""),
        malware=data.text("malware", ""),
        errors=tuple(str(entry) for entry in data.entries("errors")),
        outcomes=tuple(_outcome_from_json(entry, words) for entry in data.entries("outcomes")),
        scan_ms=data.number("scan_ms", 0.0),
    )


def verdict_outline_from_json(value: object) -> Verdict:
    """Only what a row of the index needs.

    Raises:
        RecordFormatError: a field missing or wrong.
    """
    data = Fields(value, "verdict")
    return Verdict(
        kind=data.member("kind", VerdictClass),
        score=data.number("score"),
        model_id=data.text("model_id", ""),
        generation=data.integer("generation", 0),
    )


def _scored_to_json(symbol: ScoredSymbol) -> Json:
    data: Json = {"name": symbol.name, "points": symbol.points}
    if symbol.detail:
        data["detail"] = symbol.detail
    return data


def _scored_from_json(value: object) -> ScoredSymbol:
    data = Fields(value, "symbol")
    return ScoredSymbol(
        name=data.text("name"), points=data.number("points"), detail=data.text("detail", "")
    )


def _words_to_json(words: tuple[WordReason, ...]) -> list[Json]:
    return [{"word": word.word, "weight": word.weight} for word in words]


def _words_from_json(entries: list[object]) -> tuple[WordReason, ...]:
    words = [Fields(entry, "word") for entry in entries]
    return tuple(WordReason(word=w.text("word"), weight=w.number("weight")) for w in words)


def _outcome_to_json(outcome: Outcome, told: tuple[WordReason, ...]) -> Json:
    data: Json = {"check": outcome.check, "status": outcome.status.value}
    for name in ("elapsed_ms", "error", "malware"):
        if value := getattr(outcome, name):
            data[name] = value
    if outcome.symbols:
        data["symbols"] = [_symbol_to_json(symbol) for symbol in outcome.symbols]
    if outcome.content is not None:
        data["content"] = _content_to_json(outcome.content, told)
    return data


def _content_to_json(content: ContentFinding, told: tuple[WordReason, ...]) -> Json:
    """A finding; words that the verdict tells already are a quarter of a line and left out."""
    data: Json = {
        "probability": content.probability,
        "known_share": content.known_share,
        "model_id": content.model_id,
    }
    if content.words != told:
        data["words"] = _words_to_json(content.words)
    if content.shadow is not None:
        data["shadow"] = {
            "probability": content.shadow.probability,
            "known_share": content.shadow.known_share,
            "model_id": content.shadow.model_id,
        }
    return data


def _outcome_from_json(value: object, told: tuple[WordReason, ...]) -> Outcome:
    data = Fields(value, "outcome")
    content = data.get("content")
    return Outcome(
        check=data.text("check"),
        status=data.member("status", Status),
        symbols=tuple(_symbol_from_json(entry) for entry in data.entries("symbols")),
        elapsed_ms=data.number("elapsed_ms", 0.0),
        error=data.text("error", ""),
        malware=data.text("malware", ""),
        content=None if content is None else _content_from_json(content, told),
    )


def _content_from_json(value: object, told: tuple[WordReason, ...]) -> ContentFinding:
    data = Fields(value, "content finding")
    shadow = data.get("shadow")
    return ContentFinding(
        probability=data.number("probability"),
        known_share=data.number("known_share"),
        model_id=data.text("model_id"),
        words=told if data.get("words") is None else _words_from_json(data.entries("words")),
        shadow=None if shadow is None else shadow_from_json(shadow),
    )


def shadow_from_json(value: object) -> ShadowFinding:
    """What a watched model said.

    Raises:
        RecordFormatError: a field missing or wrong.
    """
    data = Fields(value, "shadow finding")
    return ShadowFinding(
        probability=data.number("probability"),
        known_share=data.number("known_share"),
        model_id=data.text("model_id"),
    )


def _symbol_to_json(symbol: Symbol) -> Json:
    data: Json = {"name": symbol.name}
    if symbol.detail:
        data["detail"] = symbol.detail
    if symbol.points is not None:
        data["points"] = symbol.points
    return data


def _symbol_from_json(value: object) -> Symbol:
    data = Fields(value, "symbol")
    return Symbol(
        name=data.text("name"),
        detail=data.text("detail", ""),
        points=data.optional_number("points"),
    )
