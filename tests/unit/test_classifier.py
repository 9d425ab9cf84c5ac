"""The naive Bayes, its counts, and the second stage."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.naive_bayes import BernoulliNB

from models.arrays import ArrayFileError, write_array
from models.classifier import (
    LEARNING_UNIT,
    Classifier,
    NaiveBayes,
    Parts,
    ScoreParameters,
    SecondStage,
    label_belief,
    sigmoid,
)
from models.counts import Counts
from models.features import LEXICAL, SPACE, Features

Sample = list[tuple[Features, bool]]


def features(*indices: int) -> Features:
    return Features(np.array(sorted(indices), np.uint32))


def sample(seed: int, ham: int = 40, spam: int = 25) -> Sample:
    """Ham and spam that share some words, in the proportion of a real mailbox."""
    generator = np.random.default_rng(seed)
    messages = []
    for is_spam, number in ((False, ham), (True, spam)):
        for _ in range(number):
            common = generator.integers(0, 300, 12)
            own = generator.integers(1000 + 500 * is_spam, 1400 + 500 * is_spam, 12)
            patterns = generator.integers(
                LEXICAL + 4500 * is_spam, LEXICAL + 5000 + 4500 * is_spam, 20
            )
            chosen = np.unique(np.concatenate([common, own, patterns]))
            messages.append((Features(chosen.astype(np.uint32)), is_spam))
    generator.shuffle(messages)  # type: ignore[arg-type]
    return messages


def counted(messages: Sample) -> Counts:
    counts = Counts()
    for item, is_spam in messages:
        counts.add(item, is_spam=is_spam)
    return counts


@pytest.mark.parametrize(("ham", "spam"), [(40, 25), (12, 60), (30, 30)])
def test_counts_scorer_and_scikit_learn_agree(ham: int, spam: int) -> None:
    messages = sample(3, ham, spam)
    parameters = ScoreParameters()
    naive = NaiveBayes(counted(messages), parameters)
    lexical = [item.lexical for item, _ in messages]
    columns = np.unique(np.concatenate(lexical))
    matrix = csr_matrix(
        (
            np.ones(sum(map(len, lexical))),
            np.searchsorted(columns, np.concatenate(lexical)),
            np.cumsum([0, *map(len, lexical)]),
        ),
        shape=(len(messages), len(columns)),
    )
    labels = np.array([is_spam for _, is_spam in messages])
    mean = 2 * ham * spam / (ham + spam)
    model = BernoulliNB(alpha=parameters.smoothing)
    model.fit(matrix, labels, sample_weight=np.where(labels, mean / spam, mean / ham))
    expected = model.feature_log_prob_[1] - model.feature_log_prob_[0]
    assert np.abs(naive.feature_log_odds(columns) - expected).max() < 1e-6
    by_hand = [matrix[row].indices for row in range(len(messages))]
    for (item, _), row in zip(messages, by_hand, strict=True):
        heard = expected[row][np.abs(expected[row]) > parameters.clear_log_odds]
        score = parameters.naive_weight * heard.sum() / max(1, len(heard))
        classifier = Classifier(naive, SecondStage(parameters).weights, LEARNING_UNIT)
        assert classifier.parts(item).naive == pytest.approx(score, abs=1e-5)


def test_the_score_agrees_with_plain_sums() -> None:
    messages = sample(6, 60, 50)
    parameters = ScoreParameters(min_class_messages=5)
    naive, stage = NaiveBayes(counted(messages), parameters), SecondStage(parameters)
    classifier = Classifier(naive, stage.weights, LEARNING_UNIT)
    for item, is_spam in messages:
        stage.learn(item, classifier.parts(item), is_spam=is_spam)
    counts = naive.counts
    for item, _ in messages:
        odds = {
            index: naive.feature_log_odds(np.array([index])).item()
            for index in item.lexical.tolist()
            if counts.ham[index] + counts.spam[index]
        }
        heard = [value for value in odds.values() if abs(value) > parameters.clear_log_odds]
        steps = [int(stage.weights[index]) for index in item.indices.tolist()]
        words, grams = sum(steps[: item.word_count]), sum(steps[item.word_count :])
        parts = classifier.parts(item)
        plain = 0.7 * sum(heard) / max(1, len(heard))
        # Each of them is rounded to a step of 2**-20.
        assert parts.naive == pytest.approx(plain, abs=(len(heard) / 2 + 1) / (1 << 20))
        assert parts.words == words * LEARNING_UNIT * parameters.reach(item.word_count)
        assert parts.grams == grams * LEARNING_UNIT * parameters.reach(len(steps) - item.word_count)
        assert parts.known_share == len(odds) / max(1, len(item.lexical))


def test_unlearning_restores_every_count() -> None:
    messages = sample(1)
    counts = counted(messages[:-1])
    before = counts.digest()
    counts.add(messages[-1][0], is_spam=messages[-1][1])
    assert counts.digest() != before
    counts.subtract(messages[-1][0], is_spam=messages[-1][1])
    assert counts.digest() == before


def test_what_was_never_learned_cannot_be_unlearned() -> None:
    counts = counted(sample(1))
    before = counts.digest()
    with pytest.raises(ValueError, match="not counted"):
        counts.subtract(features(1, LEXICAL - 1), is_spam=True)
    with pytest.raises(ValueError, match="not counted"):
        Counts().subtract(features(), is_spam=False)
    assert counts.digest() == before


@given(st.integers(0, 65), st.integers(0, 65))
@settings(max_examples=20, deadline=None)
def test_merged_slabs_equal_one_run_bit_for_bit(first: int, second: int) -> None:
    messages = sample(2)
    low, high = sorted((first, second))
    slabs = [counted(messages[:low]), counted(messages[low:high]), counted(messages[high:])]
    merged = Counts()
    for slab in reversed(slabs):
        merged.merge(slab)
    assert merged.digest() == counted(messages).digest()


def test_a_slab_survives_its_file(tmp_path: Path) -> None:
    counts = counted(sample(4))
    counts.save(tmp_path / "slab.npy")
    again = Counts.load(tmp_path / "slab.npy")
    assert (again.ham_messages, again.spam_messages) == (40, 25)
    assert again.digest() == counts.digest()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "another feature space"),
        ([[77, 1, 1]], "another feature space"),
        ([[LEXICAL, 1, 1], [5, 1, 0], [5, 0, 1]], "out of order"),
        ([[LEXICAL, 1, 1], [LEXICAL, 1, 0]], "out of range"),
        ([[LEXICAL, 1, 1], [5, 2, 0]], "more messages"),
    ],
)
def test_a_false_slab_is_refused(tmp_path: Path, rows: list[list[int]], words: str) -> None:
    write_array(tmp_path / "slab.npy", np.array(rows, np.uint32).reshape(len(rows), 3))
    with pytest.raises(ArrayFileError, match=words):
        Counts.load(tmp_path / "slab.npy")


def test_thinned_counts_keep_whatever_was_met() -> None:
    counts = counted(sample(1))
    thin = counts.thinned(5)
    assert (thin.ham_messages, thin.spam_messages) == (8, 5)
    assert np.array_equal(thin.ham > 0, counts.ham > 0)
    assert np.array_equal(thin.spam, np.ceil(counts.spam / 5))


def test_class_sizes_do_not_tilt_the_naive_bayes() -> None:
    few, many = Counts(), Counts()
    for is_spam, words in ((True, (1, 2)), (False, (1, 3))):
        for _ in range(20):
            few.add(features(*words), is_spam=is_spam)
        for _ in range(2000 if is_spam else 20):
            many.add(features(*words), is_spam=is_spam)
    naive = NaiveBayes(many, ScoreParameters())
    odds = naive.feature_log_odds(np.array([1, 2, 3], np.uint32))
    assert odds[0] == pytest.approx(0.0, abs=1e-9)
    assert odds[1] == pytest.approx(-odds[2])


def test_a_naive_bayes_that_saw_one_class_says_nothing() -> None:
    counts = Counts()
    for _ in range(50):
        counts.add(features(1, 2), is_spam=False)
    classifier = Classifier(
        NaiveBayes(counts, ScoreParameters()), np.zeros(SPACE, np.int32), LEARNING_UNIT
    )
    assert classifier.parts(features(1, 2)) == Parts(0.0, 0.0, 0.0, 0.0)


def test_known_share_is_the_share_of_features_met() -> None:
    counts = Counts()
    for number in range(20):
        counts.add(features(1, 2), is_spam=number % 2 == 0)
    _, share = NaiveBayes(counts, ScoreParameters()).contributions(features(1, 2, 3, 4, LEXICAL))
    assert share == 0.5


def test_the_second_stage_learns_and_is_exactly_repeatable() -> None:
    def learned() -> SecondStage:
        stage = SecondStage(ScoreParameters())
        classifier = Classifier(
            NaiveBayes(Counts(), ScoreParameters()), stage.weights, LEARNING_UNIT
        )
        for item, is_spam in sample(5):
            stage.learn(item, classifier.parts(item), is_spam=is_spam)
        right = [(classifier.parts(item).log_odds > 0) is spam for item, spam in sample(5)]
        assert np.mean(right) > 0.9
        return stage

    first, second = learned(), learned()
    assert np.array_equal(first.weights, second.weights)
    assert np.array_equal(first.energy, second.energy)


@pytest.mark.parametrize(
    ("likely", "believed"), [(1.0, 1.0), (0.5, 0.99), (0.01, 0.5), (1e-4, 0.0098), (0.0, 0.0)]
)
def test_a_label_is_believed_as_far_as_it_is_no_slip(likely: float, believed: float) -> None:
    assert label_belief(likely, 0.01) == pytest.approx(believed, rel=0.01)
    several = label_belief(np.array([likely, 1.0]), 0.01)
    assert several.tolist() == [label_belief(likely, 0.01), 1.0]


@pytest.mark.parametrize("log_odds", [-1e6, -30.0, 0.0, 1e6])
def test_where_no_label_is_a_slip_each_is_believed(log_odds: float) -> None:
    assert label_belief(sigmoid(log_odds), 0.0) == 1.0


def test_a_label_against_all_evidence_moves_little_and_repeated_wins() -> None:
    parameters = ScoreParameters()
    stage, counts = SecondStage(parameters), Counts()
    classifier = Classifier(NaiveBayes(counts, parameters), stage.weights, LEARNING_UNIT)
    item = features(*range(40), *range(LEXICAL, LEXICAL + 40))
    stage.weights[item.indices] = round(-0.1 / LEARNING_UNIT)
    assert classifier.parts(item).log_odds == pytest.approx(-8.0, abs=0.01)

    def told(is_spam: bool) -> float:
        before = classifier.parts(item)
        stage.learn(item, before, is_spam=is_spam)
        return classifier.parts(item).log_odds - before.log_odds

    single = told(is_spam=True)
    assert 0.0 < single < 1.0
    repeated = [told(is_spam=True) for _ in range(200)]
    assert sum(repeated) > 8.0


def test_a_weight_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        Classifier(NaiveBayes(Counts(), ScoreParameters()), np.zeros(5, np.int16), 1.0)


@pytest.mark.parametrize("log_odds", [-1e6, -800.0, -1.0, 0.0, 1.0, 800.0, 1e6])
def test_sigmoid_never_overflows(log_odds: float) -> None:
    assert 0.0 <= sigmoid(log_odds) <= 1.0
    assert sigmoid(log_odds) + sigmoid(-log_odds) == pytest.approx(1.0)
