"""The report on what was not delivered: as RFC 3464 wants it, no stranger's word gets out."""

import email
import email.policy
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.handoff import CopyReply, Phase
from gateway.core.ids import IdSource
from gateway.core.mail import DsnRequest
from gateway.core.record import CopyState, MessageFacts
from gateway.core.routing import Domain, Generation, NextHop, NextHopKind
from gateway.delivery.notices import Notices
from gateway.delivery.report import report as written
from gateway.delivery.reported_copy import ReportAction, ReportedCopy
from gateway.store.records import FileRecords
from tests.functional.test_relay import CLOCK, copy_for, facts_for

HOP = NextHop(kind=NextHopKind.SMTP, host="mail.one.example", port=25)
HEADER = b"From: from@example.org\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n"
HEADER += b"X-Long: " + b"x" * 2000 + b"\r\n"
NOW_MS = 1_795_000_000_000


def facts(**changes: object) -> MessageFacts:
    plain = facts_for(copy_for("Anna@one.example"), copy_for("bert@one.example"))
    session = replace(plain.session, authenticated_as="from@example.org")
    changed = replace(plain, session=session, message_id="<1@client.example>")
    return replace(changed, **changes)  # type: ignore[arg-type]


def answered(code: int, enhanced: str, text: str, **more: object) -> CopyReply:
    return CopyReply(
        recipient="anna@one.example",
        phase=Phase.ANSWERED,
        code=code,
        enhanced=enhanced,
        text=text,
        next_hop=HOP,
        **more,  # type: ignore[arg-type]
    )


def report(about: MessageFacts, *copies: ReportedCopy) -> email.message.EmailMessage:
    octets = written(
        about, copies, HEADER, report_id="0r3p0rt", hostname="gw.example", now_ms=NOW_MS
    )
    assert octets.isascii()
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    return email.message_from_bytes(octets, policy=email.policy.default)  # type: ignore[return-value]


def failed(recipient: str, reply: CopyReply, *, expired: bool = False) -> ReportedCopy:
    return ReportedCopy(
        recipient=recipient, reply=reply, action=ReportAction.FAILED, expired=expired
    )


def refused(text: str = "no such user") -> ReportedCopy:
    return failed("anna@one.example", answered(550, "5.1.1", text))


def fields(message: email.message.EmailMessage) -> list[list[tuple[str, str]]]:
    """The groups of the part for programs, as they stand there."""
    part = message.get_payload(1)
    assert part.get_content_type() == "message/delivery-status"
    return [list(group.items()) for group in part.get_payload()]


def test_the_whole_report() -> None:
    message = report(facts(), refused())
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@gw.example>"
    assert message["To"] == "from@example.org"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == "<0r3p0rt@gw.example>"
    assert message["In-Reply-To"] == message["References"] == "<1@client.example>"
    text = message.get_payload(0).get_content()
    assert "Ihre Nachricht konnte nicht zugestellt werden an:" in text
    assert "Anna@one.example: der Mailserver hat sie abgewiesen (550 5.1.1 no such user)" in text
    assert "Anna@one.example: the mail server refused it (550 5.1.1 no such user)" in text
    whole, one = fields(message)
    assert [name for name, _ in whole] == ["Reporting-MTA", "Arrival-Date"]
    assert [item for item in one if "Date" not in item[0]] == [
        ("Final-Recipient", "rfc822; Anna@one.example"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; mail.one.example"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 no such user"),
    ]
    original = message.get_payload(2)
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: Gr????e" in original.get_content()


def test_what_the_sender_asked_with_comes_back_decoded_and_harmless() -> None:
    plain = facts()
    dsn = (DsnRequest(recipient="anna@one.example", orcpt="rfc822;x+40y+0D+0AAction:+20ok"),)
    asked = replace(plain.envelope, envid="QQ+2B1+0AX:y", dsn=dsn)
    whole, one = fields(report(replace(plain, envelope=asked), refused("a\u202eb\u00fc")))
    assert dict(whole)["Original-Envelope-Id"] == "QQ+1?X:y"
    assert one[0] == ("Original-Recipient", "rfc822; x@y??Action: ok")
    assert dict(one)["Diagnostic-Code"] == "smtp; 550 5.1.1 a?b?"
    assert [value for name, value in one if name == "Action"] == ["failed"]


