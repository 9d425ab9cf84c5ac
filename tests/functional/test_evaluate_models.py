"""``schwamm train`` and ``schwamm model``: from labels to a serving model, and back."""

import hashlib
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from models.registry import Registry
from training.candidate import LEARNED_UNTIL as MADE_BY_TRAINING
from training.cli import corpus, model, train
from training.cli_model_history import History
from training.cli_model_show import LEARNED_UNTIL

pytestmark = pytest.mark.usefixtures("english")

HAM_WORDS = [f"{a}{b}n" for a in "bdfgklmnprst" for b in "aeiou"]
SPAM_WORDS = [f"{a}{b}x" for a in "bdfgklmnprst" for b in "aeiou"]


def letter(seed: int, *, is_spam: bool) -> bytes:
    chance = random.Random(seed)
    words = " ".join(chance.choices(SPAM_WORDS if is_spam else HAM_WORDS, k=25))
    stamp = f"Thu, {1 + seed // 24:02} Aug 2002 {seed % 24:02}:00:00 +0000"
    return (
        f"Received: from a by b; {stamp}\nFrom: p{seed}@example.org\n"
        f"Subject: {words.split()[0]}\n\n{words}\n"
    ).encode()


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mail")
    lines = []
    for number in range(480):
        is_spam = number % 2 == 1
        (folder / f"{number}.eml").write_bytes(letter(number, is_spam=is_spam))
        lines.append(f"{'spam' if is_spam else 'ham'} {number}.eml\n")
    (folder / "index").write_text("".join(lines))
    return folder / "index"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_text("")
    return path


def call(command, *arguments, config: Path):
    words = [str(one) for one in (*arguments, "--config", config)]
    return CliRunner().invoke(command, words)


def models(config) -> Path:
    return config.parent / "var" / "models"


def listed(config):
    done = call(model, "list", "--json", config=config)
    assert done.exit_code == 0, done.stderr
    return {row["model"]: row for row in map(json.loads, done.stdout.splitlines())}


def trained(config, *arguments):
    done = call(train, "--json", *arguments, config=config)
    assert done.stdout, done.stderr
    return done, json.loads(done.stdout)


def test_labels_become_a_candidate_that_serves_only_when_promoted(index, config):
    assert call(corpus, "import", "--index", index, config=config).exit_code == 0
    done, told = trained(config)
    assert done.exit_code == 0, done.stderr
    assert told["gate_passed"] is True
    assert told["reasons"] == []
    assert (told["learned"], told["held_out"]) == (360, 120)
    assert told["candidate"]["roca_complement_percent"] == 0.0
    name, baseline = told["model"], Registry(models(config)).pointed()
    assert listed(config)[name]["serves"] is False
    assert listed(config)[baseline]["serves"] is True

    done = call(model, "promote", name, config=config)
    assert done.exit_code == 0, done.stderr
    serving = Registry(models(config)).current()
    assert serving.model_id == name
    assert serving.points_cap == 9.0
    assert listed(config)[name]["gate_passed"] is True

    done = call(model, "rollback", config=config)
    assert done.exit_code == 0, done.stderr
    assert Registry(models(config)).pointed() == baseline
    promotions = History(Registry(models(config))).promotions()
    assert [one.why for one in promotions] == ["promoted", "rollback"]
    done = call(model, "rollback", config=config)
    assert done.exit_code == 1
    assert "nothing to go back to" in done.stderr


def test_the_same_mail_gives_the_same_model(index, config, tmp_path):
    _, first = trained(config, "--corpus", index)
    other = tmp_path / "other"
    other.mkdir()
    (other / "gateway.toml").write_text("")
    _, second = trained(other / "gateway.toml", "--corpus", index)
    assert first["model"] == second["model"]
    _, third = trained(config, "--corpus", index, "--from-nothing")
    assert third["model"] != first["model"]


def test_a_serving_model_is_not_judged_on_mail_it_has_learned(index, config, tmp_path):
    part = tmp_path / "part"
    lines = [
        f"{line.replace(' ', f' {index.parent}/')}\n" for line in index.read_text().splitlines()
    ]
    part.write_text("".join(lines[:320]))
    _, first = trained(config, "--corpus", part)
    assert call(model, "promote", first["model"], "--force", config=config).exit_code == 0
    _, second = trained(config, "--corpus", index)
    assert second["held_out"] == 120  # a quarter, all of it later than the 320
    part.write_text("".join(lines[:420]))
    _, third = trained(config, "--corpus", part)
    assert third["held_out"] == 100  # a quarter would be 105: five of them were learned
    done = call(train, "--corpus", part, config=config)
    part.write_text("".join(lines[:321]))
    done = call(train, "--corpus", part, config=config)
    assert done.exit_code == 1
    assert "came after what the serving model learned" in done.stderr


