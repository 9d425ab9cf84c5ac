"""Links of a message: where they lead, and what the reader sees instead."""

from collections import deque
from dataclasses import dataclass

from models.entities import unescape
from models.limits import ScanLimits

_SCHEMES = ("https", "http", "ftp")
_URL_END = frozenset(" \t\r\n\v\f\0<>\"'`{}|\\^\u00a0\u3000")
_TRAILING = ".,;:!?)]*_~"


@dataclass(frozen=True, slots=True)
class Link:
    """One link: its target as written (entities resolved) and the text a reader clicks on.

    ``text`` is empty for an image or a bare URL. ``source`` is ``html`` (an ``a`` or ``area``),
    ``form`` (where a form is sent) or ``plain`` (a URL in plain text).
    """

    url: str
    text: str
    source: str


class LinkCollector:
    """Keeps the first three quarters and the last quarter of at most ``max_links`` links.

    So a flood of harmless links at the front cannot push out the last one.
    """

    def __init__(self, limits: ScanLimits) -> None:
        self._limits = limits
        self._room = limits.max_links - limits.max_links // 4
        self._first: list[Link] = []
        self._last: deque[Link] = deque(maxlen=limits.max_links // 4)
        self.seen = 0

    def add(self, url: str, text: str, source: str) -> None:
        """Take one link; over-long values are cut."""
        self.seen += 1
        url = url[: self._limits.max_url_chars]
        if "&" in url and source != "plain":
            url = unescape(url)
        # Browsers drop white space around and line ends inside (WHATWG URL, basic parser).
        url = "".join(url.split("\n")).replace("\r", "").replace("\t", "").strip()
        link = Link(url, text[: self._limits.max_anchor_chars], source)
        (self._first if len(self._first) < self._room else self._last).append(link)

    def links(self) -> tuple[Link, ...]:
        """All links kept, in order."""
        return (*self._first, *self._last)


def collect_plain_links(text: str, collector: LinkCollector) -> None:
    """Find URLs in plain text: whatever follows a known scheme and ``://``, or ``www.``.

    One pass; each character is looked at once behind the hit that it belongs to.
    """
    position = 0
    while (hit := text.find("://", position)) >= 0:
        position = hit + 3
        before = text[max(0, hit - 5) : hit].lower()
        scheme = next((name for name in _SCHEMES if before.endswith(name)), None)
        if scheme is None:
            continue
        position = _url_end(text, position, collector)
        url = text[hit - len(scheme) : position]
        collector.add(url.rstrip(_TRAILING), "", "plain")
    position = 0
    while (hit := text.find("www.", position)) >= 0:
        position = hit + 4
        if hit and (text[hit - 1].isalnum() or text[hit - 1] in "/.-@"):
            continue
        position = _url_end(text, position, collector)
        if position > hit + 4:
            collector.add("http://" + text[hit:position].rstrip(_TRAILING), "", "plain")


def _url_end(text: str, position: int, collector: LinkCollector) -> int:
    end = min(len(text), position + collector._limits.max_url_chars)
    while position < end and text[position] not in _URL_END:
        position += 1
    return position
