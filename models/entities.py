"""Character references of HTML: ``&auml;`` and ``&#228;`` (WHATWG HTML section 13.2.5.72)."""

import re
from html.entities import html5

# The standard library's `html.unescape` raises ValueError on a reference of 5,000 digits.
_REFERENCE = re.compile(r"&(?:#(?:[xX]([0-9a-fA-F]++)|([0-9]++))|([a-zA-Z][a-zA-Z0-9]{0,31}+));?")
_MAX_DIGITS = 8
_WINDOWS_1252 = {
    0x80 + index: char
    for index, char in enumerate(bytes(range(0x80, 0xA0)).decode("cp1252", "replace"))
    if char != "\ufffd"
}
_LONGEST_BARE_NAME = max(len(name) for name in html5 if not name.endswith(";"))


def unescape(text: str) -> str:
    """Replace character references the way browsers do outside of attributes; linear."""
    return _REFERENCE.sub(_replace, text) if "&" in text else text


def unescape_attribute(text: str) -> str:
    """Replace character references the way browsers do in attribute values.

    There, a name without its semicolon is left alone in front of ``=`` or a letter or digit, so
    that ``?a=1&section=2`` survives.
    """
    return _REFERENCE.sub(_replace_in_attribute, text) if "&" in text else text


def _replace_in_attribute(match: re.Match[str]) -> str:
    name = match[3]
    if name is None or match[0].endswith(";"):
        return _replace(match)
    if match.string[match.end() : match.end() + 1] == "=" or name not in html5:
        return match[0]
    return html5[name]


def _replace(match: re.Match[str]) -> str:
    hexadecimal, decimal, name = match.groups()
    if name is None:
        digits = (hexadecimal or decimal).lstrip("0")
        if len(digits) > _MAX_DIGITS:
            return "\ufffd"
        return _character(int(digits or "0", 16 if hexadecimal else 10))
    if match[0].endswith(";") and (exact := html5.get(name + ";")) is not None:
        return exact
    # Old names work without a semicolon, also as the start of a longer word: &copy2026.
    for length in range(min(len(name), _LONGEST_BARE_NAME), 1, -1):
        if (prefix := html5.get(name[:length])) is not None:
            return prefix + match[0][1 + length :]
    return match[0]


def _character(code: int) -> str:
    if code in _WINDOWS_1252:
        return _WINDOWS_1252[code]
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return chr(code)
