"""``schwamm evaluate`` and ``schwamm corpus`` as a person and a script call them."""

import gzip
import io
import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from models.message import scan
from training.cli import corpus as corpus_command
from training.cli import evaluate as evaluate_command
from training.corpus import read_index
from training.corpus.archive import Archive
from training.evaluate import Corpus, FilterUnderTest, evaluate
from training.evaluate_filters import open_filter
from training.jig import Jig
from training.measures import MEASURE_NAMES, measure
from training.protocols import EvaluationProtocol

pytestmark = pytest.mark.usefixtures("english")

HAM_WORDS = [
    "meeting",
    "minutes",
    "project",
    "invoice",
    "holiday",
    "lunch",
    "draft",
    "review",
    "branch",
    "station",
]
SPAM_WORDS = [
    "lottery",
    "prize",
    "winner",
    "pills",
    "casino",
    "urgent",
    "transfer",
    "million",
    "cheap",
    "replica",
]


class WordBayes:
    """A real, if tiny, naive Bayes over the words of a message."""

    def __init__(self):
        self.counts = {True: {}, False: {}}
        self.messages = {True: 0, False: 0}
        self.trained = []

    def _log_odds(self, word):
        spam, ham = ((self.counts[kind].get(word, 0) + 0.5) / (self.messages[kind] + 1)
                     for kind in (True, False))  # fmt: skip
        return math.log(spam / ham)

    def classify(self, raw):
        log_odds = sum(self._log_odds(word) for word in set(raw.lower().split()))
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, log_odds))))

    def train(self, raw, is_spam):
        self.trained.append(raw)
        self.messages[is_spam] += 1
        for word in set(raw.lower().split()):
            self.counts[is_spam][word] = self.counts[is_spam].get(word, 0) + 1

    def explain(self, raw):
        return [(word.decode(), self._log_odds(word)) for word in sorted(set(raw.split()))[:5]]


def letter(seed: int, *, is_spam: bool) -> bytes:
    chance = random.Random(seed)
    words = " ".join(chance.choices(SPAM_WORDS if is_spam else HAM_WORDS, k=30))
    hour = seed % 24
    return (
        f"Received: from a by b; Thu, {1 + seed // 24:02} Aug 2002 {hour:02}:00:00 +0000\n"
        f"From: p{seed}@example.org\nSubject: {words.split()[0]}\n\n{words}\n"
    ).encode()


@pytest.fixture
def index(tmp_path):
    """An index of 60 messages in order of time, 24 of them spam."""
    lines = []
    for number in range(60):
        is_spam = number % 5 in {1, 3}
        (tmp_path / f"{number}.eml").write_bytes(letter(number, is_spam=is_spam))
        lines.append(f"{'spam' if is_spam else 'ham'} {number}.eml\n")
    path = tmp_path / "index"
    path.write_text("".join(lines))
    return path


def call(*arguments, command=evaluate_command, obj=None):
    return CliRunner().invoke(command, [str(one) for one in arguments], obj=obj)


def run(index, protocol, tested=None, **options):
    tested = tested or WordBayes()
    under_test = FilterUnderTest(
        name="words",
        scorer=tested,
        learn=tested.train,
        explain=tested.explain,
    )
    problems = []
    corpus = Corpus(index=index, limit=options.pop("limit", None), on_problem=problems.append)
    parsed = EvaluationProtocol.parse(protocol)
    return evaluate(corpus, under_test, parsed, resamples=20, **options), problems


def test_online_learns_each_message_after_it_was_scored(index):
    tested = WordBayes()
    evaluation, _ = run(index, "online", tested)
    assert evaluation.run.learned == 60
    assert evaluation.run.scores[0] == 0.5  # scored before anything was learned
    assert evaluation.measures.roca_complement_percent < 5.0
    again = WordBayes()
    for (message, is_spam), score in zip(
        read_index(index, on_problem=pytest.fail), evaluation.run.scores, strict=True
    ):
        assert again.classify(message.raw) == score
        again.train(message.raw, is_spam)


@pytest.mark.parametrize("count", [0, 7, 60, 1000])
def test_delayed_learns_the_first_messages_only(index, count):
    tested = WordBayes()
    evaluation, _ = run(index, f"delayed:{count}", tested)
    assert evaluation.run.learned == len(tested.trained) == min(count, 60)
    assert len(evaluation.run.scores) == 60
    if count:
        assert tested.trained[0] == letter(0, is_spam=False)


