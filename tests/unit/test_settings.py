from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.settings import find_config, load


def write(path: Path, text: str) -> Path:
    config = path / "gateway.toml"
    config.write_text(text)
    return config


def test_an_empty_file_is_a_whole_configuration(tmp_path: Path) -> None:
    settings = load(write(tmp_path, ""))
    assert settings.smtp.port == 2525
    assert settings.paths.state == tmp_path / "var"
    assert settings.index_url == f"sqlite:///{tmp_path}/var/index.db"


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHWAMM_SMTP__PORT", "9925")
    assert load(write(tmp_path, "[smtp]\nport = 1\n")).smtp.port == 9925


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[smtp]\nprot = 25\n", ["'smtp.prot'", "'port'"]),
        ("[smpt]\nport = 25\n", ["'smpt'", "'smtp'"]),
        ("[smtp]\nport = 70000\n", ["'smtp.port'", "65535", "70000"]),
        ('[smtp]\nport = "many"\n', ["'smtp.port'", "integer"]),
        ("[[dnsbl]]\nzone='a'\ncode={}\n", ["'dnsbl.0.code'", "'codes'"]),
        ("[[dnsbl]]\nzone='a'\ncodes={'127.255.255.254'='X'}\n", ["127.255.255.254", "no listing"]),
        ("[smtp\n", ["not valid TOML"]),
    ],
)
def test_a_mistake_is_named_with_the_nearest_right_word(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    for word in [*words, "gateway.toml"]:
        assert word in str(caught.value)


def test_a_mistyped_environment_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHWAMM_SMPT__PORT", "1")
    with pytest.raises(ConfigError, match=r"SCHWAMM_SMPT__PORT.*SCHWAMM_SMTP__PORT"):
        load(write(tmp_path, ""))


def test_no_configuration_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="schwamm init"):
        find_config(tmp_path / "missing.toml")
