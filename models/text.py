"""The text of a message: what a reader sees of its text parts, sampled where there is too much."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from models.charset import codec_for, decode_checked
from models.html_text import HtmlFacts, html_to_text
from models.limits import Defect, ScanLimits
from models.links import Link, LinkCollector, collect_plain_links
from models.sample import allot, excerpt, spans
from models.transfer import decode_base64, decode_transfer

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_TEXT_LIKE = ("text/", "multipart/", "message/", "application/xhtml+xml")
_PLAUSIBLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"
_RESYNC = (("-->", "<!--"), ("</style", "<style"), ("</script", "<script"))


class Body(Protocol):
    """What is needed of a part to read its text."""

    content_type: str
    charset: str | None
    transfer_encoding: str
    size_bytes: int

    def encoded(self, start: int, end: int) -> bytes:
        """Return bytes of the body as they came, by offsets into the body."""


@dataclass(slots=True, kw_only=True)
class MailText:
    """Text, links and facts of a message, from one bounded pass over its text parts."""

    text: str = ""
    hidden_text: str = ""
    links: tuple[Link, ...] = ()
    html: HtmlFacts = field(default_factory=HtmlFacts)
    defects: tuple[Defect, ...] = ()
    sampled: bool = False


def is_text(content_type: str) -> bool:
    """Tell whether clients show such a leaf part as text.

    A multipart or message that could not be taken apart is shown as the text it is.
    """
    return content_type.startswith(_TEXT_LIKE)


def read_text(bodies: Sequence[Body], limits: ScanLimits) -> MailText:
    """Read the text of all text parts within the limits."""
    bodies = [body for body in bodies if is_text(body.content_type)]
    if not bodies:
        return MailText()
    sizes = [body.size_bytes for body in bodies]
    shares = allot(sizes, limits.max_sample_bytes)
    reader = _Reader(limits)
    for body, share in zip(bodies, shares, strict=True):
        reader.read(body, share)
    return reader.result(sampled=sum(shares) < sum(sizes))


class _Reader:
    """Collects texts part by part."""

    def __init__(self, limits: ScanLimits) -> None:
        self._limits = limits
        self._links = LinkCollector(limits)
        self._facts = HtmlFacts()
        self._texts: list[str] = []
        self._hidden: list[str] = []
        self._defects: list[Defect] = []

    def read(self, body: Body, share: int) -> None:
        """Read at most ``share`` encoded bytes of one part."""
        label = body.charset
        if label is not None and codec_for(label) is None:
            self._defects.append(Defect.CHARSET_UNKNOWN)
        is_html = body.content_type in _HTML_TYPES
        for start, end in spans(0, body.size_bytes, share):
            data = self._decoded(body, start, end)
            text, as_labelled = decode_checked(data, label)
            if not as_labelled:
                self._defects.append(Defect.CHARSET_WRONG)
            if is_html:
                self._html(_resynchronised(text) if start else text)
            else:
                collect_plain_links(text, self._links)
                self._texts.append(text.replace("\r\n", "\n") if "\r" in text else text)

    def _decoded(self, body: Body, start: int, end: int) -> bytes:
        encoded = body.encoded(start, end)
        if start and body.transfer_encoding == "base64":
            encoded = _realigned(encoded)
        data, clean = decode_transfer(encoded, body.transfer_encoding)
        if not clean and body.transfer_encoding == "base64" and end - start == body.size_bytes:
            self._defects.append(Defect.BAD_BASE64)
        return data

    def _html(self, html: str) -> None:
        page = html_to_text(html, self._limits, self._facts, self._links)
        self._texts.append(page.visible)
        if page.hidden:
            self._hidden.append(page.hidden)

    def result(self, *, sampled: bool) -> MailText:
        """Join what was read, cut to the limit with beginning, end and last part kept."""
        text, cut = _joined(self._texts, self._limits.max_text_chars)
        hidden, _ = _joined(self._hidden, self._limits.max_text_chars // 4)
        return MailText(
            text=text,
            hidden_text=hidden,
            links=self._links.links(),
            html=self._facts,
            defects=tuple(dict.fromkeys(self._defects)),
            sampled=sampled or cut,
        )


def _joined(texts: list[str], max_chars: int) -> tuple[str, bool]:
    texts = [text for text in texts if text]
    joined = "\n".join(texts)
    if len(joined) <= max_chars:
        return joined, False
    room = max(max_chars - len(texts), 0)
    shares = allot([len(text) for text in texts], room)
    cut = [excerpt(text, share) for text, share in zip(texts, shares, strict=True)]
    return "\n".join(cut)[:max_chars], True


def _realigned(encoded: bytes) -> bytes:
    """Start a piece from the middle of base64 at a group of four: the offset that makes sense.

    Counting from the end would trust the sender's padding.
    """
    newline = encoded.find(b"\n", 0, 2048)
    encoded = encoded[newline + 1 :]
    best = max(range(4), key=lambda offset: _plausibility(encoded[offset : offset + 1024]))
    return encoded[best:]


def _plausibility(encoded: bytes) -> int:
    data, _ = decode_base64(encoded)
    return len(data) - len(data.translate(None, _PLAUSIBLE))


def _resynchronised(text: str) -> str:
    """Drop the rest of a comment, style or script that a piece from the middle begins in."""
    lowered = text.lower()
    for closing, opening in _RESYNC:
        end = lowered.find(closing)
        if end >= 0 and lowered.find(opening, 0, end) < 0:
            return text[end:].partition(">")[2]
    return text