def batch_from_nothing(index, scorer="classifier"):
    tested = open_filter(scorer, "none", pipeline, str, learning=False)
    corpus = Corpus(index=index, limit=None, on_problem=pytest.fail)
    return evaluate(corpus, tested, EvaluationProtocol.parse("batch"), resamples=20)


def test_a_batch_from_nothing_learns_the_earlier_half_and_no_campaign_twice(index):
    folder = index.parent
    copy = letter(3, is_spam=True)
    late = copy.replace(b"Thu, 01 Aug 2002 03", b"Thu, 03 Aug 2002 23")
    assert late != copy
    (folder / "copy.eml").write_bytes(late)
    index.write_text(index.read_text() + "spam copy.eml\n")
    evaluation = batch_from_nothing(index)
    assert len(evaluation.run.scores) == 29  # 61 messages: 31 learned, one late copy left out
    assert "trained on 31 of the earlier 31 messages" in evaluation.note
    assert "tested on 29 later ones" in evaluation.note
    assert evaluation.run.learned == 0
    assert evaluation.measures.roca_complement_percent == 0.0


@pytest.mark.parametrize("scorer", ["classifier", "pipeline"])
def test_a_batch_from_nothing_does_not_depend_on_the_order_of_the_index(index, scorer):
    """Collections often list all ham and then all spam: training has an order of its own."""
    lines = index.read_text().splitlines()
    assert lines != sorted(lines)
    as_it_came = batch_from_nothing(index, scorer)
    index.write_text("\n".join(sorted(lines)))
    by_kind = batch_from_nothing(index, scorer)
    assert by_kind.note == as_it_came.note
    assert by_kind.measures == as_it_came.measures
    assert sorted(by_kind.run.scores) == sorted(as_it_came.run.scores)
    assert by_kind.measures.ham_misclassified_percent < 10.0


def test_a_batch_from_nothing_has_its_mistakes_explained(index):
    lines = index.read_text().splitlines()
    assert lines[43] == "spam 43.eml"
    lines[43] = "ham 43.eml"
    index.write_text("\n".join(lines))
    worst = batch_from_nothing(index).run.mistakes[0]
    assert worst.source.endswith("43.eml")
    assert worst.words


def test_a_batch_from_nothing_of_one_kind_gives_its_error_rate(index):
    lines = [line for line in index.read_text().splitlines() if line.startswith("ham")]
    index.write_text("\n".join(lines))
    assert batch_from_nothing(index).measures.ham_misclassified_percent == 0.0


def test_the_worst_mistakes_are_kept_with_their_words(index):
    lines = index.read_text().splitlines()
    wrong = "ham 21.eml"  # a spam that someone called ham
    assert lines[21] == "spam 21.eml"
    lines[21] = wrong
    index.write_text("\n".join(lines))
    evaluation, _ = run(index, "online")
    worst = evaluation.run.mistakes[0]
    assert not worst.is_spam
    assert worst.source.endswith("21.eml")
    assert worst.score > 0.99
    assert worst.position == 22
    assert worst.words
    misses = [mistake.score for mistake in evaluation.run.mistakes if mistake.is_spam]
    assert misses == sorted(misses)


@pytest.mark.parametrize("text", ["", "Batch", "delayed", "delayed:", "delayed:-1", "delayed:x",
                                  "online:5", "delayed:1e3", "delayed:\u0663"])  # fmt: skip
def test_other_protocols_are_refused_with_the_right_ones(index, text):
    done = call("--index", index, "--protocol", text, "--model", "none")
    assert done.exit_code == 2
    assert "batch, online, delayed:N" in done.stderr
    assert done.stdout == ""


