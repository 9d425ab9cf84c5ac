"""Arguments of MAIL and RCPT."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import AddressError
from gateway.smtp.commands import (
    MailParameters,
    RcptParameters,
    RefusedCommandError,
    mail_parameters,
    parse_path,
    rcpt_parameters,
    reverse_path,
)


@pytest.mark.parametrize(
    ("argument", "address", "parameters"),
    [
        ("FROM:<>", "", {}),
        ("from:<a@b.example>", "a@b.example", {}),
        ("FROM:   <a@b.example>", "a@b.example", {}),
        ("FROM:<a@b.example> SIZE=1 X", "a@b.example", {"SIZE": "1", "X": None}),
        ("FROM:<a@b.example>  size=1  ", "a@b.example", {"SIZE": "1"}),
        ('FROM:<"a>b"@c.example> X-Y=%<>', '"a>b"@c.example', {"X-Y": "%<>"}),
        ('FROM:<"a\\"> \\\\"@c.example>', '"a\\"> \\\\"@c.example', {}),
        ("FROM:<@a.example:b@c.example>", "@a.example:b@c.example", {}),
    ],
)
def test_paths(argument: str, address: str, parameters: dict[str, str | None]) -> None:
    path = parse_path(argument, "FROM:")
    assert (path.address, path.parameters) == (address, parameters)


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "<a@b.example>",
        "TO:<a@b.example>",
        "FROM:a@b.example",
        "FROM:<a@b.example",
        'FROM:<"a@b.example>',
        "FROM:<a@b.example>X=1",
        "FROM:<a@b.example> X=",
        "FROM:<a@b.example> =X",
        "FROM:<a@b.example> X=1 x=2",
        "FROM:<a@b.example> X=a=b",
        "FROM:<a@b.example> -X",
        "FROM:<a@b.example> X_Y=1",
        "FROM:<a@b.example> <c@d.example>",
        "FROM :<a@b.example>",
    ],
)
def test_no_paths(argument: str) -> None:
    with pytest.raises(RefusedCommandError) as refused:
        parse_path(argument, "FROM:")
    assert refused.value.reply.code == 501


@given(st.text(max_size=60))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        path = parse_path("TO:" + text, "TO:")
    except RefusedCommandError:
        return
    assert text.lstrip(" ").startswith(f"<{path.address}>")


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({}, MailParameters()),
        ({"SIZE": "0"}, MailParameters(size=0)),
        ({"BODY": "8bitmime", "SMTPUTF8": None}, MailParameters(body_8bit=True, smtputf8=True)),
        ({"BODY": "7BIT"}, MailParameters()),
        ({"RET": "hdrs", "ENVID": "QQ+3D1"}, MailParameters(ret="HDRS", envid="QQ+3D1")),
    ],
)
def test_mail_parameters(given_: dict[str, str | None], expected: MailParameters) -> None:
    assert mail_parameters(given_, max_bytes=1000) == expected


@pytest.mark.parametrize(
    ("given_", "code"),
    [
        ({"SIZE": "1001"}, 552),
        ({"SIZE": None}, 501),
        ({"SIZE": "-1"}, 501),
        ({"SIZE": "\u0661"}, 501),
        ({"SIZE": "1" * 21}, 501),
        ({"BODY": None}, 501),
        ({"BODY": "BINARYMIME"}, 501),
        ({"SMTPUTF8": "1"}, 501),
        ({"RET": None}, 501),
        ({"ENVID": "a+b"}, 501),
        ({"ENVID": None}, 501),
        ({"AUTH": "<>"}, 555),
        ({"NOTIFY": "NEVER"}, 555),
    ],
)
def test_refused_mail_parameters(given_: dict[str, str | None], code: int) -> None:
    with pytest.raises(RefusedCommandError) as refused:
        mail_parameters(given_, max_bytes=1000)
    assert refused.value.reply.code == code


def test_rcpt_parameters() -> None:
    assert rcpt_parameters({}) == RcptParameters()
    assert rcpt_parameters({"NOTIFY": "never", "ORCPT": "rfc822;a+2Bb@c"}) == RcptParameters(
        notify="NEVER", orcpt="rfc822;a+2Bb@c"
    )
    assert rcpt_parameters({"NOTIFY": "SUCCESS,DELAY"}).notify == "SUCCESS,DELAY"


@pytest.mark.parametrize(
    ("given_", "code"),
    [
        ({"NOTIFY": None}, 501),
        ({"NOTIFY": "NEVER,DELAY"}, 501),
        ({"NOTIFY": "SOMETIMES"}, 501),
        ({"ORCPT": "a@b"}, 501),
        ({"ORCPT": None}, 501),
        ({"SIZE": "1"}, 555),
    ],
)
def test_refused_rcpt_parameters(given_: dict[str, str | None], code: int) -> None:
    with pytest.raises(RefusedCommandError) as refused:
        rcpt_parameters(given_)
    assert refused.value.reply.code == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a@b.example",
        "a..b.@b.example",
        "prvs=1=a%b@c.example",
        '"a b"@c.example',
        "a@[192.0.2.1]",
        "a@[IPv6:2001:db8::1]",
        "x" * 100 + "@b.example",
        "grüße@müller.example",
        "a!b@c.example",
    ],
)
def test_reverse_paths_that_are_kept_as_they_came(text: str) -> None:
    assert reverse_path(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "@b.example",
        "a@",
        "a b@c.example",
        "a@b..example",
        "a@-b.example",
        '"a@b.example',
        '"a"b"@c.example',
        '"a\\"@c.example',
        "@a.example:b@c.example",
        "a@[]",
        "a@[1.2.3.4",
        "<a@b.example",
        "x" * 330 + "@b.example",
    ],
)
def test_broken_reverse_paths(text: str) -> None:
    with pytest.raises(AddressError):
        reverse_path(text)