def test_a_candidate_that_its_gate_refused_needs_force(index, config, tmp_path):
    few = tmp_path / "few"
    lines = index.read_text().splitlines()[:160]
    few.write_text("".join(f"{line.replace(' ', f' {index.parent}/')}\n" for line in lines))
    done, told = trained(config, "--corpus", few)
    assert done.exit_code == 1
    assert told["reasons"][0].startswith("too little mail to judge by: 40 ham and 40 spam")
    done = call(model, "promote", told["model"], config=config)
    assert done.exit_code == 1
    assert "did not pass its gate" in done.stderr
    assert Registry(models(config)).pointed() != told["model"]
    assert call(model, "promote", told["model"], "--force", config=config).exit_code == 0
    assert Registry(models(config)).pointed() == told["model"]


def test_mail_of_one_kind_makes_no_model(index, config, tmp_path):
    ham = tmp_path / "ham"
    lines = [line for line in index.read_text().splitlines() if line.startswith("ham")]
    ham.write_text("".join(f"{line.replace(' ', f' {index.parent}/')}\n" for line in lines))
    done = call(train, "--corpus", ham, config=config)
    assert done.exit_code == 1
    assert "no model can be made of this mail" in done.stderr
    done = call(train, config=config)  # an empty archive
    assert done.exit_code == 1
    assert "no model can be made of this mail" in done.stderr
    assert call(train, "--corpus", tmp_path / "gone", config=config).exit_code == 2


def test_a_damaged_model_is_named_and_never_promoted(index, config):
    _, told = trained(config, "--corpus", index)
    name = told["model"]
    done = call(model, "verify", config=config)
    assert done.exit_code == 0
    assert f"{name}: whole and untouched" in done.stdout
    weights = models(config) / "bundles" / name / "weights.npy"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    done = call(model, "verify", config=config)
    assert done.exit_code == 1
    assert "damaged or tampered with" in done.stderr
    assert "whole and untouched" in done.stdout  # the others are still checked
    assert call(model, "verify", name, config=config).exit_code == 1
    before = Registry(models(config)).pointed()
    done = call(model, "promote", name, config=config)
    assert done.exit_code == 1
    assert "damaged or tampered with" in done.stderr
    assert Registry(models(config)).pointed() == before
    assert not list(History(Registry(models(config))).promotions())
    assert "damaged" in listed(config)[name]["problem"]
    assert call(model, "promote", "../../etc", config=config).exit_code == 1


def test_show_tells_what_a_model_is_made_of(index, config):
    _, told = trained(config, "--corpus", index)
    done = call(model, "show", told["model"], "--json", config=config)
    shown = json.loads(done.stdout)
    assert shown["origin"] == "site"
    assert shown["metrics"]["gate_passed"] == 1.0
    done = call(model, "show", config=config)
    assert "shipped with Schwamm" in done.stdout


def test_a_torn_history_costs_one_step_only(index, config):
    _, told = trained(config, "--corpus", index)
    call(model, "promote", told["model"], config=config)
    history = models(config) / "history.jsonl"
    history.write_bytes(history.read_bytes() + b'{"v":1,"name":"site-\xff\n[]\n')
    assert len(list(History(Registry(models(config))).promotions())) == 1
    assert call(model, "rollback", config=config).exit_code == 0


def test_show_says_the_same_in_german_and_names_the_last_mail(index, config, monkeypatch):
    _, told = trained(config, "--corpus", index)
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    shown = call(model, "show", told["model"], config=config).stdout
    assert "an Mail von hier gelernt" in shown
    assert "2002-08-20T" in shown
    assert "bestanden" in shown
    assert LEARNED_UNTIL == MADE_BY_TRAINING


def test_a_name_that_is_no_model_gets_the_way_to_the_right_one(config):
    for command in (("show",), ("verify",), ("promote",), ("shadow",)):
        done = call(model, *command, "site-000000000000", config=config)
        assert done.exit_code == 1
        assert "there is no model site-000000000000; see: schwamm model list" in done.stderr


def test_what_is_wrong_with_a_model_is_listed_in_the_reader_s_language(index, config, monkeypatch):
    _, told = trained(config, "--corpus", index)
    (models(config) / "bundles" / told["model"] / "manifest.json").unlink()
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("COLUMNS", "250")
    assert "diese Datei gibt es nicht" in call(model, "list", config=config).stdout
    assert "No such file" in listed(config)[told["model"]]["problem"]


