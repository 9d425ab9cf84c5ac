"""Another model comes into service, and goes again, while mail is coming in."""

import json
import smtplib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.store.index import Index
from gateway.store.scored import ScoredMail
from models.features import extract
from models.manifest import Manifest
from models.message import scan
from models.registry import Registry
from tests.fakes.gateway import Gateway, running, wait_until
from training.cli_model import GATE
from training.online import OnlineFilter
from training.publish import publish

WITHIN_S = 5.0
MAIL = (
    "Date: Mon, 23 Nov 2026 09:00:00 +0100\r\nFrom: Anna <anna@customer.example>\r\n"
    "To: Bert <bert@trial.example>\r\nSubject: Angebot {number}\r\n"
    "Message-ID: <{number}@customer.example>\r\n\r\nGuten Tag, anbei das Angebot.\r\n"
)


@dataclass
class Stream:
    """Clients that never stop sending; ``taken`` is what they got a 250 for, and when."""

    gateway: Gateway
    taken: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, client: int) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            content = MAIL.format(number=f"{client}-{number}").encode()
            began = time.time()
            with smtplib.SMTP("127.0.0.1", self.gateway.smtp_port, timeout=30) as smtp:
                smtp.ehlo("client.example")
                smtp.mail("anna@customer.example")
                smtp.rcpt("bert@trial.example")
                code, text = smtp.data(content)
            if code == 250:
                self.taken[text.decode().partition("(id ")[2].rstrip(")")] = began
            else:
                self.failed.append(f"{code} {text!r}")
            time.sleep(0.02)


@contextmanager
def sending(gateway: Gateway, clients: int = 3) -> Iterator[Stream]:
    stream = Stream(gateway)
    threads = [threading.Thread(target=stream.run, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield stream
    finally:
        stream.stop.set()
        for thread in threads:
            thread.join(timeout=60)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, f"maildir:{tmp_path}/mail", workers=2) as one:
        yield one


def trained(models: Path) -> str:
    """A model of this site, published beside the shipped one."""
    learner = OnlineFilter(Registry(models).current())
    for number in range(20):
        raw = MAIL.format(number=number).encode()
        learner.learn(extract(scan(raw), raw), is_spam=False)
    manifest = Manifest(origin="site", ham_messages=0, spam_messages=0, metrics={GATE: 1.0})
    return publish(learner.publishable(manifest), models)


def scored(gateway: Gateway) -> dict[str, ScoredMail]:
    index = Index.open(f"sqlite:///{gateway.state / 'index.db'}", node="n1")
    try:
        now = int(time.time() * 1000)
        found = index.scored.sample(now - 3_600_000, now + 60_000, a_day=1_000_000)
        return {mail.mail_id: mail for mail in found}
    finally:
        index.close()


def test_all_workers_follow_a_promotion_and_a_rollback(gateway: Gateway, tmp_path: Path) -> None:
    models = gateway.state / "models"
    shipped, site = Registry(models).pointed(), trained(models)
    with sending(gateway) as stream:
        wait_until(lambda: len(stream.taken) > 20, "mail to flow")
        started = len(gateway.log.read_text())
        gateway.run("model", "promote", site)
        promoted = time.time()
        wait_until(lambda: time.time() > promoted + WITHIN_S + 2, "mail after the promotion")
        gateway.run("model", "rollback")
        rolled_back = time.time()
        wait_until(lambda: time.time() > rolled_back + WITHIN_S + 2, "mail after the rollback")
    assert stream.failed == []

    wait_until(lambda: scored(gateway).keys() >= stream.taken.keys(), "all mail in the index")
    found = scored(gateway)
    assert found.keys() == stream.taken.keys()
    assert {mail.model_id for mail in found.values()} == {shipped, site}
    late = {found[i].model_id for i, at in stream.taken.items() if at > rolled_back + WITHIN_S}
    between = {
        found[i].model_id
        for i, at in stream.taken.items()
        if promoted + WITHIN_S < at < rolled_back - 1.5  # before the command wrote the pointer
    }
    assert (between, late) == ({site}, {shipped})
    for name in (site, shipped):
        lines = gateway.log.read_text()[started:].splitlines()
        switched = [line for line in lines if "serving a new model" in line and name in line]
        assert len(switched) == gateway.workers
    assert len(list((tmp_path / "mail" / "new").iterdir())) == len(stream.taken)


def test_a_watched_model_is_in_every_record_and_is_compared(gateway: Gateway) -> None:
    models = gateway.state / "models"
    shipped, site = Registry(models).pointed(), trained(models)
    assert "beside" in gateway.run("model", "shadow", site).stdout
    with sending(gateway, clients=1) as stream:
        wait_until(
            lambda: any(mail.shadow for mail in scored(gateway).values()), "a watched message"
        )
        gateway.run("model", "shadow", "none")
        none_at = time.time()
        wait_until(lambda: time.time() > none_at + WITHIN_S + 1, "mail without a shadow")
    assert stream.failed == []
    wait_until(lambda: scored(gateway).keys() >= stream.taken.keys(), "all mail in the index")
    found = scored(gateway)
    assert {mail.model_id for mail in found.values()} == {shipped}
    watched = [mail for mail in found.values() if mail.shadow]
    assert {mail.shadow.model_id for mail in watched if mail.shadow} == {site}
    after = [i for i, at in stream.taken.items() if at > none_at + WITHIN_S]
    assert after
    assert [i for i in after if found[i].shadow] == []

    compared = json.loads(gateway.run("model", "compare", site, "--json").stdout)
    assert compared["messages"] == len(watched)
    assert (compared["live"], compared["shadow"]) == (shipped, site)
    assert sum(row["messages"] for row in compared["bands"]) == len(watched)
    told = gateway.run("model", "compare", site).stdout
    assert f"{len(watched)} messages" in told
    nothing = gateway.run("model", "compare", check=False)
    assert nothing.returncode == 1
    assert "no model is watched" in nothing.stderr
