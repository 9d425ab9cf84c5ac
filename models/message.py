"""A message taken apart: headers, leaf parts, visible text and links, within fixed limits.

The scanner works on bytes, never raises and takes time linear in the message, whatever a stranger
sends. The standard library's parser, which it agrees with on real mail (a test compares them),
takes seconds for hostile headers (architecture.md, section 10).
"""

from collections import defaultdict
from functools import cached_property
from mmap import mmap

from models.addresses import Mailbox, first_mailbox
from models.html_text import HtmlFacts
from models.limits import DEFAULT_LIMITS, Defect, ScanLimits
from models.links import Link
from models.mime_headers import Header, HeaderBlock, read_header_block
from models.mime_parts import Part
from models.mime_tree import take_apart
from models.text import MailText, read_text

__all__ = [
    "DEFAULT_LIMITS", "Defect", "Header", "HtmlFacts", "Link", "Mailbox", "ParsedMail", "Part",
    "ScanLimits", "scan",
]  # fmt: skip


class ParsedMail:
    """A bounded view of one message. Read only; what costs time is worked out when first asked.

    It refers to the scanned bytes: a memory-mapped file has to stay open as long as this lives.
    """

    def __init__(
        self,
        *,
        block: HeaderBlock,
        parts: tuple[Part, ...],
        defects: tuple[Defect, ...],
        size_bytes: int,
        limits: ScanLimits,
    ) -> None:
        self.headers = tuple(block.fields)
        self.plain_body_start = block.body_start if block.is_plain else None
        """Where the body begins, behind a header of fields and an empty line; None behind others"""
        self.parts = parts
        self.size_bytes = size_bytes
        self.limits = limits
        self._structure_defects = defects

    @cached_property
    def _index(self) -> dict[str, list[Header]]:
        index: dict[str, list[Header]] = defaultdict(list)
        for header in self.headers:
            index[header.key].append(header)
        return index

    def headers_of(self, key: str) -> tuple[Header, ...]:
        """All fields of this name (lower case), in order."""
        return tuple(self._index.get(key, ()))

    def header(self, key: str) -> Header | None:
        """Return the first field of this name (lower case), or None."""
        found = self._index.get(key)
        return found[0] if found else None

    @cached_property
    def _read(self) -> MailText:
        return read_text(self.parts, self.limits)

    @property
    def text(self) -> str:
        """Visible text of all text parts; of a very large message its beginning, end, last part."""
        return self._read.text

    @property
    def hidden_text(self) -> str:
        """Text that HTML hides from the reader by attributes or inline styles."""
        return self._read.hidden_text

    @property
    def links(self) -> tuple[Link, ...]:
        """Links of HTML and plain text parts, in order, bounded."""
        return self._read.links

    @property
    def html(self) -> HtmlFacts:
        """Counts of what was noticed in HTML parts; all zero without any."""
        return self._read.html

    @cached_property
    def defects(self) -> tuple[Defect, ...]:
        """Codes of everything odd, each once, those of structure first."""
        return tuple(dict.fromkeys((*self._structure_defects, *self._read.defects)))

    @property
    def truncated(self) -> bool:
        """Whether a limit kept bytes of the structure or of the text from being read."""
        return self._read.sampled or not _CAPPED.isdisjoint(self._structure_defects)

    @cached_property
    def subject(self) -> str:
        """The decoded subject on one line, empty if there is none."""
        header = self.header("subject")
        return " ".join(header.text.split()) if header else ""

    @cached_property
    def _from(self) -> Mailbox:
        header = self.header("from")
        return first_mailbox(header.raw if header else b"")

    @property
    def from_address(self) -> str:
        """The first address of the From field as written, empty if there is none."""
        return self._from.address

    @property
    def from_name(self) -> str:
        """The display name of the From field, decoded, empty if there is none."""
        return self._from.name


_CAPPED = frozenset(
    (Defect.TOO_LARGE, Defect.TOO_DEEP, Defect.TOO_MANY_PARTS, Defect.HEADERS_TRUNCATED)
)


def scan(raw: bytes | memoryview | mmap, limits: ScanLimits = DEFAULT_LIMITS) -> ParsedMail:
    """Take a message apart; any bytes are a message, so this never raises.

    Lines may end in LF or CRLF, an mbox ``From`` line may lead, the empty line behind the header
    may be missing. A memoryview is copied, a memory-mapped file is not.
    """
    if isinstance(raw, memoryview):
        raw = raw.tobytes()
    size_bytes = len(raw)
    end = min(size_bytes, limits.max_bytes)
    block = read_header_block(raw, 0, end, limits)
    tree = take_apart(raw, block, end, limits)
    defects = dict.fromkeys(block.defects)
    if end < size_bytes:
        defects[Defect.TOO_LARGE] = None
    defects.update(dict.fromkeys(tree.defects))
    return ParsedMail(
        block=block,
        parts=tuple(tree.parts),
        defects=tuple(defects),
        size_bytes=size_bytes,
        limits=limits,
    )
