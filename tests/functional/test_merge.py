"""Several machines' mail gives the model of one run over all of it, to the last bit."""

import io
import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from models.counts import Counts
from models.features import Features, extract
from models.fingerprint import fingerprint_of
from models.message import scan
from models.registry import Registry
from training.cli import train
from training.count_file import CountFileError, read_count_file, write_count_file
from training.lessons import Lessons
from training.slabs import merged, slabs_of, total
from training.train import Example

pytestmark = pytest.mark.usefixtures("english")

DAY_S = 86_400.0
START_S = 1_780_000_000.0
CUSTOMERS = ("", "acme", "müller")
WORDS = {
    spam: [f"{a}{b}{'x' if spam else 'n'}{c}" for a in "bdfgklm" for b in "aeiou" for c in "aeo"]
    for spam in (True, False)
}


def lessons_for(numbers: range) -> Lessons:
    lessons = Lessons(trusted={"anna"})
    for number in numbers:
        chance = random.Random(number)
        is_spam = number % 2 == 0
        text = " ".join(chance.choices(WORDS[is_spam], k=30))
        raw = f"From: p{number % 7}@example.org\nSubject: {text[:12]}\n\n{text}\n".encode()
        mail = scan(raw)
        lessons.add(
            Example(stored=extract(mail, raw).to_bytes(), is_spam=is_spam),
            START_S + chance.randrange(90) * DAY_S,
            fingerprint_of(mail),
            voice="anna" if number % 5 else "",
            customer=CUSTOMERS[number % 3],
        )
    return lessons


@pytest.fixture(scope="module")
def machines() -> list[Lessons]:
    """Three machines; the last two have some mail in common."""
    return [lessons_for(range(150)), lessons_for(range(150, 320)), lessons_for(range(300, 450))]


def pooled(machines: list[Lessons]) -> Lessons:
    every = Lessons()
    for one in machines:
        every.extend(one)
    return every


