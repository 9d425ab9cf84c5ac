"""Hosts, dates, weights, the classifier's check; and that no rule minds what strangers send."""

import mmap
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks import local_checks
from gateway.checks.check import ConnectionFacts
from gateway.checks.content import ContentCheck
from gateway.checks.dates import date_of, received_time
from gateway.checks.hosts import domain_of, host_of, looks_like_host, numeric_address, site
from gateway.checks.weights import CAPS, GROUPS, POINTS, with_lists
from gateway.core.details import read_details, write_details
from gateway.core.mail import Envelope, Mail, Session
from gateway.core.verdict import Outcome, ShadowFinding, Status, WordReason
from models.bundle import BundleError
from models.classifier import ContentScore
from models.explain import WordWeight
from models.message import scan


def mail_of(content: bytes | mmap.mmap, received_at_ms: int = 1_767_603_900_000) -> Mail:
    return Mail(
        id="test",
        received_at_ms=received_at_ms,
        session=Session(ip="192.0.2.9", port=25, helo="x.example", esmtp=True),
        envelope=Envelope(mail_from="", rcpt_to=()),
        content=content,
        sha256="",
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Shop.Example/a?b#c", "shop.example"),
        ("https://shop.example:8443", "shop.example"),
        ("http://bank.example@evil.test/x", "evil.test"),
        ("http://bank.example:80@evil.test", "evil.test"),
        ("http://evil.test\\@bank.example/", "evil.test"),
        ("http://evil.test?@bank.example", "evil.test"),
        ("http://[2001:db8::1]:80/", "2001:db8::1"),
        ("http://shop.example./", "shop.example"),
        ("http://", ""),
        ("mailto:a@b.example", ""),
        ("shop.example", ""),
    ],
)
def test_the_host_is_the_one_a_browser_goes_to(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("8.8.4.4", "8.8.4.4"),
        ("134743044", "8.8.4.4"),
        ("0x08080404", "8.8.4.4"),
        ("2001:4860::1", "2001:4860::1"),
        ("192.168.1.1", ""),
        ("127.0.0.1", ""),
        ("shop.example", ""),
        ("99999999999", ""),
        ("", ""),
    ],
)
def test_public_addresses_are_seen_in_every_spelling(host: str, address: str) -> None:
    assert numeric_address(host) == address


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("www.shop.example", "shop.example"),
        ("shop.co.uk", "shop.co.uk"),
        ("www.shop.co.uk.", "shop.co.uk"),
        ("A.B.Example", "b.example"),
        ("co.uk", "co.uk"),
        ("example", "example"),
    ],
)
def test_a_site_is_what_its_owner_registered(host: str, expected: str) -> None:
    assert site(host) == expected


def test_names_are_told_from_other_texts() -> None:
    assert looks_like_host("www.shop.example")
    assert not any(
        looks_like_host(text) for text in ("1.2.3.4", "v1.0", "a..b", "end.", "naïve.example", "x")
    )
    assert domain_of("a@b@Example.ORG.") == "example.org"
    assert domain_of("nobody") == ""


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (b"Mon, 5 Jan 2026 10:05:00 +0100", 1_767_603_900_000),
        (b"5 Jan 2026 09:05:00 GMT (comment)", 1_767_603_900_000),
        (b"Mon, 5 Jan 2026 10:05:00 +9999", None),
        (b"Mon, 99 Foo 2026", None),
        (b"", None),
        (b"\xff\xfe" * 400, None),
        (b"Mon, 5 Jan 99999 10:05:00 +0100", None),
    ],
)
def test_a_date_is_a_moment_or_nothing(value: bytes, moment: int | None) -> None:
    assert date_of(value) == moment


def test_the_clock_of_stored_mail_is_its_top_received_field() -> None:
    fields = b"Received: from a by b; Mon, 5 Jan 2026 10:05:00 +0100\r\n"
    older = b"Received: from x by a; Sun, 4 Jan 2026 10:05:00 +0100\r\n"
    assert received_time(scan(fields + older + b"\r\n")) == 1_767_603_900_000
    assert received_time(scan(b"Received: from a by b\r\n\r\n")) is None
    assert received_time(scan(b"Subject: x\r\n\r\n")) is None


def test_no_group_of_cheap_signs_reaches_unsure_alone() -> None:
    for group in set(GROUPS.values()) - {"test", "attachments"}:
        assert 0 < CAPS[group] < 4, group
    assert CAPS["headers"] + CAPS["mime"] < 6
    assert set(GROUPS) == set(POINTS)
    assert all(0 < points <= 5 for name, points in POINTS.items() if name != "GTUBE")


def test_the_page_of_symbols_says_what_is_so() -> None:
    page = (Path(__file__).parents[2] / "docs" / "symbols.md").read_text(encoding="utf-8")
    for name, points in POINTS.items():
        assert f"| `{name}` | {points:g} |" in page
    for group, cap in CAPS.items():
        assert f"## {group} (cap {cap:g})" in page
    assert len([line for line in page.splitlines() if line.startswith("| `")]) == len(POINTS)


def test_gtube_is_spam_alone_whatever_the_caps() -> None:
    assert POINTS["GTUBE"] >= 15
    assert GROUPS["GTUBE"] not in CAPS


