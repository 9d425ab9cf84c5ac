"""Several hostile people, slow and one-sided ones; and honest ones whose clicks went wrong."""

from pathlib import Path

import pytest

from models.features import Features, extract
from models.message import scan
from models.registry import Registry
from tests.fakes.labelled_site import BOTH, SPAM_WORDS, Labelled, Site, errors, flipped

pytestmark = pytest.mark.usefixtures("english")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    one = Site(tmp_path)
    one.label("anna", one.mail(320), days=range(30), role="admin")
    one.label("bert", one.mail(220), days=range(30))
    return one


def blamed(told: dict[str, object]) -> set[str]:
    voices = told["voices"]
    assert isinstance(voices, list)
    return {voice["person"] for voice in voices if voice["worse"]}


def test_three_who_outnumber_the_honest_cannot_turn_the_blame_on_them(site: Site) -> None:
    colluding = {"mallory", "marvin", "mona"}
    for person in sorted(colluding):
        site.label(person, flipped(site.mail(167)), days=range(10, 30))
    done, told = site.train()
    assert done.exit_code == 1
    assert blamed(told) == colluding
    way_out = [part for person in sorted(colluding) for part in ("--without", person)]
    done, told = site.train(*way_out)
    assert (done.exit_code, told["reasons"]) == (0, [])
    assert errors(site, str(told["model"])) < 5.0


def test_thirty_of_whom_each_labels_too_little_to_be_seen_are_seen_together(site: Site) -> None:
    for number in range(30):
        site.label(f"m{number}", flipped(site.mail(18)), days=range(10, 30))
    done, told = site.train()
    assert done.exit_code == 1
    assert blamed(told) == {"*"}
    reasons = told["reasons"]
    assert isinstance(reasons, list)
    assert any("schwamm train --without '*'" in reason for reason in reasons)
    done, told = site.train("--without", "*")
    assert (done.exit_code, told["reasons"]) == (0, [])
    assert told["labels"]["left_out"] == 30 * 18 + 220  # type: ignore[index]
    assert errors(site, str(told["model"])) < 5.0


def test_thirty_a_day_over_seventeen_days_are_under_the_cap_and_refused(site: Site) -> None:
    site.label("mallory", flipped(site.mail(510)), days=range(13, 30))
    done, told = site.train()
    assert told["labels"]["over_the_cap"] == {}  # type: ignore[index]
    assert done.exit_code == 1
    assert blamed(told) == {"mallory"}


def copies(site: Site, number: int) -> list[bytes]:
    """One campaign: a text with a number that changes."""
    words = site.chance.choices(SPAM_WORDS, k=12) + site.chance.choices(BOTH, k=30)
    text = " ".join(words).encode()
    return [b"%s\n\n%s %d\n" % (site.heads[True][0], text, place) for place in range(number)]


def test_one_campaign_called_good_three_hundred_times_teaches_twenty_and_serves_only_if_harmless(
    site: Site,
) -> None:
    flood: list[Labelled] = [(raw, False) for raw in copies(site, 300)]
    site.label("mallory", flood, days=range(10, 30))
    done, told = site.train()
    bundle = Registry(site.state / "models").load(str(told["model"]))
    # What all the others teach, and of the campaign one lesson for each of its twenty days.
    learned = bundle.manifest.ham_messages + bundle.manifest.spam_messages
    without = site.train("--without", "mallory")[1]
    honest = Registry(site.state / "models").load(str(without["model"])).manifest
    assert learned - honest.ham_messages - honest.spam_messages == 20
    assert done.exit_code == 1 or errors(site, str(told["model"])) < 5.0


def test_an_honest_person_who_misclicks_now_and_then_blocks_nobody(site: Site) -> None:
    mail = site.mail(180)
    clicked = [(raw, is_spam is not (place % 40 == 7)) for place, (raw, is_spam) in enumerate(mail)]
    assert sum(one != other for one, other in zip(clicked, mail, strict=True)) == 5
    site.label("cora", clicked, days=range(30))
    done, told = site.train()
    assert (done.exit_code, told["reasons"]) == (0, [])
    assert errors(site, str(told["model"])) < 5.0


def test_misclicks_that_do_block_are_named_and_mended_label_by_label(site: Site) -> None:
    wrong = unknown_to_the_baseline(site, 6)
    site.label("cora", [*site.mail(40), *((raw, False) for raw in wrong)], days=range(30, 31))
    ids = {f"mail{number}" for number in range(site.number - 5, site.number + 1)}
    done, told = site.train()
    assert done.exit_code == 1
    named = {one["id"] for one in told["newly_caught"]}  # type: ignore[attr-defined]
    assert len(named) >= 3
    assert named <= ids
    plain = site.run_plain().stdout
    assert "schwamm quarantine label ID spam" in plain
    assert all(f"  {mail_id}: " in plain for mail_id in named)
    assert plain.count("ham says cora") == len(named)
    site.number -= 6
    site.label("cora", [(raw, True) for raw in wrong], days=range(31, 32))
    done, told = site.train()
    assert (done.exit_code, told["reasons"]) == (0, [])


def unknown_to_the_baseline(site: Site, number: int) -> list[bytes]:
    """Spam of this site that the shipped model does not call spam: its header looks good."""
    site.train()  # puts the shipped model in place
    shipped = Registry(site.state / "models").current()
    found = []
    for _ in range(200):
        text = " ".join(site.chance.choices(SPAM_WORDS, k=200)).encode()
        raw = site.chance.choice(site.heads[False]) + b"\n\n" + text + b"\n"
        features = Features.from_bytes(extract(scan(raw), raw).to_bytes())
        if shipped.score_features(features).probability < 0.4:
            found.append(raw)
    return found[:number]