def call(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(train, ["--config", str(config), "--json", *arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    return path


def files(machines: list[Lessons], folder: Path) -> list[str]:
    paths = [folder / f"{number}.npz" for number in range(len(machines))]
    for path, lessons in zip(paths, machines, strict=True):
        write_count_file(path, lessons)
    return [str(path) for path in paths]


def test_merged_counts_are_those_of_one_run(machines: list[Lessons], tmp_path: Path) -> None:
    apart = [read_count_file(Path(path)) for path in files(machines, tmp_path)]
    together = merged(reversed(apart))
    once = slabs_of(pooled(machines))
    assert [slab.key for slab in together] == [slab.key for slab in once]
    assert len({slab.month for slab in once}) >= 3
    assert {slab.customer for slab in once} == set(CUSTOMERS)
    for one, other in zip(together, once, strict=True):
        assert np.array_equal(one.rows, other.rows)
        assert (one.ham_messages, one.spam_messages) == (other.ham_messages, other.spam_messages)
    plain = Counts()
    for example in pooled(machines).examples:
        plain.add(Features.from_bytes(example.stored), is_spam=example.is_spam)
    assert total(together).digest() == plain.digest()


def test_a_slab_left_out_is_forgotten(machines: list[Lessons]) -> None:
    every = pooled(machines)
    rest = [place for place, customer in enumerate(every.customers) if customer != "acme"]
    left = total(slab for slab in slabs_of(every) if slab.customer != "acme")
    assert left.digest() == total(slabs_of(every.chosen(rest))).digest()


def test_a_file_of_merged_files_is_the_file_of_one_run(
    machines: list[Lessons], tmp_path: Path, config: Path
) -> None:
    one, two, three = files(machines, tmp_path)
    write_count_file(tmp_path / "once.npz", pooled(machines))
    done = call(config, "--merge", three, one, two, "--counts", str(tmp_path / "merged.npz"))
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "merged.npz").read_bytes() == (tmp_path / "once.npz").read_bytes()
    told = json.loads(done.stdout)
    once = pooled(machines).in_canonical_order()
    assert told["digest"] == total(slabs_of(once)).digest()
    assert sum(slab["ham"] + slab["spam"] for slab in told["slabs"]) == 450  # 20 in both
    assert "several files and count once: 20" in done.stderr


def test_the_model_of_merged_files_is_that_of_one_run(
    machines: list[Lessons], tmp_path: Path, config: Path
) -> None:
    paths = files(machines, tmp_path)
    write_count_file(tmp_path / "once.npz", pooled(machines))
    names = []
    for given in (paths, [str(tmp_path / "once.npz")]):
        done = call(config, "--merge", *given)
        assert done.stdout, (done.stderr, done.exception)
        names.append(json.loads(done.stdout)["model"])
    assert names[0] == names[1]
    done = call(config, "--merge", *paths[:2])
    other = json.loads(done.stdout)["model"]
    assert other != names[0]
    models = Registry(config.parent / "var" / "models")
    assert models.load(names[0]).digest != models.load(other).digest


def test_a_file_given_twice_changes_nothing(
    machines: list[Lessons], tmp_path: Path, config: Path
) -> None:
    one, two, three = files(machines, tmp_path)
    told = []
    for given in ([one, two, three], [one, one, three, two, one]):
        done = call(config, "--merge", *given)
        assert done.stdout, (done.stderr, done.exception)
        told.append(json.loads(done.stdout))
    assert told[0] == told[1]
    assert "several files and count once: 320" in done.stderr


def test_a_label_changed_since_an_older_file_counts_once(
    machines: list[Lessons], tmp_path: Path, config: Path
) -> None:
    older, newer = tmp_path / "older.npz", tmp_path / "newer.npz"
    write_count_file(older, machines[0])
    changed = machines[0].chosen(range(len(machines[0])))
    for place in range(7):
        example = changed.examples[place]
        changed.examples[place] = Example(stored=example.stored, is_spam=not example.is_spam)
    write_count_file(newer, changed)
    out = tmp_path / "merged.npz"
    done = call(config, "--merge", str(older), str(newer), "--counts", str(out))
    assert done.exit_code == 0, done.stderr
    assert out.read_bytes() == newer.read_bytes()
    assert "labelled otherwise in a file named later, which counts: 7" in done.stderr


@pytest.mark.parametrize("field", ["format", "feature_spec"])
def test_a_hostile_version_does_not_steer_the_terminal(
    machines: list[Lessons], tmp_path: Path, config: Path, field: str
) -> None:
    path = tmp_path / "one.npz"
    write_count_file(path, machines[0])
    with np.load(path, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    head = {**json.loads(arrays["head"].tobytes()), field: "\x1b]0;me\x07"}
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    np.savez_compressed(path, **arrays)
    done = call(config, "--merge", str(path))
    assert done.exit_code == 1
    assert "\x1b" not in done.stderr
    assert "this version" in done.stderr


def test_a_file_cut_anywhere_is_refused_in_one_sentence(
    machines: list[Lessons], tmp_path: Path
) -> None:
    path = tmp_path / "one.npz"
    write_count_file(path, machines[0])
    whole = path.read_bytes()
    for number in range(50):
        path.write_bytes(whole[: number * len(whole) // 50])
        with pytest.raises(CountFileError, match="it is no count file, or it is damaged"):
            read_count_file(path)


def test_own_mail_is_counted_and_merged_like_that_of_others(tmp_path: Path, config: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()
    lines = []
    for number in range(240):
        chance = random.Random(number)
        is_spam = number % 2 == 0
        text = " ".join(chance.choices(WORDS[is_spam], k=30))
        day = f"{1 + number // 10:02} Aug 2026 {number % 10:02}:00:00 +0000"
        raw = f"Received: from a by b; {day}\nFrom: a@example.org\n\n{text}\n"
        (folder / f"{number}.eml").write_text(raw)
        lines.append(f"{'spam' if is_spam else 'ham'} {number}.eml\n")
    for name, part in (("all", lines), ("one", lines[::2]), ("two", lines[1::2])):
        (folder / name).write_text("".join(part))
    (folder / "one").write_text("".join(lines[:100]))
    (folder / "two").write_text("".join(lines[100:]))
    for name in ("one", "two"):
        done = call(
            config, "--corpus", str(folder / name), "--counts", str(tmp_path / f"{name}.npz")
        )
        assert done.exit_code == 0, (done.stderr, done.exception)
    merged_run = call(config, "--merge", str(tmp_path / "two.npz"), str(tmp_path / "one.npz"))
    one_run = call(config, "--corpus", str(folder / "all"))
    assert merged_run.stdout, (merged_run.stderr, merged_run.exception)
    assert json.loads(merged_run.stdout)["model"] == json.loads(one_run.stdout)["model"]


KINDS = {
    "cut": "damaged",
    "text": "damaged",
    "rotten": "damaged",
    "pickle": "damaged",
    "counts": "not those of its messages",
    "spec": "holds features xf1",
    "format": "has format 2",
    "missing": "cannot be read",
    "never": "damaged",
    "nan": "damaged",
    "late": "damaged",
    "escape": "damaged",
    "deep": "damaged",
    "no-array": "damaged",
    "promised": "damaged",
    "bomb": "damaged",
}


def spoil(path: Path, kind: str) -> None:
    """Do to a count file what this kind of damage does."""
    with np.load(path, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    whole = path.read_bytes()
    match kind:
        case "cut":
            path.write_bytes(whole[:-100])
        case "text":
            path.write_text("ham spam")
        case "rotten":
            middle = len(whole) // 2
            path.write_bytes(whole[:middle] + bytes(300) + whole[middle + 300 :])
        case "missing":
            path.unlink()
        case "no-array" | "promised" | "bomb":
            replace_member(path, "spam.npy", member(kind))
        case _:
            change(arrays, kind)
            np.savez_compressed(path, **arrays)


def change(arrays: dict[str, np.ndarray], kind: str) -> None:
    head = arrays["head"].tobytes()
    match kind:
        case "pickle":
            arrays["head"] = np.array([{"format": 1}], dtype=object)
        case "counts":
            arrays["rows"][0, 1] += 1
        case "spec":
            head = head.replace(b'"feature_spec": "', b'"feature_spec": "x')
        case "format":
            head = head.replace(b'"format": 1', b'"format": 2')
        case "escape":
            head = head.replace(b"anna", b"\\u001b[2J")
        case "deep":
            head = b"[" * 100_000
        case _:
            arrays["time"][3] = {"never": np.inf, "nan": np.nan, "late": 1e18}[kind]
    if kind != "pickle":
        arrays["head"] = np.frombuffer(head, np.uint8)


def member(kind: str) -> bytes:
    """No array, one of 4 TiB by its own word, or one of 64 MiB of nothing in a few kilobytes."""
    if kind == "no-array":
        return b"no array"
    number = 1 << (42 if kind == "promised" else 26)
    head = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": (number,)}
    np.lib.format.write_array_header_1_0(head, described)
    return head.getvalue() + (bytes(number) if kind == "bomb" else b"")


def replace_member(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path) as old:
        kept = {one: old.read(one) for one in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for one, data in {**kept, name: content}.items():
            new.writestr(one, data)


@pytest.mark.parametrize(("kind", "why"), KINDS.items(), ids=KINDS.keys())
def test_what_is_no_count_file_is_refused(
    machines: list[Lessons], tmp_path: Path, config: Path, kind: str, why: str
) -> None:
    path = tmp_path / "one.npz"
    write_count_file(path, machines[0])
    spoil(path, kind)
    with pytest.raises(CountFileError, match=rf"one\.npz: .*{why}"):
        read_count_file(path)
    done = call(config, "--merge", str(path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"{path}: " in done.stderr


def test_the_refusal_is_in_the_reader_s_language(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    (tmp_path / "one.npz").write_bytes(b"no")
    done = call(config, "--merge", str(tmp_path / "one.npz"))
    assert "ist keine Zähldatei" in done.stderr


def test_a_link_to_a_count_file_is_followed(machines: list[Lessons], tmp_path: Path) -> None:
    write_count_file(tmp_path / "one.npz", machines[0])
    (tmp_path / "link.npz").symlink_to("one.npz")
    assert len(read_count_file(tmp_path / "link.npz").lessons) == len(machines[0])


@pytest.mark.parametrize(
    ("language", "said"), [("en", "it is no count file"), ("de", "ist keine Zähldatei")]
)
def test_a_damaged_count_file_is_told_in_the_reader_s_language(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, language: str, said: str
) -> None:
    monkeypatch.setenv("LC_ALL", f"{language}_XX.UTF-8")
    path = tmp_path / "one.npz"
    path.write_text("ham spam")
    assert f"{path}: {said}" in call(config, "--merge", str(path)).stderr


def test_files_and_merge_belong_together(tmp_path: Path, config: Path) -> None:
    assert call(config, "some.npz").exit_code == 2
    assert call(config, "--merge").exit_code == 2
    assert call(config, "--merge", "a.npz", "--corpus", str(tmp_path)).exit_code == 2
