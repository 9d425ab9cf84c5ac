"""What ``schwamm train`` tells about labels, the people behind them, and drift."""

from __future__ import annotations

import time

import click

from gateway.locale import Translator
from gateway.locale.drifting import drift_step, explain_drift
from gateway.settings import Settings
from gateway.store.drifting import drift, drift_by_day
from models.drift import Step
from training.candidate import Candidate
from training.cli_language import chosen_language
from training.gate_voices import EVERYBODY
from training.labels import LabelReport
from training.site_index import site_index

_MOST_DISPUTES = 20


def tell_labels(report: LabelReport, _: Translator) -> None:
    """Print who taught how much, what was left out, and what people disagree about."""
    for person, number in report.given.items():
        click.echo(_("labels of {person}: {number}").format(person=person, number=number))
    for person, number in report.over_the_cap.items():
        click.echo(
            _("  {number} more of {person} are over the limit per day and were not learned").format(
                person=person, number=number
            )
        )
    for text, number in (
        (_("labels left out on request: {number}"), report.left_out),
        (_("labels taken back: {number}"), report.withdrawn),
        (_("labels without a person, ignored: {number}"), report.nobodys),
        (_("labels that kept nothing to learn from: {number}"), report.unusable),
        (_("labels with features of another version: {number}"), report.other_spec),
    ):
        if number:
            click.echo(text.format(number=number))
    _tell_disputes(report, _)


def tell_voices(candidate: Candidate, _: Translator) -> None:
    """Print whose labels were examined, and how large the fixed sets are."""
    if candidate.fixed_set:
        click.echo(
            _("  fixed set, never learned: {number} messages").format(number=candidate.fixed_set)
        )
    if candidate.shipped_set:
        number = candidate.shipped_set
        click.echo(_("  shipped set of public mail, never learned: {number}").format(number=number))
    for one in candidate.voices:
        if one.worse or not one.judged_on:
            continue  # it stands among the reasons, or could not be examined
        known = _("everybody in the quarantine") if one.person == EVERYBODY else one.person
        click.echo(
            _("  the labels of {person} do not harm what others labelled ({number})").format(
                person=known, number=one.judged_on
            )
        )


def tell_drift(settings: Settings) -> None:
    """Print in what the mail of the last days differs from the weeks before, and what to do."""
    now = time.time_ns() // 1_000_000
    chosen = chosen_language(settings)
    with site_index(settings) as index:
        found = drift(drift_by_day(index, now), now)
    for one in found:
        if one.step is not Step.WAIT:
            click.echo(explain_drift(one.code, one.parameters, chosen))
            click.echo(f"  -> {drift_step(one.step, chosen)}")


def _tell_disputes(report: LabelReport, _: Translator) -> None:
    for dispute in report.disputes[:_MOST_DISPUTES]:
        votes = ", ".join(
            f"{vote.person}: {'spam' if vote.is_spam else 'ham'}" for vote in dispute.votes
        )
        click.echo(_("people disagree about {id}: {votes}").format(id=dispute.mail_id, votes=votes))
    more = len(report.disputes) - _MOST_DISPUTES
    if more > 0:
        click.echo(_("and about {number} more").format(number=more))
