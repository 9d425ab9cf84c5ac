"""Debian's Postfix and Dovecot behind a running gateway, swaks in front of it; all on loopback.

``trial.example`` lies on Postfix, ``plain.example`` on a way into it that offers nothing, and
``lmtp.example`` on Dovecot. Connections from 127.0.0.2 are those of a load balancer (PROXY).
"""

import email
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.dovecot import SMALL_QUOTA, Dovecot, running_dovecot
from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.postfix import Postfix, Request, policy_server, running_postfix

pytestmark = [
    pytest.mark.needs("postfix"),
    pytest.mark.needs("dovecot-lmtpd"),
    pytest.mark.needs("swaks"),
]
GREYLISTED = "grey@client.example"
PASSWORD = "a long password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    gateway: Gateway
    postfix: Postfix
    dovecot: Dovecot

    def swaks(self, to: str, *options: str, mail_from: str = "bert@client.example") -> str:
        """The whole dialogue of one swaks; its exit code as the last line."""
        command = ["swaks", "--server", "127.0.0.1", "--port", str(self.gateway.smtp_port)]
        command += ["--helo", "client.example", "--from", mail_from, "--to", to, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return f"{done.stdout}{done.stderr}exit {done.returncode}"

    def held(self, recipient: str) -> list[dict[str, object]]:
        rows = self.gateway.rows("quarantine", "list", "--limit", "1000")
        return [row for row in rows if row["recipient"] == recipient]


def greylist(request: Request, seen: set[tuple[str, str]]) -> str:
    pair = (request["sender"], request["recipient"])
    if request["sender"] != GREYLISTED or pair in seen:
        return "DUNNO"
    seen.add(pair)
    return "450 4.7.1 Greylisted, try again"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    seen: set[tuple[str, str]] = set()
    with policy_server(lambda request: greylist(request, seen)) as policy:
        checks = f"reject_unauth_destination, check_policy_service inet:127.0.0.1:{policy}"
        more = {"smtpd_recipient_restrictions": checks}
        domains = ("trial.example", "plain.example")
        with (
            running_postfix(domains=domains, more=more) as postfix,
            running_dovecot("lmtp.example") as dovecot,
        ):
            folder = tmp_path_factory.mktemp("real-servers")
            gateway = Gateway(folder, f"127.0.0.1:{postfix.port}").init()
            for domain, hop in (
                ("plain.example", f"127.0.0.1:{postfix.plain_port}"),
                ("lmtp.example", f"lmtp:127.0.0.1:{dovecot.port}"),
            ):
                gateway.run("domain", "add", domain, "--next-hop", hop)
            gateway.run("user", "add", "bert@trial.example", "--password", PASSWORD)
            gateway.environment |= {
                "SCHWAMM_SMTP__AUTH": "true",
                "SCHWAMM_DELIVERY__FIRST_RETRY_S": "1",
                "SCHWAMM_DELIVERY__LONGEST_RETRY_S": "2",
                "SCHWAMM_SMTP__PROXY_NETWORKS": '["127.0.0.2/32"]',
            }
            try:
                yield Stage(gateway=gateway.start(), postfix=postfix, dovecot=dovecot)
            finally:
                gateway.kill_everything()


def data(subject: str, body: str = "Hello Anna.") -> tuple[str, str]:
    lines = (
        "From: Bert <bert@client.example>",
        "To: anna@trial.example",
        f"Subject: {subject}",
        "Date: %DATE%",
        f"Message-ID: <{subject}@client.example>",
        "",
        body,
    )
    return ("--data", "\n".join(lines) + "\n")


def with_subject(mails: list[bytes], subject: str) -> list[bytes]:
    return [mail for mail in mails if f"\nSubject: {subject}\n".encode() in mail]


def test_by_tls_with_pipelining_and_eight_bit(stage: Stage) -> None:
    body = "Grüße, Anna\n.\n..\n. dots\nFrom here"
    said = stage.swaks("anna@trial.example", "--tls", "--pipeline", *data("by-tls", body))
    assert said.endswith("exit 0")
    assert "TLS started" in said
    (mail,) = waited(stage, "by-tls")
    assert mail.endswith(f"\n\n{body}\n\n".encode())  # swaks adds an empty line
    trace = mail.partition(b"Received: from client.example ")[2]
    assert b"with ESMTPS (TLSv1.3 " in trace


def waited(stage: Stage, subject: str, user: str = "anna") -> list[bytes]:
    """What arrived under that subject, once anything did: Postfix answers before it delivers."""
    wait_until(lambda: with_subject(stage.postfix.mails(user), subject), f"the mail {subject}")
    return with_subject(stage.postfix.mails(user), subject)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_person_logs_in(stage: Stage, mechanism: str) -> None:
    subject = f"by-{mechanism.lower()}"
    login = ("--auth", mechanism, "--auth-user", "bert@trial.example", "--auth-password")

    def said(*options: str, mail_from: str = "bert@trial.example") -> str:
        return stage.swaks("anna@trial.example", *options, *data(subject), mail_from=mail_from)

    assert said("--tls", *login, PASSWORD).endswith("exit 0")
    (mail,) = waited(stage, subject)
    assert b"with ESMTPSA (TLSv1.3 " in mail
    assert "535 5.7.8 Authentication failed" in said("--tls", *login, "a wrong one")
    assert "553 5.7.1 " in said("--tls", *login, PASSWORD, mail_from="cora@trial.example")
    assert "AUTH" not in said(*login, PASSWORD).partition("*** ")[0]  # not offered in plain text
    assert len(waited(stage, subject)) == 1


def test_an_unknown_recipient_is_refused_in_the_dialogue(stage: Stage) -> None:
    said = stage.swaks("stranger@trial.example", *data("unknown"))
    assert "550 5.1.1 " in said
    assert "Postfix" not in said
    assert "virtual mailbox table" not in said  # the words of the next hop are for the admin
    assert stage.held("stranger@trial.example") == []


def test_an_unknown_one_beside_a_known_one_is_held(stage: Stage) -> None:
    both = "anna@trial.example,nobody@trial.example"
    assert stage.swaks(both, *data("mixed")).endswith("exit 0")
    assert len(waited(stage, "mixed")) == 1
    wait_until(lambda: stage.held("nobody@trial.example"), "the refused copy in the quarantine")


def test_greylisting_is_waited_out(stage: Stage) -> None:
    said = stage.swaks("anna@trial.example", *data("greylisted"), mail_from=GREYLISTED)
    assert said.endswith("exit 0")
    assert len(waited(stage, "greylisted")) == 1
    wait_until(lambda: stage.gateway.rows("queue", "list") == [], "an empty queue")
    assert len(waited(stage, "greylisted")) == 1
    assert "450 4.7.1" in stage.postfix.log.read_text()


def test_too_large_for_the_next_hop(stage: Stage, tmp_path: Path) -> None:
    large = tmp_path / "large.eml"
    large.write_text(
        data("large")[1].replace("%DATE%", "") + "x" * 70 + "\n" + ("y" * 70 + "\n") * 16000
    )
    said = stage.swaks("anna@trial.example", "--data", f"@{large}")
    assert "552 5.3.4 " in said
    assert with_subject(stage.postfix.mails("anna"), "large") == []


def test_a_next_hop_without_extensions(stage: Stage) -> None:
    said = stage.swaks("anna@plain.example", *data("eight-bit", "Grüße"))
    assert "554 5.6.3 " in said
    assert stage.swaks("anna@plain.example", *data("seven-bit")).endswith("exit 0")
    assert len(waited(stage, "seven-bit")) == 1
    assert with_subject(stage.postfix.mails("anna"), "eight-bit") == []


def test_a_request_for_a_report_is_kept_by_the_next_hop(stage: Stage) -> None:
    script = "\r\n".join(
        (
            "EHLO client.example",
            "MAIL FROM:<cora@trial.example> RET=HDRS ENVID=QQ42",
            "RCPT TO:<anna@trial.example> NOTIFY=SUCCESS ORCPT=rfc822;old@client.example",
            "DATA",
        )
    )
    converse(stage.gateway.smtp_port, script, data("with-dsn")[1].replace("%DATE%", "today"))
    wait_until(lambda: stage.postfix.mails("cora"), "Postfix's own report")
    (report,) = stage.postfix.mails("cora")
    assert b"Original-Envelope-Id: QQ42" in report
    assert b"Original-Recipient: rfc822;old@client.example" in report
    assert b"Action: delivered" in report


def converse(port: int, script: str, content: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        for line in script.split("\r\n"):
            code, text = client.docmd(line)
            assert code in {250, 354}, (line, code, text)
        client.send(content.replace("\n", "\r\n").encode() + b".\r\n")
        assert client.getreply()[0] == 250


def test_who_logged_in_is_told_of_success_by_whoever_can(stage: Stage) -> None:
    """Postfix reports itself where it was asked; for a bare next hop and for Dovecot we do."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", stage.gateway.smtp_port, timeout=60) as client:
        client.starttls(context=context)
        client.login("bert@trial.example", PASSWORD)
        client.ehlo()
        assert client.has_extn("dsn")
        assert client.mail("bert@trial.example", ["RET=HDRS", "ENVID=QQ43"])[0] == 250
        for domain in ("trial.example", "plain.example", "lmtp.example"):
            assert client.rcpt(f"anna@{domain}", ["NOTIFY=SUCCESS"])[0] == 250
        content = data("three-ways")[1].replace("%DATE%", "today").replace("\n", "\r\n")
        assert client.data(content)[0] == 250

    def groups() -> set[tuple[str, str]]:
        found = set()
        for mail in stage.postfix.mails("bert"):
            if b"Original-Envelope-Id: QQ43" not in mail:
                continue
            status = email.message_from_bytes(mail).get_payload(1)
            for group in status.get_payload()[1:]:
                found.add((group["Final-Recipient"].split(";")[1].strip(), group["Action"]))
        return found

    wait_until(lambda: len(groups()) == 3, "reports on all three")
    assert groups() == {
        ("anna@trial.example", "delivered"),
        ("anna@plain.example", "relayed"),
        ("anna@lmtp.example", "delivered"),
    }


def test_stopped_and_started_again(stage: Stage) -> None:
    stage.postfix.stop()
    try:
        for number in range(5):
            said = stage.swaks("anna@trial.example", *data(f"night-{number}"))
            assert said.endswith("exit 0")
        wait_until(lambda: len(stage.gateway.rows("queue", "list")) == 5, "five waiting copies")
    finally:
        stage.postfix.start()
    wait_until(lambda: stage.gateway.rows("queue", "list") == [], "an empty queue")
    for number in range(5):
        assert len(waited(stage, f"night-{number}")) == 1


def test_proxy_names_the_client(stage: Stage) -> None:
    proxy = ("--local-interface", "127.0.0.2", "--proxy-family", "TCP4", "--proxy-version", "1")
    proxy += ("--proxy-source", "203.0.113.9", "--proxy-source-port", "4711")
    proxy += ("--proxy-dest", "203.0.113.1", "--proxy-dest-port", "25")
    assert stage.swaks("anna@trial.example", *proxy, *data("proxied")).endswith("exit 0")
    (mail,) = waited(stage, "proxied")
    assert b"from client.example ([203.0.113.9])" in mail
    spoofed = ("--local-interface", "127.0.0.3", *proxy[2:])
    said = stage.swaks("anna@trial.example", *spoofed, *data("spoofed"))
    assert "500 5.5.1 " in said  # no command of SMTP, and swaks is out of step from there on
    assert not said.endswith("exit 0")
    assert with_subject(stage.postfix.mails("anna"), "spoofed") == []


def test_dovecot_answers_for_each_recipient(stage: Stage) -> None:
    both = f"anna@lmtp.example,{SMALL_QUOTA}@lmtp.example"
    assert stage.swaks(both, *data("to-dovecot", "x" * 400)).endswith("exit 0")
    (mail,) = with_subject(stage.dovecot.mails("anna"), "to-dovecot")
    assert mail.endswith(b"\n\n" + b"x" * 400 + b"\n\n")
    assert stage.dovecot.mails(SMALL_QUOTA) == []
    wait_until(lambda: stage.held(f"{SMALL_QUOTA}@lmtp.example"), "the copy over quota held")
    alone = stage.swaks(f"{SMALL_QUOTA}@lmtp.example", *data("alone", "x" * 400))
    assert "552 5.2.2 " in alone
    assert "550 5.1.1 " in stage.swaks("nobody@lmtp.example", *data("nobody"))
