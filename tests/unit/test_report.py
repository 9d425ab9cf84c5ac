"""The report: whole, self-contained, in two languages, and safe with words from spam."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from training.evaluate import Evaluation
from training.measures import MEASURE_NAMES, measure
from training.measures_bootstrap import intervals
from training.protocols import EvaluationProtocol, Mistake, Run
from training.report import html_report
from training.report_plots import learning_plot, roc_plot, roca_by_block
from training.report_texts import ENGLISH, GERMAN, LANGUAGES

HOSTILE = b"""From: "</style><script>alert(1)</script>" <a@b.example>
Subject: <img src=x onerror=alert(2)> =?utf-8?q?=E2=80=AEtxt?=

body
"""
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Collects tags and checks that they are nested rightly."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def evaluation(protocol="online", scores=None, **changes):
    random = np.random.default_rng(1)
    is_spam = random.random(600) < 0.5
    if scores is None:
        scores = 1.0 / (1.0 + np.exp(-random.normal(size=600) - 4.0 * is_spam + 2.0))
    mistake = Mistake(
        source="<b>x</b>.eml",
        position=417,
        is_spam=False,
        score=0.987654,
        raw_head=HOSTILE,
        words=(("<i>cheap</i>", 2.5), ("hello", -1.25)),
    )
    run = Run(
        is_spam=is_spam,
        scores=scores,
        threshold=0.5,
        seconds=1.5,
        filter_seconds=1.0,
        learned=600,
        mistakes=(mistake,),
    )
    values = {
        "filter_name": "a <filter> & more",
        "protocol": EvaluationProtocol.parse(protocol),
        "run": run,
        "measures": measure(is_spam, scores),
        "intervals": intervals(is_spam, scores, resamples=20),
        "skipped": 3,
        "note": "noted <here>",
    }
    return Evaluation(**(values | changes))


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_page_is_well_formed_and_tells_the_measures(language):
    tested = evaluation()
    page = Page(html_report(tested, language=language))
    text = " ".join(page.texts)
    words = LANGUAGES[language]
    for name in MEASURE_NAMES:
        assert words[name] in text
        value = f"{tested.measures.as_dict()[name]:.3f}".replace(".", words["decimal_sign"])
        assert value in text
    for shown in ("a <filter> & more", "noted <here>", "3 ", "417"):
        assert shown in text
    for number in ("0.987654", "+2.50", "-1.25"):
        assert number.replace(".", words["decimal_sign"]) in text
    assert page.tags.count("svg") == 5
    assert ("lang", language) in page.attributes


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_filter_that_tells_no_words_says_so_once(language):
    tested = evaluation(filter_name="pipeline, from nothing")
    silent = replace(tested.run.mistakes[0], words=())
    text = html_report(
        replace(tested, run=replace(tested.run, mistakes=(silent,) * 3)), language=language
    )
    words = LANGUAGES[language]
    assert text.count(words["no_words"]) == 1
    assert words["mistakes_text"] not in text
    name = {"en": "the gateway&#x27;s whole scoring, from nothing", "de": "aus dem Nichts"}
    assert name[language] in text


def test_words_from_spam_stay_words():
    text = html_report(evaluation())
    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "i" not in page.tags
    assert "<i>cheap</i>" in " ".join(page.texts)
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_the_page_loads_nothing_from_anywhere():
    page = Page(html_report(evaluation()))
    assert not {"script", "link", "iframe", "object", "image"} & set(page.tags)
    for name, value in page.attributes:
        if name in {"src", "href", "xlink:href", "action", "data"}:
            assert value.startswith("#")
    assert "url(http" not in html_report(evaluation())
    policies = [value for name, value in page.attributes if name == "content"]
    assert any(value.startswith("default-src 'none'") for value in policies)


def test_each_plot_is_an_svg_with_ids_of_its_own():
    text = html_report(evaluation())
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    ids = []
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        own = set(re.findall(r'\bid="([^"]+)"', drawing))
        used = set(re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', drawing))
        assert {one or other for one, other in used} <= own
        ids += own
    assert len(ids) == len(set(ids))


def test_a_batch_has_no_learning_curve():
    page = Page(html_report(evaluation("batch")))
    assert page.tags.count("svg") == 3
    assert ENGLISH["learning_title"] not in page.texts


def test_scores_that_are_no_probabilities_get_no_calibration_plot():
    random = np.random.default_rng(1)
    points = random.normal(size=600) * 10.0
    page = Page(html_report(evaluation("batch", scores=points)))
    assert page.tags.count("svg") == 2
    assert ENGLISH["calibration_title"] not in page.texts


def test_points_between_0_and_1_are_no_probabilities():
    tested = evaluation()
    points = replace(tested.run, threshold=6.0)
    page = Page(html_report(replace(tested, run=points)))
    assert ENGLISH["calibration_title"] not in page.texts
    assert ENGLISH["log_odds"] not in page.texts
    assert ENGLISH["score"] in page.texts


def test_the_words_that_weighed_most_are_told_whichever_way_they_spoke():
    """A filter names those for spam first; a missed spam is explained by those against."""
    tested = evaluation()
    weights = [(f"pro{n}", 0.01) for n in range(14)] + [(f"contra{n}", -2.0) for n in range(14)]
    missed = replace(tested.run.mistakes[0], is_spam=True, score=2.8e-05, words=tuple(weights))
    text = html_report(replace(tested, run=replace(tested.run, mistakes=(missed,))))
    assert [f"contra{n}<" in text for n in range(14)] == [True] * 14
    assert "pro1<" not in text
    assert "Score 0.000028 " in text  # no exponent


@pytest.mark.parametrize(("shift", "whole"), [(4.0, False), (0.0, True), (-4.0, True)])
def test_both_errors_can_be_seen_on_the_axes_however_bad_a_filter_is(shift, whole):
    random = np.random.default_rng(1)
    is_spam = random.random(600) < 0.5
    log_odds = random.normal(size=600) + shift * (is_spam - 0.5)
    drawn = roc_plot(
        replace(evaluation().run, is_spam=is_spam, scores=1.0 / (1.0 + np.exp(-log_odds))), ENGLISH
    )
    assert (">99.99%<" in drawn) is whole
    ((x, y),) = re.findall(r'xlink:href="#roc-m\w+" x="([-\d.]+)" y="([-\d.]+)" style="fill', drawn)
    frame = re.search(r"<clipPath[^>]*>\s*<rect x=.([\d.]+). y=.([\d.]+). width=.([\d.]+). "
                      r"height=.([\d.]+).", drawn)  # fmt: skip
    left, top, width, height = map(float, frame.groups())
    assert left <= float(x) <= left + width
    assert top <= float(y) <= top + height


def test_no_rate_is_drawn_before_the_first_message_of_its_kind():
    """All ham first: spam missed is unknown until spam comes, and not 0%."""
    run = evaluation().run
    ham_first = replace(run, is_spam=np.arange(600) >= 300, scores=np.full(600, 0.1))
    drawn = learning_plot(ham_first, ENGLISH)
    paths = re.findall(r'<path d="([^"]+)" clip-path="[^"]+" style="[^"]*stroke: #c2410c; '
                       r'stroke-width: 2[^"]*"', drawn)  # fmt: skip
    ham_paths = re.findall(r'<path d="([^"]+)" clip-path="[^"]+" style="[^"]*stroke: #1d5f9f; '
                           r'stroke-width: 2[^"]*"', drawn)  # fmt: skip
    (spam,), (ham,) = paths, ham_paths
    assert float(spam.split()[1]) > (float(ham.split()[1]) + float(ham.split()[-2])) / 2
    assert ENGLISH["share_wrong"] in drawn


def test_a_plot_without_a_point_is_left_out():
    tested = evaluation()
    ham_first = replace(tested.run, is_spam=np.arange(600) >= 300)
    page = Page(html_report(replace(tested, run=ham_first)))
    assert ENGLISH["roca_title"] not in page.texts
    assert page.tags.count("svg") == 4


@pytest.mark.parametrize("scores", [np.zeros(600), np.ones(600), np.full(600, 0.5)])
def test_degenerate_scores_can_be_drawn(scores):
    assert Page(html_report(evaluation(scores=scores))).tags.count("svg") == 5


def test_the_same_run_gives_the_same_bytes():
    assert html_report(evaluation()) == html_report(evaluation())


def test_both_languages_say_everything():
    assert ENGLISH.keys() == GERMAN.keys()
    fields = re.compile(r"\{\w*\}")
    for key, text in ENGLISH.items():
        assert sorted(fields.findall(text)) == sorted(fields.findall(GERMAN[key])), key


def test_blocks_without_both_kinds_are_left_out():
    run = evaluation().run
    one_kind = Run(
        is_spam=np.arange(600) >= 300,
        scores=run.scores,
        threshold=0.5,
        seconds=1,
        filter_seconds=1,
        learned=0,
    )
    assert roca_by_block(one_kind) == []
    assert len(roca_by_block(run)) == 10
