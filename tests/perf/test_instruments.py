"""The benches' own instruments: what they count is what happened."""

import json
import smtplib
import subprocess
import sys
import time
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.perf.end_to_end import percentile
from tests.perf.part import Part
from tests.perf.processes import cpu_s, family, memory
from tests.perf.real_mail import RealMail, as_sent, load_mails, stuffed, write_mails

MAIL = b"Subject: x\r\n\r\n.one dot\r\n..two\r\nend\r\n"


def test_mail_is_stuffed_and_read_back(tmp_path: Path) -> None:
    assert stuffed(b".a\r\n.\r\nb\r\n") == b"..a\r\n..\r\nb\r\n"
    assert as_sent(b"From me\nA: b\n\nc\0") == b"A: b\r\n\r\nc\r\n"
    write_mails(tmp_path / "mails", [RealMail(content=MAIL, is_spam=False, sender="a@b.example")])
    assert load_mails(tmp_path / "mails") == [(b"a@b.example", stuffed(MAIL))]


def test_the_sink_counts_what_came() -> None:
    with Part("tests.perf.quick_sink") as sink:
        with smtplib.SMTP("127.0.0.1", sink.hello["port"], timeout=10) as client:
            for _ in range(3):
                client.sendmail("a@b.example", ["c@d.example"], MAIL)
        counted = sink.ask()
        assert (counted["messages"], counted["connections"]) == (3, 1)
        assert 0 <= time.monotonic() - counted["last_at_s"] < 60


@pytest.mark.parametrize("how", [{"connections": 4}, {"rate": 500.0}])
def test_the_generator_brings_every_message_once(tmp_path: Path, how: dict[str, float]) -> None:
    write_mails(tmp_path / "mails", [RealMail(content=MAIL, is_spam=False)])
    with Part("tests.perf.quick_sink") as sink, Part("tests.perf.load") as generator:
        answer = generator.ask(
            port=sink.hello["port"],
            mails=str(tmp_path / "mails"),
            messages=45,
            first=7,
            per_connection=10,
            network="127.1",
            recipient="c@d.example",
            **how,
        )
        assert answer["codes"] == {"250": 45}
        assert len(answer["latencies_ms"]) == 45
        counted = sink.ask()
        assert (counted["messages"], counted["connections"]) == (45, 5)


def test_the_name_server_answers_from_its_table(tmp_path: Path) -> None:
    zone = {"a.example": {"A": ["192.0.2.1"], "TXT": ['"v=spf1" " -all"']}}
    (tmp_path / "zone.json").write_text(json.dumps(zone))
    with Part("tests.perf.quick_dns", str(tmp_path / "zone.json")) as server:

        def ask(name: str, kind: str) -> dns.message.Message:
            query = dns.message.make_query(name, kind)
            return dns.query.udp(query, "127.0.0.1", port=server.hello["port"], timeout=10)

        assert ask("A.example", "A").answer[0][0].to_text() == "192.0.2.1"
        assert ask("a.example", "TXT").answer[0][0].to_text() == '"v=spf1" " -all"'
        nothing = ask("a.example", "MX")
        assert (nothing.rcode(), nothing.answer) == (dns.rcode.NOERROR, [])
        assert ask("b.example", "A").rcode() == dns.rcode.NXDOMAIN
        assert server.ask()["queries"] == 4


def test_time_of_children_that_ended_is_not_lost() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    wait = f"subprocess.run([sys.executable, '-c', {burn!r}]); print(1); input()"
    parent = f"import subprocess, sys; {wait}"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        pids = family([process.pid])
        assert pids == [process.pid]
        assert cpu_s(pids) >= 0.28
        assert memory(pids).rss > memory(pids).pss / 2 > 0
        process.communicate(b"\n")


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert percentile([7.0], 0.99) == 7.0
