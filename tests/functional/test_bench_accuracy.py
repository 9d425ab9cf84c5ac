"""The accuracy bench: its streams, its rival and its control, on a small scale."""

import json
import random
import re
import subprocess
import sys
from contextlib import contextmanager
from xml.etree import ElementTree

import numpy as np
import pytest

from training.bench_accuracy import FILTERS, control_failures, protocols_of, run_filter
from training.bench_accuracy_rivals import Bogofilter, RivalFailedError, open_bogofilter
from training.bench_accuracy_streams import STREAMS, Corpora, under_header_of, with_slips
from training.bench_accuracy_tables import Row, Table
from training.corpus import CorpusMessage
from training.dedup import campaigns, fingerprint
from training.evaluate import FilterUnderTest

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]


def letter(seed: int, words: list[str]) -> bytes:
    body = " ".join(random.Random(seed).choices(words, k=60))
    stamp = f"Thu, {1 + seed % 28:02} Aug 2002 {seed % 24:02}:00:00 +0000"
    return (
        f"Received: from a by b; {stamp}\nFrom: p{seed}@example.org\nSubject: hello\n"
        f"Content-Type: text/html\n  ; charset=latin-1\nTo: me@example.net\n\n{body}\n"
    ).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four tiny corpora; csdmc2010 holds ten copies of mail in spamassassin."""
    place = tmp_path_factory.mktemp("corpora")
    ham, spam = WORDS[:250], WORDS[110:]
    content = {
        "spamassassin": [("ham", letter(n, ham)) for n in range(60)]
        + [("spam", letter(1000 + n, spam)) for n in range(40)],
        "csdmc2010": [("ham", letter(n, ham)) for n in range(10)]
        + [("ham", letter(2000 + n, ham)) for n in range(50)]
        + [("spam", letter(3000 + n, spam)) for n in range(40)],
        "codealltag": [("ham", f"Grüße aus Köln Nummer {n} " .encode() * 3) for n in range(30)],
        "spam-2023-2025": [("spam", letter(4000 + n, spam)) for n in range(20)],
    }  # fmt: skip
    for name, messages in content.items():
        (place / name).mkdir()
        lines = []
        for number, (label, raw) in enumerate(messages):
            (place / name / f"{number}.eml").write_bytes(raw)
            lines.append(f"{label} {number}.eml\n")
        (place / name / "index").write_text("".join(lines))
    return place


@pytest.fixture
def corpora(folder):
    return Corpora(folder, complain=pytest.fail)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_the_same_every_time_and_holds_both_kinds(corpora, folder, name):
    stream = STREAMS[name](corpora)
    again = STREAMS[name](Corpora(folder, complain=pytest.fail))
    assert stream == again
    labels = [is_spam for _, is_spam in stream.messages[stream.measured_from :]]
    assert set(labels) == {True, False}
    assert protocols_of(stream)


def test_what_two_corpora_share_is_judged_in_one_only(corpora):
    stream = STREAMS["cross-sa-csdmc"](corpora)
    assert (stream.measured_from, len(stream.messages)) == (100, 190)
    numbers = campaigns([fingerprint(message.raw) for message, _ in stream.messages])
    learned, judged = numbers[:100], numbers[100:]
    assert not set(learned.tolist()) & set(judged.tolist())


def test_shuffled_labels_keep_the_mail_and_the_number_of_spam(corpora):
    plain, shuffled = STREAMS["spamassassin"](corpora), STREAMS["shuffled-labels"](corpora)
    assert [one.raw for one, _ in plain.messages] == [one.raw for one, _ in shuffled.messages]
    before, after = ([label for _, label in s.messages] for s in (plain, shuffled))
    assert before != after
    assert sum(before) == sum(after)


def test_slips_are_told_and_not_measured_by(corpora, monkeypatch):
    plain, slipping = STREAMS["many-sites"](corpora), STREAMS["many-sites-3-wrong"](corpora)
    assert slipping.messages == plain.messages
    assert len(slipping.told_wrong) == round(len(plain.messages) * 0.03) > 0
    told = []

    @contextmanager
    def listening():
        class Deaf:
            def classify(self, raw):
                return 0.5

        yield FilterUnderTest(name="x", scorer=Deaf(), learn=lambda *both: told.append(both))

    monkeypatch.setitem(FILTERS, "listening", listening)
    result = run_filter(slipping, "online", "listening")
    truth = [(message.raw, is_spam) for message, is_spam in plain.messages]
    assert result.is_spam.tolist() == [is_spam for _, is_spam in truth]
    wrong = [place for place, both in enumerate(truth) if both != told[place]]
    assert frozenset(wrong) == slipping.told_wrong
    for place in wrong:
        assert told[place] == (truth[place][0], not truth[place][1])


def test_a_stream_that_is_cut_keeps_its_slips(corpora):
    cross = with_slips(STREAMS["cross-sa-csdmc"](corpora), 20)
    wrong = {cross.messages[place][0].source for place in cross.told_wrong}
    short = cross.first(30)
    assert short.measured_from == 30
    for place, (message, _) in enumerate(short.messages):
        assert (place in short.told_wrong) is (message.source in wrong)


def test_a_german_text_gets_a_real_header_that_fits_it():
    donor = CorpusMessage(raw=letter(1, WORDS), source="donor")
    text = CorpusMessage(raw="Grüße aus Köln\nvon mir".encode(), source="text")
    head, _, body = under_header_of(donor, text).raw.partition(b"\n\n")
    assert body == text.raw
    assert b"Received: from a by b" in head
    assert b"To: me@example.net" in head
    assert b"latin-1" not in head
    assert b"Subject: hello" not in head
    assert b"charset=utf-8" in head


def test_our_filter_learns_a_stream_and_its_part_for_others_is_not_measured(corpora):
    result = run_filter(STREAMS["spamassassin"](corpora), "online", "schwamm")
    assert len(result.scores) == 100
    late = slice(50, None)
    assert result.scores[late][result.is_spam[late]].min() > 0.5
    cross = STREAMS["cross-sa-csdmc"](corpora)
    result = run_filter(cross, "delayed", "schwamm")
    assert len(result.scores) == 90
    short = run_filter(cross.first(30), "delayed", "schwamm")
    assert len(short.scores) == 30


@pytest.mark.needs("bogofilter")
def test_bogofilter_learns_and_answers_with_all_its_digits(corpora):
    result = run_filter(STREAMS["spamassassin"](corpora).first(40), "online", "bogofilter")
    assert result.scores[0] == 0.52  # nothing learned yet
    assert result.threshold == 0.99
    with open_bogofilter() as tested:
        for seed in range(20):
            tested.learn(letter(seed, WORDS[:250]), False)
            tested.learn(letter(1000 + seed, WORDS[110:]), True)
        ham, spam = (tested.scorer.classify(letter(s, w))
                     for s, w in ((5000, WORDS[:110]), (5001, WORDS[250:])))  # fmt: skip
    assert ham < 0.1 < 0.9 < spam <= 1.0


@pytest.mark.needs("bogofilter")
def test_a_bogofilter_that_fails_is_no_score(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    tested = Bogofilter(tmp_path / "file" / "folder")
    with pytest.raises(RivalFailedError):
        tested.train(letter(1, WORDS), True)


def row(name: str, roca: float) -> Row:
    return Row(
        filter_name=name,
        measures={"roca_complement_percent": roca},
        intervals={},
        start_roca_complement_percent=None,
        messages_per_second=1.0,
    )


def table(stream: str, *rows: Row) -> Table:
    return Table(
        stream=stream,
        title="",
        protocol="online",
        ham=1,
        spam=1,
        rows=rows,
        comparisons=(),
        notes=(),
    )


def test_the_control_fails_who_beats_chance_on_shuffled_labels():
    assert control_failures([table("german", row("a", 0.1))]) == []
    assert control_failures([table("shuffled-labels", row("a", 49.0))]) == []
    failures = control_failures([table("shuffled-labels", row("a", 49.0), row("b", 20.0))])
    assert len(failures) == 1
    assert failures[0].startswith("b: ")


def test_the_bench_runs_and_writes_its_tables(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "training.bench_accuracy", "--corpus", folder, "--out", tmp_path,
         "--streams", "csdmc2010,cross-csdmc-sa", "--filters", "schwamm,schwamm+baseline",
         "--resamples", "20"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tables = json.loads((tmp_path / "accuracy.json").read_text())
    assert [(one["stream"], one["protocol"]) for one in tables] == [
        ("csdmc2010", "online"),
        ("csdmc2010", "delayed"),
        ("cross-csdmc-sa", "delayed"),
    ]
    assert tables[0]["ham"] == 50
    with np.load(tmp_path / "scores" / "csdmc2010-online.npz", allow_pickle=False) as scores:
        assert scores["is_spam"].sum() == 40
        assert len(scores["schwamm"]) == 90
    assert tables[0]["rows"][0]["filter_name"] == "schwamm"
    assert "made from mail of this stream" in " ".join(tables[2]["notes"])
    page = (tmp_path / "accuracy.html").read_text(encoding="utf-8")
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 6
    assert all(ElementTree.fromstring(one) is not None for one in drawings)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert (tmp_path / "accuracy.md").read_text().count("| schwamm |") == 3
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        f"{kind}-{name}.svg"
        for kind in ("learning", "roc")
        for name in ("cross-csdmc-sa-delayed", "csdmc2010-delayed", "csdmc2010-online")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "training.bench_accuracy", "--corpus", folder, "--out", tmp_path,
         "--filters", "abacus"], capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
