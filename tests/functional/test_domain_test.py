"""``schwamm domain test`` finds each back door that can be seen from here, and delivers nothing.

Against scripted servers, Debian's Postfix and Dovecot, and a DNS server of our own.
"""

import asyncio
import json
import ssl
from dataclasses import replace

import pytest
import trustme

from gateway.cli.domain_test import DomainTester
from gateway.cli.findings import Finding
from gateway.core.errors import ConfigError
from gateway.core.routing import Domain, NextHop, TlsPolicy, parse_next_hop
from gateway.locale import translator
from gateway.settings import DnsSettings, Settings, SmtpSettings
from tests.fakes.dns_server import FakeDns
from tests.fakes.dovecot import running_dovecot
from tests.fakes.gateway import Gateway, free_port
from tests.fakes.postfix import Request, policy_server, running_postfix
from tests.fakes.sink import Script, sink
from tests.functional.test_smtp_tls_policy import _server

WELL = Script(
    answers={"rcpt": "550 5.1.1 no such user"},
    by_rcpt={"postmaster@trial.example": "250 2.1.5 ok"},
)
Rows = dict[str, list[Finding]]
_NOBODY = {"servers": ("127.0.0.1:1",), "timeout_s": 0.2}  # no test asks the world


def by_check(findings: list[Finding]) -> Rows:
    rows: Rows = {}
    for one in findings:
        rows.setdefault(one.check, []).append(one)
    return rows


async def examine(
    to: NextHop, source: str = "", *, dns: str = "", trusted: trustme.CA | None = None, **who: str
) -> Rows:
    """Findings by check for a domain with that next hop."""
    settings = Settings(
        smtp=SmtpSettings(hostname="mx.trial.example"),
        dns=DnsSettings(servers=(dns,)) if dns else DnsSettings(**_NOBODY),
    )
    verifying = ssl.create_default_context()
    if trusted is not None:
        trusted.configure_trust(verifying)
    tester = DomainTester(settings, translator("en"), verifying=verifying, **who)
    return by_check(await tester.all(Domain(name="trial.example", next_hops=(to,)), source))


def failing(rows: Rows) -> set[str]:
    return {check for check, ones in rows.items() if not all(one.ok for one in ones)}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    one = Gateway(tmp_path_factory.mktemp("domain-test"), f"127.0.0.1:{free_port()}").init()
    one.environment["SCHWAMM_DNS__SERVERS"] = '["127.0.0.1:1"]'
    one.environment["SCHWAMM_DNS__TIMEOUT_S"] = "0.2"
    return one


def serve(gateway: Gateway, hop: object) -> None:
    gateway.run("domain", "set", "trial.example", "--next-hop", str(hop))


@pytest.mark.parametrize("lmtp", [False, True])
async def test_a_server_that_does_all_right(lmtp: bool) -> None:
    async with sink(WELL, lmtp=lmtp) as to:
        rows = await examine(to.hop)
        assert failing(rows) == set()
        assert rows["recipient"][0].text == "postmaster@trial.example: 250 2.1.5 ok"
        assert rows["unknown"][0].text == "550 5.1.1 no such user"
        assert rows["tls"][0].mend != ""  # no STARTTLS: advice, and no failure under tls=may
        assert "cannot be reached from the internet" in rows["strangers"][0].text
        assert to.messages == []
        assert "DATA" not in to.commands
        assert to.commands[-1] == "QUIT"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (Script(), {"unknown", "relay"}),
        (Script(answers={"rcpt": "450 4.2.0 greylisted"}), {"recipient", "greylisting"}),
        (Script(answers={"mail": "451 4.7.1 later"}), {"recipient", "greylisting"}),
        (Script(answers={"rcpt": "550 5.7.1 not you"}), {"recipient"}),
        (replace(WELL, offers=()), {"extensions"}),
        (Script(answers={"greeting": "554 no"}), {"reach"}),
        (Script(answers={"rcpt": "421 4.7.0 too many"}), {"recipient", "greylisting"}),
    ],
    ids=[
        "takes-all",
        "greylists",
        "defers-mail",
        "refuses",
        "seven-bit",
        "no-greeting",
        "hangs-up",
    ],
)
async def test_what_is_wrong_is_found(script: Script, expected: set[str]) -> None:
    async with sink(script) as to:
        rows = await examine(to.hop)
        assert failing(rows) == expected
        assert all(one.mend for ones in rows.values() for one in ones if not one.ok)
        assert to.messages == []


@pytest.mark.parametrize(
    ("name", "policy", "well", "mend"),
    [
        ("127.0.0.1", TlsPolicy.VERIFY, True, ""),
        ("127.0.0.1", TlsPolicy.MAY, True, "use ?tls=verify"),
        ("other.example", TlsPolicy.MAY, True, "valid certificate"),
        ("other.example", TlsPolicy.VERIFY, False, "valid certificate"),
        ("", TlsPolicy.MUST, False, "plain text"),
        ("127.0.0.1", TlsPolicy.NONE, True, "leave ?tls=none out"),
    ],
)
async def test_tls_is_judged_by_the_policy(
    name: str, policy: TlsPolicy, well: bool, mend: str
) -> None:
    ca = trustme.CA()
    script = replace(WELL, tls=_server(ca, name) if name else None)
    async with sink(script) as to:
        rows = await examine(replace(to.hop, tls=policy), trusted=ca)
        (row,) = rows["tls"]
        assert (row.ok, mend in row.mend, bool(row.mend)) == (well, True, bool(mend)), row


