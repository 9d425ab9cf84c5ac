"""The evaluation report: one HTML file with everything inside, for people and for phones.

It holds words from spam. Every text goes through ``html.escape``; the page has no script, loads
nothing, and forbids both by its content security policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

import numpy as np

from gateway.locale import translator
from models.message import scan
from training.evaluate import Evaluation, filter_in_words
from training.measures import MEASURE_NAMES
from training.protocols import Mistake, ProtocolKind, WordWeights
from training.report_plots import (
    are_probabilities,
    calibration_plot,
    histogram_plot,
    learning_plot,
    roc_plot,
    roca_by_block,
    roca_plot,
)
from training.report_style import STYLE
from training.report_texts import LANGUAGES

_MAX_SHOWN_CHARS = 160
_MAX_WORDS = 14


def html_report(evaluation: Evaluation, *, language: str = "en", resamples: int = 1000) -> str:
    """Return the whole page. Raises KeyError for a language that is not there."""
    words = LANGUAGES[language]
    run = evaluation.run
    learns = evaluation.protocol.kind is not ProtocolKind.BATCH
    figures = []
    if evaluation.measures.complete():
        figures.append(("roc", roc_plot(run, words)))
    if learns:
        figures.append(("learning", learning_plot(run, words)))
    if learns and roca_by_block(run):
        figures.append(("roca", roca_plot(run, words)))
    if are_probabilities(run):
        figures.append(("calibration", calibration_plot(run, words)))
    figures.append(("histogram", histogram_plot(run, words)))
    body = "".join(
        (
            _head(evaluation, words),
            _measures(evaluation, words),
            '<section class="plots">',
            *(_figure(name, svg, words) for name, svg in figures),
            "</section>",
            _mistakes(run.mistakes, words),
            _foot(evaluation, words, resamples),
        )
    )
    return (
        f'<!DOCTYPE html>\n<html lang="{words["lang"]}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Schwamm: {escape(words['title'])}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _head(evaluation: Evaluation, words: Mapping[str, str]) -> str:
    run = evaluation.run
    summary = words["summary"].format(
        messages=_count(len(run.scores)),
        ham=_count(int((~run.is_spam).sum())),
        spam=_count(int(run.is_spam.sum())),
        protocol=evaluation.protocol,
        rate=_count(round(len(run.scores) / max(run.seconds, 1e-9))),
    )
    name = filter_in_words(evaluation.filter_name, translator(words["lang"]))
    note = f"<p>{escape(evaluation.note)}</p>" if evaluation.note else ""
    return (
        f"<header><h1>{escape(words['title'])}</h1>"
        f"<p><strong>{escape(words['filter'])}:</strong> {escape(name)}</p>"
        f"<p>{escape(summary)}</p>{note}</header>"
    )


def _measures(evaluation: Evaluation, words: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(words[name])}'
        f"<small>{escape(words[name + '_text'])}</small></th>"
        f"{_value(evaluation, name, words)}</tr>"
        for name in MEASURE_NAMES
    )
    return (
        f"<section><h2>{escape(words['measures_title'])}</h2>"
        f"<p>{escape(words['measures_text'])}</p><table><thead><tr>"
        f'<th scope="col">{escape(words["measure"])}</th>'
        f'<th scope="col" class="number">{escape(words["value"])}</th>'
        f'<th scope="col" class="number">{escape(words["interval"])}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _value(evaluation: Evaluation, name: str, words: Mapping[str, str]) -> str:
    interval = evaluation.intervals.get(name)
    if interval is None:
        return f'<td></td><td class="number quiet">{escape(words["needs_both"])}</td>'
    return (
        f'<td class="number">{_decimal(evaluation.measures.as_dict()[name], words)}</td>'
        f'<td class="number quiet">{_decimal(interval.low, words)} &ndash; '
        f"{_decimal(interval.high, words)}</td>"
    )


def _figure(name: str, svg: str, words: Mapping[str, str]) -> str:
    title, text = words[f"{name}_title"], words[f"{name}_text"]
    return (
        f'<figure role="img" aria-label="{escape(title)}"><h2>{escape(title)}</h2>{svg}'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )


def _mistakes(mistakes: Iterable[Mistake], words: Mapping[str, str]) -> str:
    found = list(mistakes)
    told = any(mistake.words for mistake in found)
    lists = "".join(
        f"<h3>{escape(words[name])}</h3>{_mistake_list(kind, words)}"
        for name, kind in (
            ("ham_mistakes", [mistake for mistake in found if not mistake.is_spam]),
            ("spam_mistakes", [mistake for mistake in found if mistake.is_spam]),
        )
    )
    return (
        f"<section><h2>{escape(words['mistakes_title'])}</h2>"
        f"<p>{escape(words['mistakes_text' if told or not found else 'no_words'])}</p>"
        f"{lists}</section>"
    )


def _mistake_list(mistakes: list[Mistake], words: Mapping[str, str]) -> str:
    if not mistakes:
        return f'<p class="quiet">{escape(words["no_mistakes"])}</p>'
    return f'<ol class="mistakes">{"".join(_mistake(one, words) for one in mistakes)}</ol>'


def _mistake(mistake: Mistake, words: Mapping[str, str]) -> str:
    mail = scan(mistake.raw_head)
    subject = _shown(mail.subject) or words["no_subject"]
    sender = _shown(" ".join(part for part in (mail.from_name, mail.from_address) if part))
    chips = "".join(
        f'<span class="{"for" if weight > 0 else "against"}">{escape(_shown(word, 40))}'
        f"<b>{_with_sign(f'{weight:+.2f}', words)}</b></span>"
        for word, weight in _weightiest(mistake.words)
    )
    score = _with_sign(_few_digits(mistake.score), words)
    return (
        f"<li><p class=subject>{escape(subject)}</p>"
        f'<p class="quiet">{escape(sender)}<br>{escape(words["score"])} {score} · '
        f"{escape(words['position'])} {_count(mistake.position)} · "
        f"{escape(_shown(mistake.source))}</p>"
        + (f"<p class=words>{chips}</p></li>" if chips else "</li>")
    )


def _weightiest(said: WordWeights) -> WordWeights:
    """Return the words that moved the score most, whichever way.

    A filter tells those for spam first: the first few alone would never explain missed spam.
    """
    return sorted(said, key=lambda word: -abs(word[1]))[:_MAX_WORDS]


def _few_digits(score: float) -> str:
    """Write six digits without an exponent, which few people read."""
    return str(np.format_float_positional(score, precision=6, fractional=False, trim="-"))


def _foot(evaluation: Evaluation, words: Mapping[str, str], resamples: int) -> str:
    skipped = words["skipped"].format(count=evaluation.skipped) if evaluation.skipped else ""
    made = words["made"].format(protocol=evaluation.protocol, resamples=resamples)
    return f'<footer class="quiet"><p>{escape(skipped)}</p><p>{escape(made)}</p></footer>'


def _shown(text: str, length: int = _MAX_SHOWN_CHARS) -> str:
    """Shorten foreign text and drop what is not printable (controls, direction marks)."""
    cleaned = "".join(char if char.isprintable() else " " for char in text[: 4 * length])
    cleaned = " ".join(cleaned.split())
    return cleaned if len(cleaned) <= length else cleaned[: length - 1] + "…"


def _decimal(value: float, words: Mapping[str, str]) -> str:
    return _with_sign(f"{value:.3f}", words)


def _with_sign(number: str, words: Mapping[str, str]) -> str:
    return number.replace(".", words["decimal_sign"])


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
