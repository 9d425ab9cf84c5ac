"""Text that HTML hides from its reader by attributes and inline styles."""

import re

BLOCK_ELEMENTS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "caption",
        "center",
        "col",
        "colgroup",
        "dd",
        "details",
        "dialog",
        "dir",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "frame",
        "frameset",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "head",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "menu",
        "nav",
        "ol",
        "optgroup",
        "option",
        "p",
        "pre",
        "section",
        "select",
        "summary",
        "table",
        "tbody",
        "textarea",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "frame",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    ]
)
_CLOSED_BY_SIBLING = frozenset(("p", "li", "td", "th", "tr", "dd", "dt", "option"))
_CONTAINERS = frozenset(("table", "ul", "ol", "dl", "select"))
_ENDING_BLOCKS = BLOCK_ELEMENTS | {"td", "th", "form"}
_MAX_DEPTH = 64

_HIDING_WORDS = ("display:none", "visibility:hidden", "mso-hide:all", "opacity:0", "font-size:0",
                 "max-height:0", "line-height:0", "\1hidden", '"hidden', "'hidden")  # fmt: skip
_HIDING = re.compile(
    r"display:none|visibility:hidden|mso-hide:all|(?:[^-]|^)opacity:0(?![.0]*+[1-9])"
    r"|(?:font-size|max-height|line-height):0(?![.0]*+[1-9])"
)
_HIDDEN_ATTRIBUTE = re.compile(r"(?:^|\s)hidden(?=\s|=|/|$)", re.IGNORECASE)
_QUOTED = re.compile(r"""=\s*+(?:"[^"]*+"?|'[^']*+'?)""")
_WHITESPACE = {ord(char): None for char in " \t\r\n\f"}
ATTRIBUTES_JOINER = "\1"
"""Stands in front of the attributes of each tag when they are looked through together."""


def compact_style(attributes: str) -> str:
    """Lower-case attributes and drop blanks, so that a style has one spelling."""
    return attributes.lower().translate(_WHITESPACE)


def may_hide(compact: str) -> bool:
    """Tell whether any attribute, joined and compacted, may hide something."""
    return any(word in compact for word in _HIDING_WORDS)


class HiddenText:
    """Follows the tags of a document and knows whether text at this place is hidden.

    It keeps the open elements inside the outermost hidden one only, and at most 64 of them.
    """

    def __init__(self) -> None:
        self._open: list[str] = []
        self.elements = 0

    def is_hidden(self, name: str, attributes: str) -> bool:
        """Take the next tag (lower case, a slash in front for an end tag)."""
        if self._open:
            if name.startswith("/"):
                self._close(name[1:])
            elif not self._ends_by(name):
                if name not in _VOID and len(self._open) < _MAX_DEPTH:
                    self._open.append(name)
                return True
            else:
                self._open.clear()
        if not self._open and name[0] != "/" and name not in _VOID and _hides(attributes):
            self.elements += 1
            self._open.append(name)
        return bool(self._open)

    def _ends_by(self, name: str) -> bool:
        """Tell whether a start tag ends the hidden element: ``<p>`` ends an open ``p``."""
        hider = self._open[0]
        if hider not in _CLOSED_BY_SIBLING or not _CONTAINERS.isdisjoint(self._open):
            return False
        return name == hider or (hider == "p" and name in BLOCK_ELEMENTS and name != "br")

    def _close(self, name: str) -> None:
        if name in self._open:
            while self._open.pop() != name:
                pass
        elif name in _ENDING_BLOCKS and len(self._open) < _MAX_DEPTH:
            self._open.clear()  # an element around the hidden one ended


def _hides(attributes: str | None) -> bool:
    if not attributes:
        return False
    if "idden" in attributes and _HIDDEN_ATTRIBUTE.search(_QUOTED.sub("= ", attributes)):
        return True
    compact = compact_style(attributes)
    return any(word in compact for word in _HIDING_WORDS) and bool(_HIDING.search(compact))