def test_the_json_is_the_contract(index):
    done = call("--index", index, "--protocol", "online", "--model", "none", "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert {*MEASURE_NAMES, "messages", "seconds"} <= found.keys()
    assert (found["messages"], found["ham"], found["spam"]) == (60, 36, 24)
    assert found["seconds"] > 0.0
    for name in MEASURE_NAMES:
        low, high = found["intervals_95"][name]
        assert 0.0 <= low <= found[name] <= high <= 100.0


def test_people_get_a_table(index):
    done = call("--index", index, "--protocol", "delayed:30", "--model", "none", "--limit", 50)
    assert done.exit_code == 0, done.stderr
    assert "1-ROCA" in done.stdout
    assert "50 messages" in done.stdout
    assert "30 learned" in done.stdout


def test_bad_entries_get_one_line_each_and_the_rest_goes_on(index):
    folder = index.parent
    (folder / "empty.eml").write_bytes(b"")
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(200)))
    (folder / "hollow").mkdir()
    (folder / "packed.gz").write_bytes(gzip.compress(letter(61, is_spam=True)))
    box = b"".join(
        b"From x Thu Aug 22 12:36:23 2002\n" + letter(n, is_spam=False) + b"\n" for n in (70, 71)
    )
    (folder / "box").write_bytes(box)
    (folder / "broken.eml").write_bytes(
        b"Subject: \xff\xfe\x00 8bit\r\n\r\n\xe4\xf6\xfc lottery\r\n"
    )
    (folder / "md" / "new").mkdir(parents=True)
    (folder / "md" / "new" / "1.host").write_bytes(letter(80, is_spam=False))
    index.write_text(
        "ham empty.eml\nspam photo.png\nham hollow\nspam gone.eml\nnonsense\n"
        + index.read_text()
        + "spam packed.gz\nham box\nspam broken.eml\nham md\n"
    )
    done = call("--index", index, "--protocol", "online", "--model", "none", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["messages"] == 65
    assert json.loads(done.stdout)["skipped"] == 5
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    for name, line in zip(("empty.eml", "photo.png", "hollow", "gone.eml"), lines, strict=False):
        assert line.startswith(str(folder / name))
    assert lines[4].startswith(f"{index}:5: ")


def test_problems_are_told_once_also_when_the_corpus_is_read_twice(index):
    index.write_text(index.read_text() + "spam gone.eml\n")
    done = call("--index", index, "--model", "none", "--json")
    assert json.loads(done.stdout)["skipped"] == 1
    assert len(done.stderr.splitlines()) == 1


def test_bad_usage_and_failure_have_their_exit_codes(index, tmp_path):
    assert call("--model", "none").exit_code == 2
    done = call("--index", tmp_path / "gone", "--model", "none")
    assert done.exit_code == 2
    assert "no such file" in done.stderr
    assert call("--index", index, "--limit", 0).exit_code == 2
    done = call("--index", index, "--model", tmp_path / "gone")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: model: ")
    index.write_text("ham gone.eml\n")
    done = call("--index", index, "--model", "none", "--protocol", "online")
    assert done.exit_code == 1
    assert "there is no mail to measure on" in done.stderr


@pytest.mark.parametrize(("kind", "known"), [("ham", "ham_misclassified_percent"),
                                             ("spam", "spam_misclassified_percent")])  # fmt: skip
def test_mail_of_one_kind_gives_its_own_error_rate(index, kind, known):
    lines = [line for line in index.read_text().splitlines() if line.startswith(kind)]
    index.write_text("\n".join(lines))
    arguments = ("--index", index, "--model", "none", "--protocol", "online")
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["messages"] == len(lines)
    assert list(found["intervals_95"]) == [known]
    assert [name for name in MEASURE_NAMES if found[name] is not None] == [known]
    assert "needs both kinds" in call(*arguments).stdout


def test_a_corpus_folder_stands_for_its_index(index):
    done = call("--index", index.parent, "--protocol", "online", "--model", "none", "--json")
    assert json.loads(done.stdout)["messages"] == 60


def test_the_report_is_written_in_the_language_asked_for(index, tmp_path):
    page = tmp_path / "report.html"
    arguments = ("--index", index, "--protocol", "online", "--model", "none", "--json")
    done = call(*arguments, "--report", page, "--lang", "de")
    assert done.exit_code == 0, done.stderr
    assert "Wie gut ist der Filter?" in page.read_text(encoding="utf-8")
    done = call(*arguments, "--report", page, obj={"language": "en"})
    assert "How good is the filter?" in page.read_text(encoding="utf-8")


def test_progress_goes_to_standard_error(index):
    done = call("--index", index, "--protocol", "online", "--model", "none", "--json", "--progress")
    assert "60/60" in done.stderr
    assert "left" in done.stderr
    assert len(done.stdout.splitlines()) == 1


def pipeline(models):
    """Stands for the gateway's factory: a word gives two points, the content model the rest."""

    def score(raw: bytes) -> float:
        points = 2.0 if b"lottery" in raw else 0.0
        if models is None:
            return points * 4.0
        model = models.current()
        assert model.model_id
        return points + model.points(model.score(scan(raw), raw, 3))

    return score


def test_the_pipeline_scorer_comes_from_the_gateway(index):
    arguments = ("--index", index, "--scorer", "pipeline", "--json")
    done = call(*arguments)
    assert done.exit_code == 1
    assert "belongs to the gateway's own command" in done.stderr
    done = call(*arguments, obj={"pipeline_scorer": pipeline})
    assert done.exit_code == 0, done.stderr
    with_word = sum(b"lottery" in letter(n, is_spam=True) for n in range(60) if n % 5 in {1, 3})
    missed = 100.0 * (24 - with_word) / 24
    assert json.loads(done.stdout)["spam_misclassified_percent"] == pytest.approx(missed)


def test_the_pipeline_learns_through_its_content_model(mail_data):
    arguments = ("--index", mail_data / "index", "--scorer", "pipeline", "--model", "none")
    done = call(*arguments, "--protocol", "online", "--json", obj={"pipeline_scorer": pipeline})
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["learned"] == found["messages"] == 65
    assert found["roca_complement_percent"] < 25.0
    assert found["filter"] == "pipeline, from nothing"


def test_ties_of_the_pipeline_are_ordered_by_less_than_any_point():
    tested = open_filter("pipeline", "none", lambda _: lambda raw: 1.0, str, learning=True)
    assert tested.scorer.classify(letter(1, is_spam=True)) == 1.0  # the content was not asked
    tested = open_filter("pipeline", "none", pipeline, str, learning=True)
    for number in range(40):
        tested.learn(letter(number, is_spam=number % 2 == 0), number % 2 == 0)
    scores = [tested.scorer.classify(letter(n, is_spam=n < 120)) for n in range(100, 140)]
    plain = pipeline(None)
    assert len(set(scores)) == 40
    assert min(scores[:20]) > max(scores[20:])
    assert plain(letter(1, is_spam=False)) == 0.0
    assert abs(scores[30] - round(scores[30], 3)) < 0.0005


def test_the_jig_and_evaluate_give_the_same_scores_on_real_mail(mail_data):
    """A judge who drives the jig and computes for himself must find what evaluate prints."""
    tested = open_filter("classifier", "none", None, str, learning=True)
    corpus = Corpus(index=mail_data / "index", limit=None, on_problem=pytest.fail)
    evaluation = evaluate(corpus, tested, EvaluationProtocol.parse("online"), resamples=20)
    judged = open_filter("classifier", "none", None, str, learning=True)
    answers, commands = [], []
    labels = []
    for message, is_spam in corpus.stream():
        name = message.source
        commands += [f"classify {name}\n", f"train {'spam' if is_spam else 'ham'} {name}\n"]
        labels.append(is_spam)
    jig = Jig(judged.scorer, learn=judged.learn, answer=answers.append, complain=pytest.fail)
    jig.run(io.BytesIO("".join(commands).encode()))
    scores = np.array([float(answer.partition(" score=")[2]) for answer in answers])
    assert scores.tolist() == evaluation.run.scores.tolist()
    assert len(set(scores)) > 60  # ranks keep their resolution
    assert measure(np.array(labels), scores, threshold=judged.threshold) == evaluation.measures


def test_evaluate_runs_as_the_installed_command_without_a_configuration(index, tmp_path):
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    done = subprocess.run(
        [Path(sys.executable).with_name("schwamm"), "evaluate", "--index", index,
         "--protocol", "online", "--model", "none", "--json"],
        cwd=empty, capture_output=True, check=False, timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(empty)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == 60
    assert list(empty.iterdir()) == []


@pytest.fixture
def config(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "gateway.toml").write_text("")
    return site / "gateway.toml"


def test_corpus_import_fills_the_archive_of_the_site(index, config):
    done = call("import", "--index", index, "--config", config, "--json", command=corpus_command)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {"new": 60, "changed": 0, "known": 0, "skipped": 0}
    mail = index.parent / "1.eml"
    done = call("import", mail, "--label", "ham", "--config", config, "--who", "ann",
                command=corpus_command)  # fmt: skip
    assert done.stdout == "0 new, 1 with a changed label, 0 known already, 0 skipped\n"
    archive = Archive(config.parent / "var" / "corpus")
    labels = [is_spam for _, is_spam in archive.stream(on_problem=pytest.fail)]
    assert (len(labels), sum(labels)) == (60, 23)
    last = list(archive.decisions())[-1]
    assert (last.who, last.reason, last.is_spam) == ("ann", "import", False)


def test_corpus_import_tells_what_it_cannot_use(index, config):
    def do(*arguments):
        return call("import", *arguments, "--config", config, command=corpus_command)

    assert do().exit_code == 2
    assert do(index.parent).exit_code == 2
    assert do("--label", "ham").exit_code == 2
    assert do(index.parent, "--label", "ham", "--index", index).exit_code == 2
    done = do(index.parent / "gone", "--label", "ham")
    assert done.exit_code == 1
    assert "there is no such file" in done.stderr
