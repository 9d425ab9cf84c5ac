"""A gateway that asks for a signature serves no model of its site that another hand made."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import schwamm
from gateway.settings import load
from models.bundle import Bundle
from models.registry import Registry, baseline_directory
from tests.fakes.labelled_site import Site
from training.cli import model
from training.publish import publish
from training.signing_key import public_half, read_signing_key

pytestmark = pytest.mark.usefixtures("english")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    one = Site(tmp_path)
    one.label("anna", one.mail(320), days=range(30), role="admin")
    return one


def call(site: Site, *words: str) -> Result:
    return CliRunner().invoke(model, [*words, "--config", str(site.config)])


def with_key(site: Site, *, trains: bool = True) -> Path:
    """Follow what ``model key`` says, to the letter."""
    key = site.config.parent / "keys" / "models.key"
    key.parent.mkdir(exist_ok=True)
    done = call(site, "key", str(key))
    assert done.exit_code == 0, done.output
    sections = re.findall(r"^\[(?:training|model)\]\n.*$", done.stdout, re.MULTILINE)
    assert len(sections) == 2
    site.config.write_text("\n".join(sections if trains else sections[1:]))
    return key


def registry(site: Site) -> Registry:
    settings = load(site.config)
    return Registry(settings.models_directory, public_key=settings.model_key)


def test_a_model_is_trained_signed_and_served(site: Site) -> None:
    key = with_key(site)
    assert key.stat().st_mode & 0o777 == 0o600
    done, told = site.train()
    assert done.exit_code == 0, done.stderr
    name = str(told["model"])
    assert call(site, "promote", name).exit_code == 0
    assert registry(site).current().model_id == name
    registry(site).current().verify_signature(bytes.fromhex(public_half(read_signing_key(key))))
    assert call(site, "verify").exit_code == 0
    assert call(site, "rollback").exit_code == 0
    assert registry(site).current().origin == "baseline"  # which needs no signature


def test_a_model_of_another_hand_is_neither_promoted_nor_served(site: Site) -> None:
    done, told = site.train()
    assert done.exit_code == 0, done.stderr
    name = str(told["model"])
    assert call(site, "promote", name).exit_code == 0  # before anybody asked for signatures
    with_key(site)
    refused = call(site, "promote", name, "--force")
    assert refused.exit_code == 1
    assert "is not signed, and a signature is required" in refused.stderr
    found = CliRunner().invoke(schwamm, ["doctor", "--config", str(site.config)], obj={})
    assert "is not signed, and a signature is required" in found.stdout


def test_a_signature_of_another_key_does_not_fit(site: Site, tmp_path: Path) -> None:
    with_key(site)
    call(site, "key", str(tmp_path / "other.key"))
    done, told = site.train()
    assert done.exit_code == 0, done.stderr
    bundle = registry(site).load(str(told["model"]))
    folder = site.config.parent / "var" / "models"
    name = str(told["model"])
    (folder / "bundles" / name).rename(tmp_path / "aside")
    publish(bundle, folder, private_key=read_signing_key(tmp_path / "other.key"))
    refused = call(site, "promote", name)
    assert refused.exit_code == 1
    assert "the signature does not fit" in refused.stderr


def test_nothing_is_trained_that_could_not_serve(site: Site, tmp_path: Path) -> None:
    key = with_key(site, trains=False)
    done = site.run()
    assert done.exit_code == 1
    assert "training.signing_key" in done.stderr
    call(site, "key", str(tmp_path / "other.key"))
    site.config.write_text(
        site.config.read_text() + f'\n[training]\nsigning_key = "{tmp_path}/other.key"\n'
    )
    assert "of another key" in site.run().stderr
    key.write_text("no key\n")
    site.config.write_text(f'[training]\nsigning_key = "{key}"\n')
    done = site.run()
    assert f"{key}: it holds no key (64 hexadecimal digits)" in done.stderr
    assert "schwamm model key FILE" in done.stderr
    site.config.write_text('[training]\nsigning_key = "gone.key"\n')
    assert f"{tmp_path / 'gone.key'}: it cannot be read" in site.run().stderr
    assert not list((site.state / "models" / "bundles").glob("site-*"))


def test_a_key_that_is_there_stays(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "models.key"
    first = call(site, "key", str(path))
    before = path.read_bytes()
    again = call(site, "key", str(path))
    assert again.exit_code == 0
    assert "holds a key already" in again.stdout
    assert path.read_bytes() == before
    assert again.stdout.splitlines()[1:] == first.stdout.splitlines()[1:]
    path.write_text("something else")
    assert "it holds no key" in call(site, "key", str(path)).stderr
    assert path.read_text() == "something else"
    refused = call(site, "key", str(tmp_path / "no" / "folder.key"))
    assert refused.exit_code == 1
    assert "cannot be written" in refused.stderr


def test_the_setting_takes_a_key_or_nothing(site: Site) -> None:
    site.config.write_text('[model]\nsigned_by = "abc"\n')
    done = call(site, "list")
    assert "model.signed_by" in str(done.exception)
    assert "schwamm model key FILE" in str(done.exception)
    assert Bundle.load(baseline_directory()).manifest.signature is None
