"""``schwamm queue``: mail that waits for its next hop."""

from collections.abc import Iterator
from typing import Final

import click

from gateway.cli.context import config_option, json_option, language, print_rows
from gateway.cli.state import open_state
from gateway.core.clock import SystemClock
from gateway.core.errors import GatewayError
from gateway.core.record import CopyState, Event, What
from gateway.locale import N_, translator
from gateway.locale.words import STATES, spoken
from gateway.settings import Settings
from gateway.store.journal import Journal
from gateway.store.queries import Listings
from gateway.store.queue import QueueHold
from gateway.store.views import CopyRow

_PAGE: Final = 1000


@click.group()
def queue() -> None:
    """Mail that waits for its next hop: list, retry, hold, resume, delete."""


@queue.command("list")
@click.option("--domain", default="", help="Only this recipient domain.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@config_option
def list_waiting(settings: Settings, domain: str, limit: int, as_json: bool) -> None:
    """Waiting copies, oldest first."""
    _ = translator(language(settings))
    with open_state(settings) as state:
        page = state.index.listings.queue(domain=domain, limit=limit)
    print_rows(
        (row.queue_json() for row in page.rows),
        as_json=as_json,
        columns=[
            ("id", "ID"),
            ("recipient", _("Recipient")),
            ("next_hop", _("Next hop")),
            ("state", _("State")),
            ("attempts", _("Attempts")),
            ("next_attempt_at", _("Next attempt")),
            ("last_reply", _("Last reply")),
        ],
        empty=_("Nothing waits."),
        words={"state": spoken(STATES, language(settings))},
    )
    if _hold(settings).held and not as_json:
        click.echo(_("The queue is on hold; let it go with: schwamm queue resume"), err=True)


@queue.command()
@click.argument("mail_ids", nargs=-1)
@click.option("--domain", default="", help="Everything that waits for this recipient domain.")
@config_option
def retry(settings: Settings, mail_ids: tuple[str, ...], domain: str) -> None:
    """Try now: the mails named, or everything that waits."""
    if mail_ids and domain:
        raise click.UsageError("name mails or a domain, not both")
    _ = translator(language(settings))
    count = _change(settings, mail_ids, None, domain)
    click.echo(_("{n} copies are due now.").format(n=count))


@queue.command()
@config_option
def hold(settings: Settings) -> None:
    """Deliver nothing from the queue until ``queue resume``; receiving goes on."""
    _ = translator(language(settings))
    _hold(settings).hold("schwamm queue hold")
    click.echo(_("The queue is on hold."))


@queue.command()
@config_option
def resume(settings: Settings) -> None:
    """Let the queue run again."""
    _ = translator(language(settings))
    _hold(settings).let_go()
    click.echo(_("The queue runs."))


@queue.command()
@click.argument("mail_ids", nargs=-1, required=True)
@config_option
def delete(settings: Settings, mail_ids: tuple[str, ...]) -> None:
    """Give up waiting mail; nobody is told."""
    _ = translator(language(settings))
    count = _change(settings, mail_ids, CopyState.DELETED)
    click.echo(_("{n} copies deleted.").format(n=count))


def _hold(settings: Settings) -> QueueHold:
    return QueueHold(settings.paths.state / "queue.hold")


def waiting_copies(listings: Listings, domain: str = "") -> Iterator[CopyRow]:
    """Every copy that waits, page by page."""
    after: str | None = ""
    while after is not None:
        page = listings.queue(domain=domain, after=after, limit=_PAGE)
        yield from page.rows
        after = page.next


def _change(
    settings: Settings, mail_ids: tuple[str, ...], state: CopyState | None, domain: str = ""
) -> int:
    """Write one event for each waiting copy: a new state, or its old one and due now."""
    clock = SystemClock()
    with open_state(settings) as opened:
        if mail_ids:
            rows = [
                row
                for mail_id in mail_ids
                for row in opened.index.listings.copies(mail_id)
                if row.state in {CopyState.QUEUED, CopyState.RELEASED}
            ]
        else:
            rows = list(waiting_copies(opened.index.listings, domain))
        if mail_ids and not rows:
            raise GatewayError(
                N_("nothing waits under {ids}; see: schwamm queue list"), ids=", ".join(mail_ids)
            )
        now = clock.now_ms()
        events = [
            Event(
                at_ms=now,
                what=What.COPY,
                mail_id=row.mail_id,
                recipient=row.recipient,
                detail={
                    "state": state.value if state else row.state,
                    "by": "cli",
                    **({} if state else {"next_attempt_at_ms": now}),
                },
            )
            for row in rows
        ]
        journal = Journal(opened.journal_directory, "cli", clock)
        try:
            if events:
                journal.append_durable_now(events)
        finally:
            journal.close()
        if not opened.keeper_runs:
            opened.index.ingest(opened.journal_directory)
    return len(events)
