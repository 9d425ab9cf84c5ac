"""People click the wrong button now and then: that must not cost a site its filter."""

import random
from dataclasses import replace

import numpy as np

from models.classifier import ScoreParameters
from tests.fakes.labelled_site import Labelled, letter, real
from training.measures import Measures, measure
from training.online import OnlineFilter

ONE_IN = 12


def stream(number: int) -> list[Labelled]:
    chance = random.Random(3)
    heads = {True: real("spam"), False: real("ham")}
    kinds = [chance.random() < 0.5 for _ in range(number)]
    return [(letter(chance, heads[kind], is_spam=kind), kind) for kind in kinds]


def learned(mail: list[Labelled], *, slips: bool, forgiving: bool) -> Measures:
    """Learn each mail after it was scored; measured is by the truth, whatever was told."""
    parameters = ScoreParameters()
    if not forgiving:
        parameters = replace(parameters, label_slips=0.0)
    tested, scores = OnlineFilter(None, parameters), []
    for number, (raw, is_spam) in enumerate(mail):
        scores.append(tested.classify(raw))
        wrong = slips and number % ONE_IN == ONE_IN - 1
        tested.train(raw, is_spam is not wrong)
    half = len(mail) // 2
    labels = np.array([is_spam for _, is_spam in mail[half:]])
    return measure(labels, np.array(scores[half:]))


def test_wrong_labels_among_many_right_ones_are_hardly_believed() -> None:
    mail = stream(1600)
    believed = learned(mail, slips=True, forgiving=False)
    forgiven = learned(mail, slips=True, forgiving=True)
    assert believed.spam_missed_percent_at_ham_0_1_percent > 20.0
    assert forgiven.spam_missed_percent_at_ham_0_1_percent < 5.0
    assert forgiven.roca_complement_percent < 0.5 * believed.roca_complement_percent


def test_without_wrong_labels_forgiving_costs_nothing() -> None:
    mail = stream(1600)
    forgiven = learned(mail, slips=False, forgiving=True)
    assert forgiven.roca_complement_percent == 0.0
    assert forgiven.spam_misclassified_percent == forgiven.ham_misclassified_percent == 0.0