async def test_mx_that_leads_past_the_gateway(gateway: Gateway) -> None:
    records = {
        "trial.example": {
            "MX": ["10 mx.trial.example.", "20 mail.trial.example.", "30 o.example."]
        },
        "mail.trial.example": {"A": ["127.0.0.1"]},
        "o.example": {"A": ["192.0.2.7"]},
    }
    async with FakeDns(records, zones=("example",)) as dns, sink(WELL) as to:
        rows = await examine(to.hop, dns=dns.address)
        assert {one.text.split(" ")[0]: (one.ok, bool(one.mend)) for one in rows["mx"]} == {
            "mx.trial.example": (True, False),
            "mail.trial.example": (False, True),
            "o.example": (True, True),
        }
        assert failing(rows) == {"mx"}
        dns.records["trial.example"] = {"TXT": ["nothing here"]}
        rows = await examine(to.hop, dns=dns.address)
        assert [(one.ok, one.text) for one in rows["mx"]] == [(False, "no MX record")]


async def test_people_read_it_in_german_and_english(gateway: Gateway) -> None:
    async with sink() as to:
        await asyncio.to_thread(serve, gateway, to.hop)
        for language, words in (
            (
                "en",
                "FAIL 127.0.0.1:{port}  unknown      takes mail for a mailbox that does not exist",
            ),
            (
                "de",
                "FAIL 127.0.0.1:{port}  unknown      nimmt Mail für ein Postfach an, das es nicht",
            ),
        ):
            command = ("--language", language, "domain", "test", "trial.example")
            done = await asyncio.to_thread(gateway.run, *command, check=False)
            assert done.returncode == 1
            assert words.format(port=to.port) in done.stdout


async def test_doctor_names_it_with_the_command(gateway: Gateway) -> None:
    async with sink() as to:
        await asyncio.to_thread(serve, gateway, to.hop)
        done = await asyncio.to_thread(gateway.run, "doctor", check=False)
        lines = [line for line in done.stdout.splitlines() if "back door" in line]
        assert [line[:5] for line in lines] == ["FAIL ", "FAIL "]
        assert all(line.endswith("; schwamm domain test trial.example") for line in lines)
        to.script = WELL
        done = await asyncio.to_thread(gateway.run, "doctor", check=False)
        assert "ok   back door    trial.example: nothing found" in done.stdout


def test_bad_usage(gateway: Gateway) -> None:
    for options in (("unserved.example",), ("trial.example", "--source", "192.0.2.55")):
        done = gateway.run("domain", "test", *options, check=False)
        assert (done.returncode, done.stdout) == (2, ""), options


@pytest.mark.parametrize(
    "address", ["anna", "a@b@c.example", "änne@trial.example", '"a b"@c.example']
)
def test_addresses_that_are_not_asked_about(address: str) -> None:
    for who in ("recipient", "spf_sender"):
        with pytest.raises(ConfigError):
            DomainTester(Settings(), translator("en"), **{who: address})


@pytest.mark.needs("postfix")
async def test_postfix_with_open_and_closed_doors() -> None:
    def decide(request: Request) -> str:
        if request["sender"].endswith("@example.com"):
            return "550 5.7.23 SPF: example.com does not allow this client"
        return "DUNNO"

    with policy_server(decide) as policy:
        checks = f"reject_unauth_destination, check_policy_service inet:127.0.0.1:{policy}"
        trusting = {"mynetworks": "127.0.0.1/32"}
        strict = {
            "smtpd_recipient_restrictions": checks,
            "smtpd_client_restrictions": "check_client_access inline:{127.0.0.1=OK}, reject",
        }
        for more, expected, stranger in (
            (trusting, {"relay", "strangers"}, "250"),
            (strict, {"sender check"}, "554 5.7.1"),
        ):
            with running_postfix(more=more) as server:
                hop = parse_next_hop(f"127.0.0.1:{server.port}")
                rows = await examine(hop, "127.0.0.2", recipient="anna@trial.example")
                assert failing(rows) == expected, rows
                assert stranger in rows["strangers"][0].text
                assert rows["size"][0].mend != ""
                assert all(server.mails(user) == [] for user in ("anna", "postmaster"))


@pytest.mark.needs("dovecot-lmtpd")
async def test_dovecot(gateway: Gateway) -> None:
    """By the command this time: its JSON and its exit code."""
    with running_dovecot() as server:
        await asyncio.to_thread(serve, gateway, f"lmtp:127.0.0.1:{server.port}")
        command = ("domain", "test", "trial.example", "--json")
        done = await asyncio.to_thread(gateway.run, *command, check=False)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 0
        assert {frozenset(row) for row in rows} == {
            frozenset({"subject", "check", "ok", "text", "mend"})
        }
        (unknown,) = (row["text"] for row in rows if row["check"] == "unknown")
        assert unknown.startswith("550 5.1.1")
        assert server.mails("postmaster") == []
