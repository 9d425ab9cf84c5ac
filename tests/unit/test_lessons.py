"""What is learned, what is never learned, and whose labels count."""

import random
from dataclasses import replace

import numpy as np
import pytest

from gateway.core.lesson import Lesson
from gateway.locale import translator
from gateway.store.labels import LabelBook, StandingLabel
from gateway.store.scored import DAY_MS
from models.features import FEATURE_SPEC, extract
from models.fingerprint import fingerprint_of
from models.message import scan
from training.dedup import campaigns
from training.gate_voices import MIN_TEST, OWN_SET, Voices, examine, fixed_set_sentences
from training.labels import lessons_of
from training.lessons import IMPORTED, Lessons, set_apart
from training.slabs import slabs_of
from training.train import Example

WORDS = [f"{a}{b}{c}{d}" for a in "bdfgklm" for b in "aeiou" for c in "nrst" for d in "aeo"]


def raw(seed: int, words: int = 30) -> bytes:
    text = " ".join(random.Random(seed).choices(WORDS, k=words))
    return f"From: a@example.org\nSubject: {text[:10]}\n\n{text}\n".encode()


def add(lessons: Lessons, seed: int, *, voice: str = IMPORTED, time: float | None = None) -> None:
    content = raw(seed)
    mail = scan(content)
    example = Example(stored=extract(mail, content).to_bytes(), is_spam=seed % 2 == 0)
    lessons.add(example, float(seed) if time is None else time, fingerprint_of(mail), voice=voice)


@pytest.fixture(scope="module")
def imported() -> Lessons:
    lessons = Lessons()
    for seed in range(1200):
        add(lessons, seed)
    return lessons


def test_the_fixed_set_stays_whatever_comes_later(imported: Lessons) -> None:
    rest, fixed, _ = set_apart(imported)
    assert 30 <= len(fixed) <= 100
    assert len(rest) + len(fixed) == len(imported)
    later = imported.chosen(range(len(imported)))
    for seed in range(5000, 5200):
        add(later, seed)
    rest_later, fixed_later, _ = set_apart(later)
    first = {example.stored for example in fixed.examples}
    assert first <= {example.stored for example in fixed_later.examples}
    assert not first & {example.stored for example in rest_later.examples}


def test_near_copies_of_the_fixed_set_are_not_learned_either(imported: Lessons) -> None:
    _, fixed, _ = set_apart(imported)
    chosen = fixed.examples[0].stored
    seed = next(n for n, e in enumerate(imported.examples) if e.stored == chosen)
    copy = raw(seed).replace(b"\n\n", b"\n\nDear Ms Miller, ", 1)
    mail = scan(copy)
    more = imported.chosen(range(len(imported)))
    stored = extract(mail, copy).to_bytes()
    more.add(Example(stored=stored, is_spam=True), 1.0, fingerprint_of(mail), voice="mallory")
    rest, fixed_again, _ = set_apart(more)
    assert stored not in {example.stored for example in rest.examples}
    assert len(fixed_again) == len(fixed)
    groups = campaigns([*rest.prints, *fixed_again.prints])
    assert not set(groups[: len(rest)]) & set(groups[len(rest) :])


def test_only_imports_make_the_fixed_set(imported: Lessons) -> None:
    """Whoever labels in the quarantine must not choose what the gate judges by."""
    more = imported.chosen(range(len(imported)))
    for seed in range(7000, 7400):
        add(more, seed, voice="mallory")
    _, fixed, _ = set_apart(more)
    assert set(fixed.voices) == {IMPORTED}
    few = imported.chosen(range(900))
    assert len(set_apart(few)[1]) == 0


def test_order_does_not_matter(imported: Lessons) -> None:
    some = imported.chosen(range(50))
    shuffled = some.chosen(random.Random(1).sample(range(50), 50))
    one, two = some.in_canonical_order(), shuffled.in_canonical_order()
    assert [e.stored for e in one.examples] == [e.stored for e in two.examples]
    assert one.times == two.times


def test_a_finished_model_that_is_worse_on_the_fixed_set_is_refused() -> None:
    is_spam = np.arange(400) % 2 == 0
    good = np.where(is_spam, 0.9, 0.1)
    bad = good.copy()
    bad[np.flatnonzero(~is_spam)[:30]] = 0.8
    say = translator("en")
    assert fixed_set_sentences(is_spam, good, good, OWN_SET, say, threshold=0.5) == []
    (reason,) = fixed_set_sentences(is_spam, bad, good, OWN_SET, say, threshold=0.5)
    duller = np.where(is_spam & (np.arange(len(is_spam)) % 12 == 0), 0.4, good)
    missed = 100.0 * float((duller[is_spam] < 0.5).mean())
    assert 5.0 < missed < 30.0
    for allowance, refused in ((0.0, 1), (40.0, 0)):
        found = fixed_set_sentences(
            is_spam, duller, good, OWN_SET, say, threshold=0.5, spam_allowance=allowance
        )
        assert len(found) == refused
    assert "catches 15.00 percentage points more of the ham" in reason
    assert "fixed set" in reason
    few = is_spam[: 2 * MIN_TEST - 2]
    assert (
        fixed_set_sentences(few, bad[: len(few)], good[: len(few)], OWN_SET, say, threshold=0.5)
        == []
    )


