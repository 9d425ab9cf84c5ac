"""``schwamm quarantine``: look at held mail and decide."""

import json
import sys
import time
from datetime import UTC, datetime

import click

from gateway.cli.context import (
    complain,
    config_option,
    json_option,
    language,
    print_rows,
    printable,
)
from gateway.cli.explaining import explained
from gateway.cli.state import OpenState, open_review, open_state
from gateway.core.clock import iso_utc
from gateway.core.record import CopyState
from gateway.locale import Translator, translator
from gateway.locale.reasons import HOLD_REASONS, explain_code
from gateway.locale.words import LABELS, STATES, spoken, word
from gateway.quarantine.review import UNKNOWN_MAIL, LabelValue, ReviewError
from gateway.settings import Settings
from gateway.store.views import LabelRow, MessageView, QuarantineFilter

_WAIT_S = 10.0
_STATES = {
    "held": (CopyState.HELD,),
    "released": (CopyState.RELEASED,),
    "delivered": (CopyState.DELIVERED,),
    "deleted": (CopyState.DELETED,),
    "expired": (CopyState.EXPIRED,),
    "all": tuple(CopyState),
}


class _Moment(click.ParamType[int]):
    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-11-23 or 2026-11-23T09:30", param, ctx)
        if moment.tzinfo is None:
            moment = moment.astimezone()
        return int(moment.astimezone(UTC).timestamp() * 1000)


@click.group()
def quarantine() -> None:
    """Held mail: list, show, release, delete, label."""


