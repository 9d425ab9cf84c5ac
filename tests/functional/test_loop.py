"""The main path over real sockets: mail in, clean mail out, spam held, looked at, released."""

import asyncio
import smtplib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.gateway import Gateway, running, wait_until

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
HAM = (
    b"Date: Mon, 23 Nov 2026 09:00:00 +0100\r\nFrom: Anna <anna@customer.example>\r\n"
    b"To: Bert <bert@trial.example>\r\nSubject: Angebot\r\nMessage-ID: <1@customer.example>\r\n"
    b"\r\nGuten Tag, anbei das Angebot.\r\n.Zeile mit Punkt\r\n"
)
SPAM = HAM.replace(b"Subject: Angebot", b"Subject: You won").replace(b"anbei", GTUBE)


def send(gateway: Gateway, content: bytes, *recipients: str, source: str = "") -> tuple[int, bytes]:
    with smtplib.SMTP(
        "127.0.0.1", gateway.smtp_port, timeout=30, source_address=(source, 0) if source else None
    ) as client:
        client.ehlo("client.example")
        client.mail("anna@customer.example")
        for recipient in recipients:
            code, text = client.rcpt(recipient)
            if code != 250:
                return code, text
        return client.data(content)


def maildir(path: Path) -> list[Path]:
    return sorted((path / "new").iterdir()) if (path / "new").exists() else []


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, f"maildir:{tmp_path}/mail") as one:
        yield one


def test_clean_mail_arrives_byte_for_byte(gateway: Gateway, tmp_path: Path) -> None:
    code, text = send(gateway, HAM, "bert@trial.example")
    assert code == 250
    assert b"(id " in text
    (file,) = maildir(tmp_path / "mail")
    arrived = file.read_bytes()
    assert arrived.endswith(HAM.replace(b"\r\n", b"\n"))
    assert b"X-Schwamm-" in arrived
    assert b"Received: from client.example" in arrived


def test_spam_is_held_explained_released_and_arrives(gateway: Gateway, tmp_path: Path) -> None:
    code, text = send(gateway, SPAM, "bert@trial.example")
    assert code == 250
    mail_id = text.decode().partition("(id ")[2].rstrip(")")
    assert maildir(tmp_path / "mail") == []

    wait_until(lambda: gateway.rows("quarantine", "list"), "the held mail in the list")
    (row,) = gateway.rows("quarantine", "list")
    assert row["id"] == mail_id
    assert row["recipient"] == "bert@trial.example"
    assert row["subject"] == "You won"
    assert row["verdict"] == "spam"
    assert row["state"] == "held"
    assert set(row) == {
        *("id", "received_at", "customer", "domain", "recipient", "mail_from", "from", "subject"),
        *("score", "verdict", "state", "expires_at", "size_bytes"),
    }
    shown = gateway.run("quarantine", "show", mail_id).stdout
    assert "GTUBE" in shown

    released = gateway.run("quarantine", "release", mail_id).stdout
    assert "bert@trial.example" in released
    wait_until(lambda: maildir(tmp_path / "mail"), "the released mail")
    (file,) = maildir(tmp_path / "mail")
    assert file.read_bytes().endswith(SPAM.replace(b"\r\n", b"\n"))
    wait_until(lambda: not gateway.rows("quarantine", "list"), "an empty quarantine")
    (track,) = gateway.rows("track", mail_id)
    assert {"id", "recipient", "mail_from", "subject", "verdict", "action", "events"} <= set(track)
    assert [event["what"] for event in track["events"]]


def test_a_released_mail_that_comes_back_is_not_caught_again(
    gateway: Gateway, tmp_path: Path
) -> None:
    send(gateway, SPAM, "bert@trial.example")
    wait_until(lambda: gateway.rows("quarantine", "list"), "the held mail")
    gateway.run("quarantine", "release", str(gateway.rows("quarantine", "list")[0]["id"]))
    wait_until(lambda: maildir(tmp_path / "mail"), "the released mail")
    (file,) = maildir(tmp_path / "mail")
    again = file.read_bytes().replace(b"\n", b"\r\n")
    assert send(gateway, again, "bert@trial.example")[0] == 250
    wait_until(lambda: len(maildir(tmp_path / "mail")) == 2, "its second arrival")
    assert send(gateway, again, "other@trial.example")[0] == 250
    wait_until(lambda: gateway.rows("quarantine", "list"), "the mark not to count for others")


def test_delete_is_no_label_and_label_is_not_delete(gateway: Gateway) -> None:
    send(gateway, SPAM, "bert@trial.example")
    wait_until(lambda: gateway.rows("quarantine", "list"), "the held mail")
    mail_id = str(gateway.rows("quarantine", "list")[0]["id"])
    gateway.run("quarantine", "label", mail_id, "spam")
    assert gateway.rows("quarantine", "list")[0]["state"] == "held"
    gateway.run("quarantine", "delete", mail_id)
    wait_until(lambda: not gateway.rows("quarantine", "list"), "the deletion")
    assert gateway.rows("quarantine", "list", "--state", "deleted")[0]["id"] == mail_id


def test_strangers_are_not_relayed_for(gateway: Gateway) -> None:
    assert send(gateway, HAM, "somebody@elsewhere.example")[0] == 550
    assert send(gateway, HAM, "somebody%elsewhere.example@trial.example")[0] in {550, 553}


def test_a_header_without_end_is_refused_and_an_honest_large_one_is_not(
    gateway: Gateway, tmp_path: Path
) -> None:
    endless = HAM.replace(b"Subject:", b"X-Fill: " + b"x" * 900 + b"\r\nSubject:", 1)
    filler = (b"X-Fill: " + b"x" * 900 + b"\r\n") * 1200
    assert send(gateway, filler + HAM, "bert@trial.example")[0] == 554
    assert send(gateway, endless + b"body\r\n" * 200_000, "bert@trial.example")[0] == 250
    assert len(maildir(tmp_path / "mail")) == 1


def test_some_recipients_of_one_mail(gateway: Gateway, tmp_path: Path) -> None:
    gateway.run(
        *("domain", "add", "strict.example", "--next-hop", f"maildir:{tmp_path}/strict"),
        *("--unsure-score", "-2", "--spam-score", "-1.5"),
    )
    wait_until(
        lambda: send(gateway, HAM, "probe@strict.example")[0] == 250, "the new domain to be served"
    )
    assert send(gateway, HAM, "a@trial.example", "b@strict.example")[0] == 250
    assert len(maildir(tmp_path / "mail")) == 1
    wait_until(
        lambda: any(
            r["recipient"] == "b@strict.example" for r in gateway.rows("quarantine", "list")
        ),
        "the strict domain's copy",
    )


def test_the_status_page_answers(gateway: Gateway) -> None:
    async def ask() -> tuple[httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.web_port}") as client:
            return await client.get("/?language=de"), await client.get("/health")

    page, health = asyncio.run(ask())
    assert page.status_code == 200
    assert "letzten 24 Stunden" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert health.json()["status"] == "ok"
