"""Two models on the same mail: where they agree, where one would have decided otherwise."""

from dataclasses import replace

import pytest

from gateway.core.verdict import ShadowFinding
from gateway.store.scored import ScoredMail
from models.calibration import DEFAULT_SCALE, PointsScale
from training.shadow import Band, band, compare


def usual(_model: str) -> PointsScale:
    return DEFAULT_SCALE


def mail(mail_id: str, live: float, shadow: float, model: str = "site-b") -> ScoredMail:
    return ScoredMail(
        mail_id=mail_id,
        received_at_ms=0,
        verdict="ham",
        model_id="site-a",
        probability=live,
        known_share=1.0,
        shadow=ShadowFinding(probability=shadow, known_share=1.0, model_id=model),
    )


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0.0, Band.NONE), (0.69, Band.NONE), (0.7, Band.SOME), (0.995, Band.FULL), (1.0, Band.FULL)],
)
def test_bands_are_those_of_the_points(probability: float, expected: Band) -> None:
    assert band(probability, DEFAULT_SCALE) is expected


def test_agreement_and_differences_across_thresholds() -> None:
    mails = [
        mail("1", 0.1, 0.2),
        mail("2", 0.999, 0.998),
        mail("3", 0.6, 0.999),
        mail("4", 0.9, 0.5),
        mail("5", 0.1, 0.999, model="site-c"),
        replace(mail("6", 0.1, 0.9), shadow=None),
    ]
    found = compare(mails, {}, shadow="site-b", scale=usual)
    assert (found.live, found.messages, found.agreed) == ("site-a", 4, 2)
    assert found.bands == {
        (Band.NONE, Band.NONE): 1,
        (Band.FULL, Band.FULL): 1,
        (Band.NONE, Band.FULL): 1,
        (Band.SOME, Band.NONE): 1,
    }
    assert [one.mail_id for one in found.differences] == ["4", "3"]


def test_each_model_is_read_on_its_own_scale() -> None:
    strict = PointsScale(unsure_from=0.9)
    scales = {"site-a": DEFAULT_SCALE, "site-b": strict}
    found = compare([mail("1", 0.8, 0.8)], {}, shadow="site-b", scale=scales.__getitem__)
    assert found.bands == {(Band.SOME, Band.NONE): 1}


def test_labels_tell_who_was_wrong() -> None:
    mails = [mail("1", 0.1, 0.999), mail("2", 0.1, 0.999), mail("3", 0.9, 0.999)]
    labels = {"1": True, "2": False, "3": True}
    found = compare(mails, labels, shadow="site-b", scale=usual)
    spam, ham = found.by_label["spam"], found.by_label["ham"]
    assert (spam.messages, spam.live_wrong, spam.shadow_wrong) == (2, 1, 0)
    assert (ham.messages, ham.live_wrong, ham.shadow_wrong) == (1, 0, 1)
    assert {one.mail_id: one.label for one in found.differences} == {
        "1": "spam",
        "2": "ham",
        "3": "spam",
    }


def test_only_one_serving_model_is_compared_with_the_one_that_served_last() -> None:
    earlier = replace(mail("1", 0.1, 0.999), model_id="baseline-a")
    mails = [earlier, replace(earlier, mail_id="2"), mail("3", 0.1, 0.999), mail("4", 0.1, 0.1)]
    labels = {"1": True, "2": True, "3": True}
    asked = []

    def scale(model: str) -> PointsScale:
        asked.append(model)  # reads a whole model each time
        return DEFAULT_SCALE

    found = compare(mails, labels, shadow="site-b", scale=scale)
    assert sorted(asked) == ["baseline-a", "site-a", "site-b"]
    assert (found.live, found.messages, found.beside_others) == ("site-a", 2, 2)
    assert found.by_label["spam"].messages == 1
    assert [one.mail_id for one in found.differences] == ["3"]


def test_of_many_differences_the_greatest_are_kept() -> None:
    mails = [mail(str(n), 0.5 - n / 1000, 0.999) for n in range(100)]
    found = compare(mails, {"0": True}, shadow="site-b", scale=usual)
    assert [one.mail_id for one in found.differences] == ["0", *map(str, range(99, 80, -1))]