def label(
    seed: int, person: str, *, at_ms: int = 0, spec: str = FEATURE_SPEC, role: str = "user"
) -> StandingLabel:
    content = raw(seed)
    mail = scan(content)
    lesson = Lesson(
        feature_spec=spec,
        hashes=extract(mail, content).to_bytes(),
        fingerprint=fingerprint_of(mail).to_bytes(),
        arrived_at_ms=5000,
    )
    return StandingLabel(
        mail_id=f"m{seed}",
        customer="acme",
        at_ms=at_ms,
        is_spam=True,
        person=person,
        role=role,
        source="web",
        disputed=False,
        lesson=lesson,
    )


def test_labels_become_lessons() -> None:
    book = LabelBook(standing=(label(1, "anna", role="admin"),), withdrawn=2, nobodys=3)
    lessons, report = lessons_of(book, per_person_and_day=10)
    assert (lessons.times, lessons.voices, lessons.customers) == ([5.0], ["anna"], ["acme"])
    assert lessons.trusted == {"anna"}
    assert lessons.examples == [Example(stored=book.standing[0].lesson.hashes, is_spam=True)]
    assert (report.given, report.withdrawn, report.nobodys) == ({"anna": 1}, 2, 3)


@pytest.mark.parametrize("at_ms", [-1, 10**15, 10**30], ids=["before", "after", "absurd"])
def test_a_label_given_while_the_clock_was_far_off_has_no_time(at_ms: int) -> None:
    odd = label(1, "anna")
    odd = replace(odd, lesson=replace(odd.lesson, arrived_at_ms=at_ms))
    book = LabelBook(standing=(odd, replace(label(2, "anna"), at_ms=1)))
    lessons, report = lessons_of(book, per_person_and_day=10)
    assert (lessons.times, report.given) == ([None, 5.0], {"anna": 2})
    assert [slab.key for slab in slabs_of(lessons.in_canonical_order())] == [("1970-01", "acme")]


def test_labels_of_another_version_are_counted_and_skipped() -> None:
    broken = label(3, "anna")
    broken = replace(broken, lesson=replace(broken.lesson, fingerprint=b"x"))
    book = LabelBook(standing=(label(1, "anna", spec="f0"), label(2, "bert"), broken))
    lessons, report = lessons_of(book, per_person_and_day=10)
    assert lessons.voices == ["bert"]
    assert (report.other_spec, report.unusable) == (1, 1)


def test_the_cap_is_per_person_and_day() -> None:
    standing = [label(n, "mallory", at_ms=n) for n in range(5)]
    standing += [label(n + 5, "mallory", at_ms=DAY_MS + n) for n in range(2)]
    standing += [label(10, "anna", at_ms=9)]
    lessons, report = lessons_of(LabelBook(standing=tuple(standing)), per_person_and_day=3)
    assert report.over_the_cap == {"mallory": 2}
    assert report.given == {"anna": 1, "mallory": 5}
    first = {label(n, "mallory").lesson.hashes for n in range(3)}
    assert first <= {example.stored for example in lessons.examples}
    lessons, report = lessons_of(
        LabelBook(standing=tuple(standing)), per_person_and_day=3, without=["mallory"]
    )
    assert (lessons.voices, report.left_out) == (["anna"], 7)


def examined(
    names: list[str], hostile: set[str], trusted: set[str]
) -> tuple[dict[str, bool], list[set[str]]]:
    """Who is found to do harm, and whose labels were heard together, where the hostile are wrong.

    A model is the worse, the more of what it learned is wrong; on wrong labels it looks bad.
    """
    truth = np.arange(len(names)) // 4 % 2 == 0
    wrong = np.isin(names, list(hostile))
    is_spam = truth ^ wrong
    heard: list[set[str]] = []

    def score(learned: np.ndarray, tested: np.ndarray) -> np.ndarray:
        heard.append({names[place] for place in (*learned, *tested)})
        noise = np.random.default_rng(0).normal(size=len(names))
        clear = (~wrong[learned]).mean() - 0.45
        return np.where(truth, 1.0, -1.0)[tested] * clear + 0.3 * noise[tested]

    voices = Voices(
        names=names,
        is_spam=is_spam,
        groups=np.arange(len(names)),
        times=[None] * len(names),
        trusted=frozenset(trusted),
    )
    found = examine(voices, score, resamples=200)
    return {one.person: bool(one.worse) for one in found}, heard


def test_who_does_most_harm_is_not_heard_about_the_others() -> None:
    """Wrong labels in the test part must not make right ones look wrong."""
    found, heard = examined(["bert", "anna", "mallory", "cora"] * 200, {"mallory"}, set())
    assert found == {"mallory": True, "anna": False, "bert": False, "cora": False}
    assert heard[-1] == {"anna", "bert", "cora"}


def test_where_an_administrator_labels_a_hostile_majority_blames_nobody_else() -> None:
    names = ["anna", "bert", "mallory", "marvin"] * 200
    hostile = {"mallory", "marvin"}
    found, heard = examined(names, hostile, {"anna"})
    assert {person for person, worse in found.items() if worse} == hostile
    assert all(len(voices - {"anna"}) <= 1 for voices in heard)  # nobody judges but anna


def test_where_nobody_is_trusted_a_majority_decides() -> None:
    """As far as it is promised: without administrators and imports there is nothing to hold to."""
    found, _ = examined(
        ["anna", "mallory", "marvin", "mona"] * 200, {"mallory", "marvin", "mona"}, set()
    )
    assert found["anna"]