@quarantine.command("list")
@click.option("--domain", default="", help="Only this recipient domain.")
@click.option("--recipient", default="", help="Only this recipient.")
@click.option("--sender", default="", help="A part of the sender's address or name.")
@click.option("--text", default="", help="Words in sender or subject.")
@click.option("--since", type=_Moment(), help="Received at or after, e.g. 2026-11-23.")
@click.option("--until", type=_Moment(), help="Received before.")
@click.option("--min-score", type=float, help="At least this many points.")
@click.option("--max-score", type=float, help="At most this many points.")
@click.option("--state", type=click.Choice(list(_STATES)), default="held", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@config_option
def list_held(
    settings: Settings,
    state: str,
    since: int | None,
    until: int | None,
    as_json: bool,
    **wanted: object,
) -> None:
    """Held copies, newest first."""
    _ = translator(language(settings))
    chosen = QuarantineFilter(
        states=_STATES[state],
        since_ms=since,
        until_ms=until,
        **wanted,  # type: ignore[arg-type]  # click converted each to its type
    )
    with open_state(settings) as opened:
        page = opened.index.listings.quarantine(chosen)
    print_rows(
        (row.quarantine_json() for row in page.rows),
        as_json=as_json,
        columns=[
            ("id", "ID"),
            ("received_at", _("Received")),
            ("recipient", _("Recipient")),
            ("from", _("From")),
            ("subject", _("Subject")),
            ("score", _("Score")),
            ("state", _("State")),
        ],
        empty=_("Nothing is held."),
        words={"state": spoken(STATES, language(settings))},
    )
    if page.next and not as_json:
        click.echo(_("There is more; raise --limit or narrow the filter."), err=True)


@quarantine.command()
@click.argument("mail_id")
@click.option("--raw", is_flag=True, help="The original bytes, unchanged, to standard output.")
@json_option
@config_option
def show(settings: Settings, mail_id: str, raw: bool, as_json: bool) -> None:
    """Why a mail was held, in words; with --raw its bytes."""
    with open_review(settings) as (review, state):
        view = state.index.listings.show(mail_id)
        if view is None:
            raise ReviewError(UNKNOWN_MAIL, id=mail_id)
        if raw:
            content = state.records.content(mail_id)
            review.viewed(mail_id)
            sys.stdout.buffer.write(bytes(content))
            return
    if as_json:
        click.echo(json.dumps(_shown_json(view)))
    else:
        _print_view(view, language(settings))


def _shown_json(view: MessageView) -> dict[str, object]:
    verdict = view.facts.verdict
    return {
        "id": view.facts.id,
        "copies": [row.quarantine_json() for row in view.copies],
        "score": verdict.score if verdict else None,
        "verdict": verdict.kind.value if verdict else None,
        "probability": verdict.probability if verdict else None,
        "symbols": [
            {"name": symbol.name, "points": symbol.points, "detail": symbol.detail}
            for symbol in (verdict.symbols if verdict else ())
        ],
        "words": [
            {"word": word.word, "weight": word.weight}
            for word in (verdict.words if verdict else ())
        ],
        "errors": list(verdict.errors) if verdict else [],
        "model": verdict.model_id if verdict else "",
        "generation": view.facts.generation,
        "client": view.facts.session.ip,
        "events": [event.json() for event in view.events],
        "labels": [
            {
                "label": label.label,
                "person": label.person,
                "role": label.role,
                "at": iso_utc(label.at_ms),
                "reason": label.reason,
                "source": label.source,
            }
            for label in view.labels
        ],
    }


def _print_view(view: MessageView, chosen: str) -> None:
    _ = translator(chosen)
    facts = view.facts
    rows = [
        (_("From"), facts.from_header),
        (_("Envelope sender"), facts.envelope.mail_from or "<>"),
        (_("Subject"), facts.subject),
        (_("Client"), f"{facts.session.ip} ({facts.session.helo})"),
        (_("Size"), _("{n} bytes").format(n=facts.size_bytes)),
    ]
    rows += [
        (
            _("Copy for {recipient}").format(recipient=copy.recipient),
            word(STATES, copy.state, chosen),
        )
        for copy in view.copies
    ]
    rows += [
        (_("Label by {person}").format(person=given.person), _label_told(given, chosen))
        for given in view.labels
    ]
    for heading, value in rows:
        click.echo(f"{heading + ':':<24} {printable(value)}")
    for copy in view.copies:
        if copy.state == CopyState.HELD and copy.expires_at_ms is not None:
            reason = explain_code(HOLD_REASONS, copy.hold_reason, chosen)
            until = _("It is kept until {time}.").format(time=iso_utc(copy.expires_at_ms))
            click.echo(printable(f"{copy.recipient}: {reason} {until}"))
    click.echo("")
    for line in explained(facts.verdict, chosen):
        click.echo(printable(line))


def _label_told(given: LabelRow, chosen: str) -> str:
    """What somebody said of a mail, when, through what, and why if they told."""
    why = f": {given.reason}" if given.reason else ""
    said = word(LABELS, given.label, chosen)
    return f"{said} ({iso_utc(given.at_ms)}, {given.source}){why}"


@quarantine.command()
@click.argument("mail_ids", nargs=-1, required=True)
@click.option("--recipient", default="", help="Only this recipient's copy.")
@click.option("--ham", "as_ham", is_flag=True, help="Also label it as ham, to learn from it.")
@json_option
@config_option
def release(
    settings: Settings, mail_ids: tuple[str, ...], recipient: str, as_ham: bool, as_json: bool
) -> None:
    """Send held mail on to its recipients, byte for byte."""
    _ = translator(language(settings))
    failed = False
    with open_review(settings) as (review, state):
        for mail_id in mail_ids:
            try:
                release_it = review.release_as_ham if as_ham else review.release
                recipients = release_it(mail_id, recipient)
            except ReviewError as error:
                complain(error, settings)
                failed = True
                continue
            for key, now, reply in _outcomes(state, mail_id, recipients):
                row = {"id": mail_id, "recipient": key, "state": now, "reply": reply}
                if as_json:
                    click.echo(json.dumps(row))
                else:
                    text = _release_text(now, _)
                    click.echo(text.format(id=mail_id, recipient=key, reply=printable(reply)))
    if failed:
        raise SystemExit(1)


def _release_text(state: str, _: Translator) -> str:
    if state == CopyState.DELIVERED:
        return _("{id}: released and delivered to {recipient}")
    if state == CopyState.RELEASED:
        return _("{id}: released; it will be delivered to {recipient} when its server takes it")
    return _("{id}: released, but not delivered to {recipient}: {reply}")


def _outcomes(state: OpenState, mail_id: str, recipients: list[str]) -> list[tuple[str, str, str]]:
    """Wait a moment for the keeper; what became of each copy."""
    end = time.monotonic() + (_WAIT_S if state.keeper_runs else 0)
    while True:
        rows = {
            row.recipient: row
            for row in state.index.listings.copies(mail_id)
            if row.recipient in recipients
        }
        waiting = [
            row
            for row in rows.values()
            if row.state == CopyState.HELD or (row.state == CopyState.RELEASED and not row.attempts)
        ]
        if not waiting or time.monotonic() > end:
            break
        time.sleep(0.1)
    return [
        (
            key,
            CopyState.RELEASED.value
            if row.state == CopyState.HELD and not row.reply
            else row.state,
            row.reply,
        )
        for key, row in rows.items()
    ]


@quarantine.command()
@click.argument("mail_ids", nargs=-1, required=True)
@click.option("--recipient", default="", help="Only this recipient's copy.")
@config_option
def delete(settings: Settings, mail_ids: tuple[str, ...], recipient: str) -> None:
    """Remove held mail. This is no label: the classifier learns nothing from it."""
    _ = translator(language(settings))
    failed = False
    with open_review(settings) as (review, _state):
        for mail_id in mail_ids:
            try:
                for key in review.delete(mail_id, recipient):
                    click.echo(_("{id}: deleted for {recipient}").format(id=mail_id, recipient=key))
            except ReviewError as error:
                complain(error, settings)
                failed = True
    if failed:
        raise SystemExit(1)


@quarantine.command("label")
@click.argument("mail_id")
@click.argument("value", type=click.Choice(["ham", "spam", "none"]))
@click.option("--reason", default="", help="Why, for whoever reads it later.")
@config_option
def label_mail(settings: Settings, mail_id: str, value: str, reason: str) -> None:
    """Say what a mail really is; "none" takes a label back.

    Its features are kept; the mail stays where it is. A mail that was delivered can be
    labelled, too, for retention.features_days (30): find its id with schwamm track.
    """
    _ = translator(language(settings))
    with open_review(settings) as (review, _state):
        review.label(mail_id, LabelValue(value), reason)
    if value == LabelValue.NONE:
        click.echo(_("{id}: label taken back").format(id=mail_id))
        return
    click.echo(_("{id}: labelled {label}").format(id=mail_id, label=value))
