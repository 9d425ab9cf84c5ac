"""What is documented is what there is."""

from pathlib import Path

from pydantic import BaseModel

from gateway.settings import DnsblSettings, Settings


def _names() -> list[str]:
    names = []
    for section, info in Settings.model_fields.items():
        if section == "dnsbl":
            names += [f"dnsbl[].{name}" for name in DnsblSettings.model_fields]
            continue
        assert isinstance(info.annotation, type)
        assert issubclass(info.annotation, BaseModel)
        names += [f"{section}.{name}" for name in info.annotation.model_fields]
    return names


def test_every_setting_is_documented_and_nothing_else(root: Path) -> None:
    page = (root / "docs" / "settings.md").read_text()
    listed = {
        name.strip("` ")
        for line in page.splitlines()
        if line.startswith("| `")
        for name in line.split("|")[1].split(",")
    }
    assert listed == set(_names())