def test_a_list_s_symbol_gets_points_unless_it_has_some() -> None:
    points, groups = with_lists(["DNSBL_X", "GTUBE"])
    assert points["DNSBL_X"] == 3.5
    assert groups["DNSBL_X"] == "dnsbl"
    assert (points["GTUBE"], groups["GTUBE"]) == (POINTS["GTUBE"], "test")
    assert "DNSBL_X" not in POINTS


def test_details_carry_parameters_and_nothing_else() -> None:
    detail = write_details(file="in\nvoice \x00.pdf", points=3.5, empty="")
    assert detail == "file=in_voice__.pdf points=3.5 empty=-"
    assert read_details(detail) == {"file": "in_voice__.pdf", "points": "3.5", "empty": "-"}
    assert len(write_details(word="x" * 1000)) < 100


@dataclass
class FakeBundle:
    """Stands for ``models.bundle.Bundle``: answers what it is told to."""

    probability: float
    worth: float
    seen: list[bytes] = field(default_factory=list)
    model_id: str = "site-000000000000"

    def score(self, _mail: object, raw: bytes, words: int = 0) -> ContentScore:
        self.seen.append(raw)
        return ContentScore(
            probability=self.probability,
            log_odds=1.0,
            known_share=0.744,
            naive_log_odds=1.0,
            pattern_log_odds=0.0,
            words=(WordWeight(word="pills", weight=2.5),)[:words],
        )

    def points(self, _score: ContentScore) -> float:
        return self.worth


@dataclass
class FakeModels:
    bundle: FakeBundle | None

    def current(self) -> FakeBundle:
        if self.bundle is None:
            raise BundleError("no model was promoted yet")
        return self.bundle


async def examine(
    bundle: FakeBundle | None,
    content: bytes | mmap.mmap = b"a: b\r\n\r\nc",
    *,
    shadow: FakeBundle | None = None,
) -> Outcome:
    check = ContentCheck(FakeModels(bundle), words=5, shadow=lambda: shadow)
    return await check.examine(mail_of(content), scan(content), ConnectionFacts())


@pytest.mark.parametrize(
    ("probability", "points", "symbol"),
    [(0.98, 3.0, "BAYES_SPAM"), (0.5, 0.0, "BAYES_UNSURE"), (0.01, -1.0, "BAYES_HAM")],
)
async def test_the_classifier_s_points_are_the_model_s(
    probability: float, points: float, symbol: str
) -> None:
    outcome = await examine(FakeBundle(probability, points))
    (seen,) = outcome.symbols
    assert (seen.name, seen.points) == (symbol, points)
    assert seen.detail == f"p={probability:.2f} known=0.74"
    assert outcome.content is not None
    assert outcome.content.probability == probability
    assert outcome.content.model_id == "site-000000000000"
    assert outcome.content.words == (WordReason(word="pills", weight=2.5),)


async def test_a_watched_model_is_noted_and_gives_no_points() -> None:
    watched = FakeBundle(0.99, 9.0, model_id="site-111111111111")
    outcome = await examine(FakeBundle(0.5, 0.0), shadow=watched)
    assert [symbol.points for symbol in outcome.symbols] == [0.0]
    assert outcome.content is not None
    assert outcome.content.model_id == "site-000000000000"
    assert outcome.content.shadow == ShadowFinding(
        probability=0.99, known_share=0.744, model_id="site-111111111111"
    )
    alone = await examine(FakeBundle(0.5, 0.0))
    assert alone.content is not None
    assert alone.content.shadow is None


async def test_without_a_model_the_rest_judges() -> None:
    outcome = await examine(None)
    assert (outcome.status, outcome.error, outcome.symbols) == (Status.ERROR, "no_model", ())


async def test_of_a_mapped_file_the_model_sees_beginning_and_end() -> None:
    head, tail = b"Subject: x\r\n\r\nbegins", b"ends"
    with tempfile.TemporaryFile() as file:
        file.write(head + b"." * 2_000_000 + tail)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            bundle = FakeBundle(0.5, 0.0)
            await examine(bundle, content)
    (seen,) = bundle.seen
    assert seen.startswith(head)
    assert seen.endswith(tail)
    assert len(seen) < 500_000


@given(st.binary(max_size=600), st.integers(0, 2**41))
def test_no_rule_minds_what_strangers_send(raw: bytes, arrived_ms: int) -> None:
    _examine_all(raw, arrived_ms)


_FIELDS = ("Date", "From", "Message-ID", "To", "Subject", "Reply-To", "Content-Type")
_LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=80)


@given(st.lists(st.tuples(st.sampled_from(_FIELDS), _LINE), max_size=8), _LINE)
def test_no_rule_minds_odd_fields(fields: list[tuple[str, str]], body: str) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    _examine_all(f"{head}\r\n<a href='http://{body}'>www.{body}</a>".encode(), 0)


def _examine_all(raw: bytes, arrived_ms: int) -> None:
    mail, parsed = mail_of(raw, arrived_ms), scan(raw)
    for check in local_checks():
        coroutine = check.examine(mail, parsed, ConnectionFacts())
        with pytest.raises(StopIteration) as ended:
            coroutine.send(None)
        outcome = ended.value.value
        names = {symbol.name for symbol in outcome.symbols}
        assert names <= set(POINTS)
        assert outcome.status is (Status.HIT if names else Status.PASS)
        for symbol in outcome.symbols:
            assert symbol.detail.isprintable()
            assert len(symbol.detail) < 250