def test_a_torn_last_line_of_the_history_spoils_no_later_one(index, config):
    _, told = trained(config, "--corpus", index)
    call(model, "list", config=config)  # puts the shipped model in place
    history = models(config) / "history.jsonl"
    history.write_bytes(b'{"v":1,"at":17957')  # as a full disk leaves it
    assert call(model, "promote", told["model"], config=config).exit_code == 0
    done = call(model, "rollback", config=config)
    assert (done.exit_code, "baseline-" in done.stdout) == (0, True)


def test_whoever_has_no_name_may_import_and_promote(index, config, monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert call(corpus, "import", "--index", index, config=config).exit_code == 0
    _, told = trained(config)
    assert call(model, "promote", told["model"], config=config).exit_code == 0
    assert [one.who for one in History(Registry(models(config))).promotions()] == ["unknown"]
    assert call(model, "rollback", config=config).exit_code == 0


def test_a_mistyped_name_leaves_in_nobody_s_labels(index, config):
    call(corpus, "import", "--index", index, config=config)
    done = call(train, "--without", "malory", config=config)
    assert done.exit_code == 2
    assert "nobody of that name has a label that counts; known: nobody" in done.stderr
    assert call(train, "--without", "*", config=config).exit_code in (0, 1)


def test_a_full_disk_is_one_sentence(index, config, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    call(model, "list", config=config)
    monkeypatch.setattr("models.bundle.write_array", full)
    done = call(train, "--corpus", index, config=config)
    assert done.exit_code == 1
    assert "the models' folder cannot be written: No space left on device" in done.stderr
    left = [entry.name for entry in (models(config) / "bundles").iterdir()]
    assert [name for name in left if not name.startswith("baseline-")] == []


def test_one_mail_dated_far_ahead_does_not_make_all_later_mail_old(index, config, tmp_path):
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "ahead.eml").write_bytes(
        b"Date: Thu, 1 Jan 2099 00:00:00 +0000\nFrom: a@example.org\n\n" + b"bibix " * 30
    )
    call(corpus, "import", "--index", index, config=config)
    call(corpus, "import", folder / "ahead.eml", "--label", "spam", config=config)
    _, told = trained(config)
    assert call(model, "promote", told["model"], "--force", config=config).exit_code == 0
    for number in range(480, 700):
        is_spam = number % 2 == 1
        kind = folder / ("spam" if is_spam else "ham")
        kind.mkdir(exist_ok=True)
        (kind / f"{number}.eml").write_bytes(letter(number, is_spam=is_spam))
    for label in ("ham", "spam"):
        call(corpus, "import", folder / label, "--label", label, config=config)
    done, told = trained(config)
    assert (done.exit_code, told["reasons"]) == (0, [])


def test_where_next_to_nothing_is_labelled_it_says_so(config):
    done = call(train, config=config)
    assert done.exit_code == 1
    assert "too little labelled mail: ham and spam are needed" in done.stderr


def test_where_the_serving_model_is_damaged_a_candidate_is_compared_with_the_shipped_one(
    index, config
):
    """It is the shipped one that serves then; a candidate compared with nothing passes easily."""
    _, told = trained(config, "--corpus", index)
    call(model, "promote", told["model"], config=config)
    weights = models(config) / "bundles" / told["model"] / "weights.npy"
    weights.write_bytes(b"\x01" * weights.stat().st_size)
    done, again = trained(config, "--corpus", index)
    assert "the shipped one serves in its place" in done.stderr
    assert again["live"] == told["live"]
    assert again["live"] is not None


def dated(folder: Path, year: int, numbers: range) -> str:
    """Mail of that year; returns its lines for an index."""
    folder.mkdir(exist_ok=True)
    lines = []
    for number in numbers:
        raw = letter(number, is_spam=number % 2 == 1).replace(b"Aug 2002", b"Aug %d" % year)
        (folder / f"{number}.eml").write_bytes(raw)
        lines.append(f"{'spam' if number % 2 else 'ham'} {folder}/{number}.eml\n")
    return "".join(lines)


def test_a_clock_behind_the_mail_is_no_ground_to_judge_on(config, tmp_path):
    """Without the mail's times nobody can tell what came later."""
    folder = tmp_path / "more"
    lines = dated(folder, 2090, range(260)) + dated(folder, 2002, range(260, 480))
    (tmp_path / "most").write_text(lines)
    done = call(train, "--corpus", tmp_path / "most", config=config)
    assert done.exit_code == 1
    assert "260 of 480 messages came later: set the clock" in done.stderr
    lines = dated(folder, 2090, range(9)) + dated(folder, 2002, range(9, 480))
    (tmp_path / "few").write_text(lines)
    done, told = trained(config, "--corpus", tmp_path / "few")
    assert "taken as mail without a time: 9 of 480" in done.stderr
    assert told["held_out"] > 100


def test_a_flood_of_one_mail_is_one_proof_a_day(config, tmp_path):
    """A hundred copies of one spam among the latest mail are no hundred spam to judge by."""
    folder, lines = tmp_path / "flood", []
    folder.mkdir()
    for number in range(400):
        is_copy = number >= 200 and number % 2 == 1
        raw = letter(0 if is_copy else number, is_spam=number % 2 == 1)
        raw = raw.replace(
            b"Thu, 01 Aug 2002 00:", b"Thu, %02d Aug 2002 %02d:" % (1 + number // 24, number % 24)
        )
        if is_copy:
            raw = raw.replace(b"Subject:", b"X-Number: %d\nSubject:" % number)
        (folder / f"{number}.eml").write_bytes(raw)
        lines.append(f"{'spam' if number % 2 else 'ham'} {number}.eml\n")
    (folder / "index").write_text("".join(lines))
    _, told = trained(config, "--corpus", folder / "index")
    assert told["gate_passed"] is False
    days = {1 + number // 24 for number in range(200, 400)}
    (reason,) = [one for one in told["reasons"] if "too little mail to judge by" in one]
    spam = int(reason.partition(" ham and ")[2].split()[0])
    assert 0 < spam <= len(days) + 1


def test_what_was_imported_by_mistake_is_taken_back_or_changed(index, config, tmp_path):
    """One message by the id that train names it by, a whole mailbox by importing it once more."""
    call(corpus, "import", "--index", index, config=config)
    _, whole = trained(config)
    label = (corpus, "label")
    digest = hashlib.sha256((index.parent / "7.eml").read_bytes()).hexdigest()
    done = call(*label, digest, "ham", "--reason", "wrong folder", config=config)
    assert (done.exit_code, done.stdout) == (0, f"{digest}: labelled ham\n")
    assert trained(config)[1]["model"] != whole["model"]
    assert call(*label, digest[:10], "spam", config=config).exit_code == 0
    assert trained(config)[1]["model"] == whole["model"]

    mistake = tmp_path / "mistake"
    mistake.mkdir()
    for number in range(3):
        (mistake / f"{number}.eml").write_bytes(letter(9000 + number, is_spam=True))
    call(corpus, "import", mistake, "--label", "ham", config=config)
    assert trained(config)[1]["model"] != whole["model"]
    done = call(corpus, "import", mistake, "--label", "none", config=config)
    assert done.stdout == "3 labels taken back, 0 messages had none, 0 skipped\n"
    assert trained(config)[1]["model"] == whole["model"]
    done = call(corpus, "import", mistake, "--label", "none", config=config)
    assert done.stdout == "0 labels taken back, 3 messages had none, 0 skipped\n"

    for wrong in ("0" * 64, digest[:7], ""):
        done = call(*label, wrong, "none", config=config)
        assert done.exit_code == 1
        assert "names no imported message, or several" in done.stderr
    log = (config.parent / "var" / "corpus" / "labels.jsonl").read_text()
    assert '"reason":"wrong folder"' in log


def test_a_refusal_over_an_imported_ham_names_the_command_that_mends_it(index, config):
    """A spam imported as ham, late: only the candidate calls it spam, as one should."""
    call(corpus, "import", "--index", index, config=config)
    paths = [index.parent / f"{number}.eml" for number in (461, 463, 465, 467, 469, 471)]
    for path in paths:
        call(corpus, "import", path, "--label", "ham", config=config)
    wrong = {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    done = call(train, config=config)
    assert done.exit_code == 1
    assert "of an imported one: schwamm corpus label ID spam" in done.stdout
    while done.exit_code == 1 and wrong:
        named = {
            line.strip().partition(":")[0]
            for line in done.stdout.splitlines()
            if line.endswith("ham says imported")
        }
        assert named, done.stdout
        assert named <= wrong
        for digest in named:
            assert call(corpus, "label", digest, "spam", config=config).exit_code == 0
        wrong -= named
        done = call(train, config=config)
    assert done.exit_code == 0
