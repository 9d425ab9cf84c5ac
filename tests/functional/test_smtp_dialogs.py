"""Dialogue scripts (tests/dialogs/*.dlg) against the real server over a real socket.

A script is read line by line; ``tests/dialogs/README.md`` has the words. Each one runs on asyncio's
own loop and on uvloop, and each must say how many messages reached the intake.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import trustme
import uvloop

from tests.fakes.smtp_client import RawClient
from tests.fakes.smtp_service import SmtpService

_SCRIPTS = sorted((Path(__file__).parent.parent / "dialogs").glob("*.dlg"))
_SILENCE_S = 0.15


@dataclass
class _Step:
    number: int
    kind: str  # C, C-, S, M or !
    text: str


@dataclass
class _Script:
    limits: dict[str, float] = field(default_factory=dict)
    tls: bool = False
    steps: list[_Step] = field(default_factory=list)


class _GivenTls:
    def __init__(self, authority: trustme.CA) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("mx.example.org").configure_cert(self._context)

    def current(self) -> ssl.SSLContext:
        return self._context


def _read(path: Path) -> _Script:
    script = _Script()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, separator, text = line.partition(" ")
        kind = kind.removesuffix(":")
        assert separator or kind == "C", f"{path.name}:{number}: no text"
        assert kind in {"C", "C-", "S", "M", "!"}, f"{path.name}:{number}: {line!r}"
        match text.split() if kind == "!" else []:
            case ["set", name, value]:
                script.limits[name] = float(value) if "." in value else int(value)
            case ["tls"]:
                script.tls = True
            case _:
                script.steps.append(_Step(number, kind, text))
    assert any(step.kind == "M" and step.text.startswith("count ") for step in script.steps)
    return script


def _bytes(text: str) -> bytes:
    r"""Python's escapes (\r \n \0 \x80 \\) and ``{N*TEXT}`` for N times TEXT."""
    out = b""
    while "{" in text:
        before, _, after = text.partition("{")
        inner, _, text = after.partition("}")
        count, star, piece = inner.partition("*")
        out += _unescape(before)
        out += (
            _unescape(piece) * int(count)
            if star and count.isdigit()
            else b"{%b}" % (_unescape(inner))
        )
    return out + _unescape(text)


def _unescape(text: str) -> bytes:
    raw = text.encode("utf-8").decode("latin-1")
    return raw.encode("latin-1").decode("unicode_escape").encode("latin-1")


class _Player:
    def __init__(self, script: _Script, service: SmtpService, client: RawClient, ca: trustme.CA):
        self._script = script
        self._service = service
        self._client = client
        self._ca = ca
        self._unsent = b""

    async def play(self) -> None:
        for step in self._script.steps:
            if step.kind in {"C", "C-"}:
                # Lines of the client that follow each other go out in one write: pipelined.
                self._unsent += _bytes(step.text) + (b"\r\n" if step.kind == "C" else b"")
                continue
            await self._send()
            try:
                await self._check(step)
            except (AssertionError, TimeoutError) as error:
                raise AssertionError(f"line {step.number}: {step.text}: {error!r}") from error
        await self._send()

    async def _send(self) -> None:
        if self._unsent:
            data, self._unsent = self._unsent, b""
            await self._client.send(data)

    async def _check(self, step: _Step) -> None:
        if step.kind == "S":
            line = (await self._client.line()).decode()
            assert fnmatchcase(line, step.text), f"the server said {line!r}"
        elif step.kind == "M":
            self._check_mail(*step.text.partition(" ")[::2])
        else:
            await self._direct(step.text)

    async def _direct(self, text: str) -> None:
        match text.split():
            case ["closed"]:
                assert await self._client.rest() == b""
            case ["silence"]:
                assert await self._client.silent_for(_SILENCE_S)
            case ["half-close"]:
                self._client.half_close()
            case ["wait", seconds]:
                await asyncio.sleep(float(seconds))
            case ["handshake"]:
                context = ssl.create_default_context()
                self._ca.configure_trust(context)
                await self._client.start_tls(context)
            case _:
                raise ValueError(f"unknown directive {text!r}")

    def _check_mail(self, what: str, text: str) -> None:
        intake = self._service.intake
        if what == "count":
            assert len(intake.mails) == int(text)
            return
        mail = intake.mails[-1]
        found: object
        match what:
            case "from":
                found = f"<{mail.envelope.mail_from}>"
            case "to":
                found = " ".join(f"<{each.spelling}>" for each in mail.envelope.rcpt_to)
            case "content":
                found, text = intake.contents[-1], _bytes(text)  # type: ignore[assignment]
            case "size":
                found = str(len(intake.contents[-1]))
            case "helo":
                found = mail.session.helo
            case "flags":
                found = " ".join(
                    name
                    for name, is_set in (
                        ("esmtp", mail.session.esmtp),
                        ("tls", bool(mail.session.tls_version)),
                        ("8bit", mail.envelope.body_8bit),
                        ("utf8", mail.envelope.smtputf8),
                    )
                    if is_set
                )
            case "declared":
                found = str(mail.envelope.declared_size)
            case _:
                raise ValueError(f"unknown fact {what!r}")
        assert found == text, f"it was {found!r}"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def test_there_are_scripts_for_the_whole_protocol() -> None:
    assert len(_SCRIPTS) >= 35


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("path", _SCRIPTS, ids=lambda path: path.stem)
def test_dialog(path: Path, loop: str, tmp_path: Path, ca: trustme.CA) -> None:
    async def play() -> None:
        script = _read(path)
        tls = _GivenTls(ca) if script.tls else None
        async with (
            SmtpService(tmp_path, tls=tls, **script.limits) as service,
            RawClient(service.host, service.port) as client,
        ):
            await _Player(script, service, client, ca).play()
            # Whatever the script did not expect shows here: the server has no more to say.
            assert await client.finish() == b""

    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(play())
