"""MAIL and RCPT arguments: paths and parameters (RFC 5321 §4.1.2), without any input or output.

Strict where leniency makes open relays, lenient with reverse-paths, which are never routed: good
mail comes from addresses that RFC 5321 would not allow (two dots in a row, long tags).
"""

import re
from dataclasses import dataclass

from gateway.core.addresses import normal_domain
from gateway.core.errors import AddressError
from gateway.core.reply import Reply
from gateway.smtp.answers import BAD_ARGUMENTS, TOO_BIG, UNKNOWN_PARAMETER

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_VALUE = re.compile(r"[!-<>-~\u0080-\U0010ffff]+\Z")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-\u0080-\U0010ffff]+\Z")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"\Z')
_LITERAL = re.compile(r"\[[A-Za-z0-9:.\-]{1,60}\]\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_NOTIFY = ("SUCCESS", "FAILURE", "DELAY")
_MAX_ENVID = 100  # RFC 3461 §4.4
_MAX_ORCPT = 500  # RFC 3461 §4.2
# RFC 6533 §3: printable characters as they are or as \x{...}
_UTF8_XTEXT = re.compile(r"(?:[!-*,-<>-\[\]-~\u0080-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})+\Z")
_MAX_SIZE_DIGITS = 20  # RFC 1870 §3


class RefusedCommandError(Exception):
    """The command is not obeyed; ``reply`` says so, the text is for our log."""

    def __init__(self, reply: Reply, reason: str) -> None:
        super().__init__(reason)
        self.reply = reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What stood between the angle brackets, and the parameters behind them, upper-case keys.

    A parameter without a value maps to None.
    """

    address: str
    parameters: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailParameters:
    """The parameters of MAIL that we know. ``ret`` and ``envid`` are those of DSN (RFC 3461)."""

    size: int | None = None
    body_8bit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RcptParameters:
    """The parameters of RCPT that we know, all of DSN (RFC 3461)."""

    notify: str = ""  # NEVER, or some of SUCCESS, FAILURE and DELAY with commas between them
    orcpt: str = ""


_PLAIN_MAIL = MailParameters()
_PLAIN_RCPT = RcptParameters()


def parse_path(argument: str, keyword: str) -> Path:
    """Read ``FROM:<address> KEY=VALUE ...``; blanks after the colon are tolerated.

    Raises:
        RefusedCommandError: 501.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise RefusedCommandError(BAD_ARGUMENTS, f"no {keyword}")
    rest = argument[len(keyword) :].lstrip(" ")
    end = _closing_bracket(rest)
    tail = rest[end + 1 :]
    if tail and not tail.startswith(" "):
        raise RefusedCommandError(BAD_ARGUMENTS, "no blank between path and parameters")
    return Path(address=rest[1:end], parameters=_parameters(tail) if tail else {})


def _closing_bracket(text: str) -> int:
    if not text.startswith("<"):
        raise RefusedCommandError(BAD_ARGUMENTS, "path without angle brackets")
    end = _unquoted_bracket(text) if '"' in text else text.find(">")
    if end < 0:
        raise RefusedCommandError(BAD_ARGUMENTS, "path without closing bracket")
    return end


def _unquoted_bracket(text: str) -> int:
    quoted = escaped = False
    for position, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\" and quoted:
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == ">" and not quoted:
            return position
    return -1


def _parameters(tail: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in tail.split(" "):
        if not word:
            continue
        key, equals, value = word.partition("=")
        if _KEYWORD.match(key) is None or (equals and _VALUE.match(value) is None):
            raise RefusedCommandError(BAD_ARGUMENTS, "malformed parameter")
        key = key.upper()
        if key in found:
            raise RefusedCommandError(BAD_ARGUMENTS, "parameter given twice")
        found[key] = value if equals else None
    return found


def mail_parameters(
    given: dict[str, str | None], *, max_bytes: int, auth: bool = False
) -> MailParameters:
    """Check the parameters of MAIL.

    Those of DSN are taken where DSN is not announced, too: refusing them would lose good mail of
    careless clients, and nothing was promised to them. With ``auth``, where SMTP AUTH is offered,
    its parameter is checked and means nothing to us (RFC 4954 §5).

    Raises:
        RefusedCommandError: 501, 552 or 555.
    """
    if not given:
        return _PLAIN_MAIL
    left = dict(given)
    size = _size(left, max_bytes)
    body = (left.pop("BODY", "7BIT") or "").upper()
    if body not in {"7BIT", "8BITMIME"}:
        raise RefusedCommandError(BAD_ARGUMENTS, "unknown BODY")
    smtputf8 = "SMTPUTF8" in left
    if left.pop("SMTPUTF8", None) is not None:
        raise RefusedCommandError(BAD_ARGUMENTS, "SMTPUTF8 takes no value")
    ret = ""
    if "RET" in left:
        ret = (left.pop("RET") or "").upper()
        if ret not in {"FULL", "HDRS"}:
            raise RefusedCommandError(BAD_ARGUMENTS, "unknown RET")
    envid = _xtext(left, "ENVID")
    if auth and "AUTH" in left and left["AUTH"] != "<>":
        _xtext(left, "AUTH", _MAX_ORCPT)
    elif auth:
        left.pop("AUTH", None)
    if left:
        raise RefusedCommandError(UNKNOWN_PARAMETER, "unknown parameter of MAIL")
    return MailParameters(
        size=size, body_8bit=body == "8BITMIME", smtputf8=smtputf8, ret=ret, envid=envid
    )


def _size(left: dict[str, str | None], max_bytes: int) -> int | None:
    if "SIZE" not in left:
        return None
    text = left.pop("SIZE") or ""
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_SIZE_DIGITS:
        raise RefusedCommandError(BAD_ARGUMENTS, "malformed SIZE")
    size = int(text)
    if size > max_bytes:
        raise RefusedCommandError(TOO_BIG, f"declared {size} octets")
    return size


def _xtext(left: dict[str, str | None], key: str, most: int = _MAX_ENVID) -> str:
    if key not in left:
        return ""
    value = left.pop(key) or ""
    if not value or len(value) > most or _XTEXT.match(value) is None:
        raise RefusedCommandError(BAD_ARGUMENTS, f"malformed {key}")
    return value


def rcpt_parameters(given: dict[str, str | None]) -> RcptParameters:
    """Check the parameters of RCPT.

    Raises:
        RefusedCommandError: 501 or 555.
    """
    if not given:
        return _PLAIN_RCPT
    left = dict(given)
    notify = _notify(left.pop("NOTIFY") or "") if "NOTIFY" in left else ""
    orcpt = _orcpt(left.pop("ORCPT") or "") if "ORCPT" in left else ""
    if left:
        raise RefusedCommandError(UNKNOWN_PARAMETER, "unknown parameter of RCPT")
    return RcptParameters(notify=notify, orcpt=orcpt)


def _notify(value: str) -> str:
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return "NEVER"
    if not set(words) <= set(_NOTIFY):
        raise RefusedCommandError(BAD_ARGUMENTS, "malformed NOTIFY")
    return ",".join(word for word in _NOTIFY if word in words)


def _orcpt(value: str) -> str:
    kind, _, address = value.partition(";")
    pattern = _UTF8_XTEXT if kind.lower() == "utf-8" else _XTEXT
    if len(value) > _MAX_ORCPT or not address or _KEYWORD.match(kind) is None:
        raise RefusedCommandError(BAD_ARGUMENTS, "malformed ORCPT")
    if pattern.match(address) is None:
        raise RefusedCommandError(BAD_ARGUMENTS, "malformed address in ORCPT")
    return value


def reverse_path(text: str) -> str:
    """Check the sender's address and return it as it came; empty for the null reverse-path.

    Raises:
        AddressError: with the reason, for our log.
    """
    if not text:
        return ""
    if len(text.encode()) > 320:
        raise AddressError("address longer than 320 octets")
    local, at, domain = text.rpartition("@")
    if not at or not local:
        raise AddressError("address without local part or domain")
    pattern = _QUOTED if local.startswith('"') else _LOCAL
    if pattern.match(local) is None:
        raise AddressError("malformed local part")
    if _LITERAL.match(domain) is None:
        normal_domain(domain)
    return text