@pytest.mark.parametrize(
    ("reply", "expired", "status", "diagnostic"),
    [
        (answered(550, "", "no"), False, "5.0.0", "smtp; 550 no"),
        (answered(554, "4.7.1", "odd"), False, "5.0.0", "smtp; 554 4.7.1 odd"),
        (answered(450, "4.2.0", "later"), True, "4.4.7", "smtp; 450 4.2.0 later"),
        (
            CopyReply(recipient="x", phase=Phase.BEFORE_DOT, text="timeout", next_hop=HOP),
            True,
            "4.4.7",
            "x-schwamm; before_dot timeout",
        ),
        (answered(552, "5.3.4", "big", local=True), False, "5.3.4", "x-schwamm; 552 5.3.4 big"),
    ],
)
def test_status_and_diagnosis(
    reply: CopyReply, expired: bool, status: str, diagnostic: str
) -> None:
    one = failed("anna@one.example", reply, expired=expired)
    _, group = fields(report(facts(), one))
    assert dict(group)["Status"] == status
    assert dict(group)["Diagnostic-Code"] == diagnostic
    assert ("Remote-MTA" in dict(group)) == (not reply.local)


def test_several_copies_and_addresses_beyond_ascii() -> None:
    about = facts_for(copy_for("jürgen@one.example"), copy_for("bert@one.example"))
    both = [failed(one.recipient, answered(550, "5.1.1", "no")) for one in about.copies]
    _, first, second = fields(report(about, *both))
    assert first[0] == ("Final-Recipient", "utf-8; j\\x{FC}rgen@one.example")
    assert second[0] == ("Final-Recipient", "rfc822; bert@one.example")


def served() -> Generation:
    domain = Domain(name="example.org", next_hops=(HOP,), customer="acme")
    return Generation(number=7, created_at_ms=1, domains=(domain,))


def notices(records: FileRecords) -> Notices:
    return Notices(
        records=records,
        generation=served,
        ids=IdSource("n1"),
        node="n1",
        hostname="gw.example",
        clock=CLOCK,
    )


@pytest.fixture
def records(tmp_path: Path):
    one = FileRecords(tmp_path / "records", tmp_path / "tmp")
    yield one
    one.close()


async def test_the_report_is_a_record_for_the_queue(records: FileRecords) -> None:
    told = await notices(records).tell(facts(), HEADER + b"\r\nsecret body\r\n", [refused()])
    assert told is not None
    assert told.recipients == {"anna@one.example"}
    kept = records.read(told.facts.id)
    assert kept == told.facts
    assert kept.envelope.mail_from == ""
    (copy,) = kept.copies
    assert (copy.recipient, copy.state, copy.domain, copy.customer, copy.next_hop) == (
        "from@example.org",
        CopyState.QUEUED,
        "example.org",
        "acme",
        HOP,
    )
    content = bytes(records.content(told.facts.id))
    assert b"secret body" not in content
    assert content.endswith(b"--\r\n")


@pytest.mark.parametrize(
    ("change", "notify"),
    [
        ("stranger", ""),
        ("null sender", ""),
        ("foreign sender", ""),
        ("broken sender", ""),
        ("", "NEVER"),
        ("", "SUCCESS,DELAY"),
    ],
)
async def test_who_is_not_told(change: str, notify: str, records: FileRecords) -> None:
    about = facts()
    envelope = about.envelope
    match change:
        case "stranger":
            about = replace(about, session=replace(about.session, authenticated_as=""))
        case "null sender":
            envelope = replace(envelope, mail_from="")
        case "foreign sender":
            envelope = replace(envelope, mail_from="from@elsewhere.example")
        case "broken sender":
            envelope = replace(envelope, mail_from="from..x@example.org")
        case _:
            dsn = (DsnRequest(recipient="anna@one.example", notify=notify),)
            envelope = replace(envelope, dsn=dsn)
    about = replace(about, envelope=envelope)
    assert await notices(records).tell(about, HEADER, [refused()]) is None
    assert list(records.ids()) == []


async def test_only_those_who_want_it_are_in_it(records: FileRecords) -> None:
    about = facts()
    dsn = (
        DsnRequest(recipient="anna@one.example", notify="NEVER"),
        DsnRequest(recipient="bert@one.example", notify="FAILURE,DELAY"),
    )
    about = replace(about, envelope=replace(about.envelope, dsn=dsn))
    both = [refused(), replace(refused(), recipient="bert@one.example")]
    told = await notices(records).tell(about, HEADER, both)
    assert told is not None
    assert told.recipients == {"bert@one.example"}
    assert b"nna@one" not in bytes(records.content(told.facts.id)).partition(b"rfc822-headers")[0]
