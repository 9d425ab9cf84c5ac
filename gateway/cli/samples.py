"""``schwamm samples send``: some real mail through the running gateway, and what became of it."""

import smtplib
import sys
import time
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from pathlib import Path

import click

from gateway.cli.context import config_option, json_option, language, print_rows
from gateway.cli.state import open_state
from gateway.core.errors import ConfigError, GatewayError
from gateway.locale import N_, Translator, translator
from gateway.locale.words import STATES, word
from gateway.settings import Settings
from gateway.store.generations import load_current
from gateway.store.index import Index
from gateway.store.views import MessageView

_DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "mail"
_GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
_PATIENCE_S = 20.0
_PER_FOLDER = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One message to send; ``client`` is the address it is sent from."""

    content: bytes
    recipients: tuple[str, ...]
    client: str


@click.group()
def samples() -> None:
    """Real messages to try Schwamm out with."""


@samples.command()
@json_option
@config_option
def send(settings: Settings, as_json: bool) -> None:
    """Send about 40 real messages to the running gateway and show what became of each copy."""
    _ = translator(language(settings))
    chosen = _samples(settings)
    with click.progressbar(chosen, label=_("Sending"), file=sys.stderr, hidden=as_json) as bar:
        ids = [_submit(settings, sample) for sample in bar]
    with open_state(settings) as state:
        views = [_await_view(state.index, mail_id, _) for mail_id in ids]
    rows = [_row(view, language(settings)) for view in views]
    print_rows(
        (_json_row(view) for view in views) if as_json else rows,
        as_json=as_json,
        columns=[
            ("sender", _("Sender")),
            ("subject", _("Subject")),
            ("score", _("Score")),
            ("symbols", _("Strongest signs")),
            ("copies", _("What became of it")),
        ],
        empty="",
    )
    if not as_json:
        states = [copy.state for view in views for copy in view.copies]
        click.echo(
            _("{mails} mails, {copies} copies: {delivered} delivered, {held} held.").format(
                mails=len(views),
                copies=len(states),
                delivered=states.count("delivered"),
                held=states.count("held"),
            )
        )
        click.echo(_("Look at held mail:  schwamm quarantine list"))


def _samples(settings: Settings) -> list[Sample]:
    """Ham and German mail from here; spam by turns from a listed client, as in life."""
    if not (_DATA / "index").is_file():
        raise GatewayError(
            N_("no sample mail here; samples come with the source tree (tests/data)")
        )
    domain = _domain(settings)
    listed = settings.trial.listed[0] if settings.trial.dns_port and settings.trial.listed else ""
    here = "127.0.0.1"
    to = tuple(f"{name}@{domain}" for name in ("anna", "bert", "clara"))
    found = []
    for folder in ("ham", "german", "spam"):
        for number, path in enumerate(sorted((_DATA / folder).iterdir())[:_PER_FOLDER]):
            client = listed if listed and folder == "spam" and number % 3 else here
            found.append(
                Sample(content=_as_sent(path), recipients=(to[number % 3],), client=client)
            )
    ham = _as_sent(max((_DATA / "ham").iterdir()))
    found.append(Sample(content=ham, recipients=to, client=here))
    found.append(Sample(content=_gtube(to[0]), recipients=(to[0],), client=here))
    if listed:
        found.append(Sample(content=ham, recipients=(to[1],), client=listed))
    return found


def _domain(settings: Settings) -> str:
    served = load_current(settings.paths.state / "generations").domains
    if not served:
        raise ConfigError(N_("no domain is served yet; add one: schwamm domain add ..."))
    return served[0].name


def _as_sent(path: Path) -> bytes:
    raw = path.read_bytes()
    if raw.startswith(b"From "):
        raw = raw.partition(b"\n")[2]
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _gtube(recipient: str) -> bytes:
    lines = [
        "Date: Mon, 23 Nov 2026 09:00:00 +0100",
        "From: Test <test@sender.example>",
        f"To: {recipient}",
        "Subject: GTUBE",
        "Message-ID: <gtube@sender.example>",
        "",
        _GTUBE,
        "",
    ]
    return "\r\n".join(lines).encode()


def _submit(settings: Settings, sample: Sample) -> str:
    """Send one; the id the gateway gave it."""
    sender = parseaddr(str(BytesHeaderParser().parsebytes(sample.content).get("From", "")))[1]
    try:
        with smtplib.SMTP(
            settings.smtp.host,
            settings.smtp.port,
            local_hostname="client.sender.example",
            timeout=60,
            source_address=(sample.client, 0),
        ) as client:
            client.ehlo()
            client.mail(sender if sender.isascii() and "@" in sender else "")
            for recipient in sample.recipients:
                client.rcpt(recipient)
            code, text = client.data(sample.content)
    except (OSError, smtplib.SMTPException) as error:
        raise GatewayError(
            N_(
                "cannot send to {address}: {error}; start the gateway in another terminal: make run"
            ),
            address=f"{settings.smtp.host}:{settings.smtp.port}",
            error=error,
        ) from error
    reply = text.decode("utf-8", "replace")
    mail_id = reply.rpartition("(id ")[2].rstrip(")")
    if code != 250 or mail_id == reply:
        raise GatewayError(f"the gateway answered {code} {reply}")
    return mail_id


def _await_view(index: Index, mail_id: str, _: Translator) -> MessageView:
    end = time.monotonic() + _PATIENCE_S
    while True:
        view = index.listings.show(mail_id)
        if view is not None:
            return view
        if time.monotonic() > end:
            raise GatewayError(
                N_("{id} was taken but is not in the index; try: schwamm doctor"), id=mail_id
            )
        time.sleep(0.1)


def _row(view: MessageView, chosen: str) -> dict[str, object]:
    verdict = view.facts.verdict
    symbols = sorted(verdict.symbols if verdict else (), key=lambda one: -abs(one.points))
    return {
        "sender": parseaddr(view.facts.from_header)[1] or view.facts.from_header,
        "subject": view.facts.subject[:40],
        "score": f"{verdict.score:.1f}" if verdict else "",
        "symbols": ", ".join(f"{one.name} {one.points:+.1f}" for one in symbols[:3]),
        "copies": ", ".join(
            f"{copy.recipient.partition('@')[0]}: {word(STATES, copy.state, chosen)}"
            for copy in view.copies
        ),
    }


def _json_row(view: MessageView) -> dict[str, object]:
    verdict = view.facts.verdict
    return {
        "id": view.facts.id,
        "from": view.facts.from_header,
        "subject": view.facts.subject,
        "score": verdict.score if verdict else None,
        "verdict": verdict.kind.value if verdict else None,
        "symbols": [one.name for one in verdict.symbols] if verdict else [],
        "copies": {copy.recipient: copy.state for copy in view.copies},
    }
