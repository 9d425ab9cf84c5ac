"""``schwamm track`` and ``schwamm reindex``."""

import click

from gateway.cli.context import config_option, json_option, language, printable, progress_bar
from gateway.cli.state import open_state
from gateway.core.clock import iso_utc
from gateway.core.errors import GatewayError
from gateway.locale import translator
from gateway.locale.words import ACTIONS, EVENTS, REPORTS, STATES, VERDICTS, word
from gateway.settings import Settings
from gateway.store.lock import WriterLock
from gateway.store.rebuild import rebuild
from gateway.store.records import FileRecords


@click.command()
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@config_option
def track(settings: Settings, query: str, limit: int, as_json: bool) -> None:
    """Where is my mail? QUERY is an id, an address, a Message-ID or words of the subject."""
    import json  # noqa: PLC0415

    chosen = language(settings)
    _ = translator(chosen)
    with open_state(settings) as state:
        found = state.index.listings.track(query, limit=limit)
    if as_json:
        for one in found:
            click.echo(json.dumps(one.json()))
        return
    if not found:
        click.echo(_("No mail found for {query}.").format(query=printable(query)))
    for one in found:
        row = one.copy
        click.echo(
            f"{row.mail_id}  {printable(row.mail_from) or '<>'} -> {printable(row.recipient)}  "
            f"{printable(row.subject)}"
        )
        score = "" if row.score is None else f" ({row.score:.1f})"
        verdict = word(VERDICTS, row.verdict, chosen) or "-"
        action, now = word(ACTIONS, row.action, chosen), word(STATES, row.state, chosen)
        click.echo(f"    {verdict}{score}, {action}: {now}  {row.next_hop}")
        for event in one.events:
            detail = event.json()
            what = printable(word(EVENTS, str(detail["what"]), chosen))
            click.echo(f"    {iso_utc(event.at_ms)}  {what}  {_brief(detail, chosen)}")


def _brief(event: dict[str, object], chosen: str) -> str:
    _ = translator(chosen)
    detail = event.get("detail")
    if not isinstance(detail, dict):
        return printable(detail)
    shown = [word(STATES, str(detail["state"]), chosen)] if detail.get("state") else []
    shown += [word(REPORTS, str(detail["kind"]), chosen)] if detail.get("kind") else []
    shown += [str(detail[key]) for key in ("label", "reply", "report") if detail.get(key)]
    if by := detail.get("by") or detail.get("person"):
        shown.append(_("(by {person})").format(person=by))
    return printable(" ".join(shown))


@click.command()
@config_option
def reindex(settings: Settings) -> None:
    """Build the index anew from records and journals; mail goes on meanwhile."""
    _ = translator(language(settings))
    state = settings.paths.state
    lock = WriterLock.try_acquire(state / "index.lock")
    if lock is None:
        _ask_the_keeper(settings)
        click.echo(_("The running gateway builds its index anew; see its log."))
        return
    with lock, progress_bar() as progress:
        tasks: dict[str, int] = {}

        def show(phase: str, done: int, total: int) -> None:
            task = tasks.get(phase)
            if task is None:
                task = tasks[phase] = progress.add_task(phase, total=total)
            progress.update(task, completed=done, total=total)  # type: ignore[arg-type]

        report = rebuild(
            settings.index_url,
            node=settings.node.name,
            records=FileRecords(state / "records", state / "tmp"),
            journal=state / "journal",
            progress=show,
        )
    click.echo(
        _("Index built: {lines} journal lines, {adopted} records without one.").format(
            lines=report.lines, adopted=report.adopted
        )
    )
    for problem in report.problems:
        click.echo(f"schwamm: {problem}", err=True)


def _ask_the_keeper(settings: Settings) -> None:
    request = settings.paths.state / "run" / "reindex"
    try:
        request.touch()
    except OSError as error:
        raise GatewayError(f"{request}: cannot be written: {error}") from error
