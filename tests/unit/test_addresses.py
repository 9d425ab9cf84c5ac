import pytest

from gateway.core.addresses import normal_domain, parse_address
from gateway.core.errors import AddressError


@pytest.mark.parametrize(
    ("spelling", "key"),
    [
        ("Anna@Trial.Example", "anna@trial.example"),
        ("anna@trial.example.", "anna@trial.example"),
        ('"anna"@trial.example', "anna@trial.example"),
        ('"an\\na"@trial.example', "anna@trial.example"),
        ('"a b"@trial.example', "a b@trial.example"),
        ("anna+shop@trial.example", "anna+shop@trial.example"),
        ("jürgen@müller.example", "jürgen@xn--mller-kva.example"),
        ("x@XN--MLLER-KVA.example", "x@xn--mller-kva.example"),
        ("o'brien!"[:-1] + "@trial.example", "o'brien@trial.example"),
    ],
)
def test_the_key_is_the_normal_form(spelling: str, key: str) -> None:
    address = parse_address(spelling)
    assert address.key == key
    assert address.spelling == spelling


def test_the_plus_tag_is_no_other_mailbox() -> None:
    assert parse_address("Anna+Shop@trial.example").untagged_key == "anna@trial.example"
    assert parse_address("+x@trial.example").untagged_key == "+x@trial.example"


@pytest.mark.parametrize(
    "spelling",
    [
        "",
        "anna",
        "@trial.example",
        "anna@",
        "anna@.",
        "anna@[127.0.0.1]",
        "anna@127.0.0.1",
        "victim%other.example@trial.example",
        "other.example!victim@trial.example",
        '"victim@other.example"@trial.example',
        '"victim%other.example"@trial.example',
        "@a.example,@b.example:victim@trial.example",
        "anna@trial..example",
        "anna@-trial.example",
        "anna@trial.exam ple",
        "an na@trial.example",
        "anna@trial.example\x00",
        "an\rna@trial.example",
        '"anna@trial.example',
        '"an"na"@trial.example',
        '""@trial.example',
        ".anna@trial.example",
        "anna.@trial.example",
        "a" * 65 + "@trial.example",
        "anna@" + "a" * 64 + ".example",
        "anna@" + ".".join(["abcdefgh"] * 40),
        "anna@\udcff.example",
        "anna@a\u200db.example",
        "anna@ß/.example",
        "anna@" + "ß" * 70 + ".example",
        "anna@bü..example",
    ],
)
def test_what_could_make_us_a_relay_is_refused(spelling: str) -> None:
    with pytest.raises(AddressError):
        parse_address(spelling)


def test_a_domain_becomes_an_a_label() -> None:
    assert normal_domain("STRASSE.example") == "strasse.example"
    assert normal_domain("Straße.example") == normal_domain("STRAẞE.example")
    assert normal_domain("Straße.example") == "xn--strae-oqa.example"  # IDNA 2008: not strasse
    assert normal_domain("βόλος.example") == "xn--nxasmm1c.example"
    assert normal_domain("Bücher。Example") == "xn--bcher-kva.example"
    assert normal_domain("bücher.example") == "xn--bcher-kva.example"
