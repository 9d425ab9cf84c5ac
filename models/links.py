"""Links of a message: where they lead, and what the reader sees instead."""

import re
from collections import deque
from dataclasses import dataclass

from models.entities import unescape, unescape_attribute
from models.limits import ScanLimits

_SCHEMES = ("https", "http", "ftp")
_URL_END = re.compile("[\\s\0<>\"'`{}|\\\\^]")
_MAX_HITS = 1000
_FLOOD_CHARS = 4096
_DROPPED_IN_URL = {ord(char): None for char in "\t\r\n"}
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

    So a flood of harmless links at the front cannot push out the last one. Links are cleaned when
    they are asked for: most of a flood never is.
    """

    def __init__(self, limits: ScanLimits) -> None:
        self.max_url_chars = limits.max_url_chars
        self._max_anchor_chars = limits.max_anchor_chars
        self._room = limits.max_links - limits.max_links // 4
        self._first: list[tuple[str, str, str]] = []
        self._last: deque[tuple[str, str, str]] = deque(maxlen=limits.max_links // 4)

    def add(self, url: str, text: str, source: str) -> None:
        """Take one link as written; over-long values are cut."""
        link = url[: self.max_url_chars], text[: self._max_anchor_chars * 4], source
        (self._first if len(self._first) < self._room else self._last).append(link)

    def links(self) -> tuple[Link, ...]:
        """Return all links kept, in order."""
        return tuple(self._cleaned(*link) for link in (*self._first, *self._last))

    def _cleaned(self, url: str, text: str, source: str) -> Link:
        if source == "plain":
            return Link(url, "", source)
        # Browsers drop white space around a URL and line ends in it (WHATWG URL, basic parser).
        url = unescape_attribute(url).translate(_DROPPED_IN_URL).strip()
        text = " ".join(unescape(text).replace("\0", " ").split())
        return Link(url, text[: self._max_anchor_chars], source)


def collect_plain_links(text: str, collector: LinkCollector) -> None:
    """Find URLs in plain text: what follows a known scheme and ``://``, or ``www.``.

    A text full of hits is read at its beginning and its end.
    """
    for mark in ("://", "www."):
        if len(text) <= _MAX_HITS * len(mark) or text.count(mark) <= _MAX_HITS:
            _collect(text, mark, collector)
        else:
            _collect(text[:_FLOOD_CHARS], mark, collector)
            _collect(text[-_FLOOD_CHARS:], mark, collector)


def _collect(text: str, mark: str, collector: LinkCollector) -> None:
    """Find the URLs around one mark; each hit is followed from where the last URL ended."""
    position = 0
    while (hit := text.find(mark, position)) >= 0:
        position = hit + len(mark)
        prefix = _scheme_before(text, hit) if mark == "://" else _www_prefix(text, hit)
        if prefix is None:
            continue
        end = _URL_END.search(text, position, position + collector.max_url_chars)
        stop = end.start() if end else min(len(text), position + collector.max_url_chars)
        if stop > position:
            url = prefix + text[hit:stop].rstrip(_TRAILING)
            collector.add(url, "", "plain")
        position = stop


def _scheme_before(text: str, hit: int) -> str | None:
    before = text[max(0, hit - 5) : hit].lower()
    for scheme in _SCHEMES:
        if before.endswith(scheme):
            return scheme
    return None


def _www_prefix(text: str, hit: int) -> str | None:
    """Return the scheme browsers add, or None where the hit is the inside of something else."""
    before = text[hit - 1] if hit else " "
    return None if before.isalnum() or before in "/.-@_=" else "http://"
