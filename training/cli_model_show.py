"""``schwamm model show``: what a model is made of, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.locale import N_, Translator, translator
from gateway.store.ownership import settings_of_service
from models.bundle import Bundle
from training.cli_language import chosen_language
from training.cli_model import gate_of, loaded, opened, pointed
from training.measures import MEASURE_NAMES
from training.report_texts import LANGUAGES

_ORIGINS = {
    "baseline": N_("shipped with Schwamm; it has never seen mail of this site"),
    "site": N_("trained on mail of this site"),
}
_GATES = {None: N_("never judged"), True: N_("passed"), False: N_("failed")}
LEARNED_UNTIL = "learned_until"
"""The metric of that name is ``training.candidate``'s, which takes a second to import."""


def run_show(name: str | None, *, config: Path | None, as_json: bool) -> None:
    """Print what people ask about a model, or everything that stands in its manifest."""
    language = chosen_language(settings_of_service(config))
    _ = translator(language)
    registry = opened(config)
    bundle = loaded(registry, name, _)
    if as_json:
        shown = {"model": bundle.model_id, **asdict(bundle.manifest)}
        click.echo(json.dumps(shown, default=dict))
        return
    serves = pointed(registry) == bundle.model_id
    for heading, value in (*_facts(bundle, serves=serves, _=_), *_measured(bundle, language)):
        click.echo(f"{heading + ':':<34} {value}")
    if bundle.manifest.sources:
        click.echo(_("Made from") + ":")
        for source, terms in bundle.manifest.sources.items():
            click.echo(f"  {source}: {terms}")
    click.echo(
        _("All its numbers: schwamm model show {model} --json").format(model=bundle.model_id)
    )


def _facts(bundle: Bundle, *, serves: bool, _: Translator) -> Iterator[tuple[str, str]]:
    manifest, scale = bundle.manifest, bundle.manifest.points_scale
    yield _("Model"), bundle.model_id
    yield _("Serves"), _("yes") if serves else _("no")
    yield _("Origin"), _(_ORIGINS[bundle.origin])
    yield _("Made at"), manifest.created_at
    yield (
        _("Learned"),
        _("{ham} ham, {spam} spam, with what was taken over from the shipped model").format(
            ham=manifest.ham_messages, spam=manifest.spam_messages
        )
        if bundle.origin == "site"
        else _("{ham} ham, {spam} spam").format(
            ham=manifest.ham_messages, spam=manifest.spam_messages
        ),
    )
    until = bundle.metrics.get(LEARNED_UNTIL)
    if until:
        yield _("Last mail learned came at"), _moment(until)
    yield _("Gate"), _(_GATES[gate_of(bundle)])
    yield (
        _("Points"),
        _("at most {cap:g}; from a spam probability of {begin:.3f} on, all from {all:.3f}").format(
            cap=bundle.points_cap, begin=scale.unsure_from, all=scale.sure_from
        ),
    )
    signed = _("no") if manifest.signature is None else _("yes")
    yield _("Signed"), signed


def _measured(bundle: Bundle, language: str) -> Iterator[tuple[str, str]]:
    """The measures taken on mail that was held out when the model was made."""
    texts = LANGUAGES[language]
    for name in MEASURE_NAMES:
        value = bundle.metrics.get(f"held_out_{name}")
        if value is not None:
            yield texts[name], f"{value:.3f}%"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"
