"""Parameters of Content-Type and Content-Disposition (RFC 2045 section 5.1, RFC 2231)."""

import re
from itertools import islice
from urllib.parse import unquote_to_bytes

from models.charset import decode
from models.encoded_words import decode_header_value

MAX_PARAMETERS = 64

# Possessive: an unclosed quote ends with the value, so nothing is tried twice.
_PARAMETER = re.compile(
    r';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"?|([^;]*+))',
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_SECTION = re.compile(r"([^*]+)(?:\*([0-9]{1,4}))?(\*)?", re.DOTALL)


class Parameters:
    """The head of a field value and its parameters, names in lower case, in order.

    ``plain`` values still carry their bytes as Latin-1; ``extended`` ones (RFC 2231) are decoded.
    """

    __slots__ = ("extended", "head", "plain")

    def __init__(
        self, head: str, plain: list[tuple[str, str]], extended: list[tuple[str, str]]
    ) -> None:
        self.head = head
        self.plain = plain
        self.extended = extended

    def first(self, name: str) -> str | None:
        """Return the first plain value of that name, else the extended one, else None."""
        for key, value in self.plain:
            if key == name:
                return value
        for key, value in self.extended:
            if key == name:
                return value
        return None

    def all_of(self, name: str) -> list[str]:
        """Return every value given for that name."""
        return [value for key, value in (*self.plain, *self.extended) if key == name]

    def text(self, name: str) -> str | None:
        """Return a value meant for people: the extended one, else the plain one decoded.

        Encoded words in parameters are forbidden by RFC 2047 section 5 and common.
        """
        for key, value in self.extended:
            if key == name:
                return value
        for key, value in self.plain:
            if key == name:
                return decode_header_value(value.encode("latin-1"))
        return None


def parse_parameters(raw: bytes) -> Parameters:
    """Split ``text/plain; charset="utf-8"``; never raises, linear in the value.

    The same name may occur twice. At most 64 parameters are read.
    """
    value = raw.decode("latin-1")
    head, semicolon, _ = value.partition(";")
    head = head.partition("(")[0].strip().lower()
    plain: list[tuple[str, str]] = []
    extended: list[tuple[str, str]] = []
    if not semicolon:
        return Parameters(head, plain, extended)
    sections: dict[str, list[tuple[int, bool, str]]] = {}
    for match in islice(_PARAMETER.finditer(value), MAX_PARAMETERS):
        name, quoted, bare = match.groups()
        text = bare.strip() if quoted is None else _unquoted(quoted)
        name = name.lower()
        if "*" not in name:
            plain.append((name, text))
        elif (section := _SECTION.fullmatch(name)) is not None:
            base, number, encoded = section.groups()
            sections.setdefault(base, []).append((int(number or 0), bool(encoded), text))
    extended.extend((name, _join(found)) for name, found in sections.items())
    return Parameters(head, plain, extended)


def _unquoted(quoted: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", quoted) if "\\" in quoted else quoted


def _join(sections: list[tuple[int, bool, str]]) -> str:
    """Put the sections of one parameter together: ``name*0*=utf-8'de'a%20; name*1=b``."""
    sections.sort(key=lambda section: section[0])
    charset: str | None = None
    joined = bytearray()
    for index, (_, encoded, text) in enumerate(sections):
        content = text
        if encoded and index == 0 and text.count("'") >= 2:
            charset, _, content = text.split("'", 2)
        data = content.encode("latin-1")
        joined += unquote_to_bytes(data) if encoded else data
    return decode(bytes(joined), charset)
