"""A hostile person with hundreds of labels gets no worse model into service, and is named."""

from pathlib import Path

import pytest

from tests.fakes.labelled_site import Site, errors, flipped, only

pytestmark = pytest.mark.usefixtures("english")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    one = Site(tmp_path)
    one.label("anna", one.mail(320), days=range(30), role="admin")
    one.label("bert", one.mail(220), days=range(30))
    return one


def named(told: dict[str, object]) -> set[str]:
    voices = told["voices"]
    assert isinstance(voices, list)
    return {voice["person"] for voice in voices if voice["worse"]}


def test_honest_labels_pass_and_teach(site: Site) -> None:
    site.label("mallory", site.mail(180), days=range(27, 30))
    done, told = site.train()
    assert (done.exit_code, told["reasons"]) == (0, [])
    assert named(told) == set()
    assert errors(site, str(told["model"])) < 5.0


@pytest.mark.parametrize("days", [range(30), range(27, 30)], ids=["always", "in-the-last-days"])
def test_five_hundred_wrong_labels_are_refused_and_their_author_is_named(
    site: Site, days: range
) -> None:
    site.label("mallory", flipped(site.mail(500)), days=days)
    done, told = site.train()
    assert done.exit_code == 1
    assert told["gate_passed"] is False
    assert named(told) == {"mallory"}
    assert errors(site, str(told["model"])) > 10.0  # it was worth refusing
    without_mallory(site)


@pytest.mark.parametrize("spam", [True, False], ids=["spam-called-good", "good-mail-called-spam"])
def test_where_wrong_labels_are_all_there_is_of_the_last_days_their_author_is_named(
    site: Site, spam: bool
) -> None:
    wrong = only(site.mail(1000), spam=spam)
    assert len(wrong) == 500
    site.label("mallory", wrong, days=range(27, 30))
    done = site.run()
    assert done.exit_code == 1
    said = done.stdout + done.stderr  # where nothing is left to judge by, no model is made
    assert "with the labels of mallory (500)" in said
    assert "--without mallory" in said
    without_mallory(site)


def without_mallory(site: Site) -> None:
    """The way out that the refusal names."""
    done, told = site.train("--without", "mallory")
    assert (done.exit_code, told["reasons"]) == (0, [])
    labels = told["labels"]
    assert isinstance(labels, dict)
    assert labels["left_out"] == 500
    assert errors(site, str(told["model"])) < 5.0


def test_nobody_else_to_compare_with_is_no_proof(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.label("mallory", flipped(site.mail(400)), days=range(30))
    done, told = site.train()
    assert done.exit_code == 1
    reasons = told["reasons"]
    assert isinstance(reasons, list)
    assert any("nobody else labelled enough" in reason for reason in reasons)


def test_an_administrator_may_be_the_only_one(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.label("anna", site.mail(600), days=range(30), role="admin")
    done, told = site.train()
    assert (done.exit_code, told["reasons"]) == (0, [])


def test_of_one_day_a_person_s_first_labels_count(site: Site) -> None:
    site.label("mallory", flipped(site.mail(500)), days=range(29, 30))
    done, told = site.train()
    assert told["labels"]["over_the_cap"] == {"mallory": 300}  # type: ignore[index]
    assert told["labels"]["learned"]["mallory"] == 200  # type: ignore[index]
    assert done.exit_code == 1
    assert named(told) == {"mallory"}
