"""How much of a message the scanner is willing to look at, and what it says when it saw trouble."""

from dataclasses import dataclass
from enum import StrEnum

KIB = 1024
MIB = 1024 * KIB


class Defect(StrEnum):
    """A named oddity of a message: what deviates from RFC 5322 and RFC 2045 to 2047, or a cap hit.

    Codes are stored and shown, so a member keeps its value for ever.
    """

    AMBIGUOUS_BOUNDARY = "AMBIGUOUS_BOUNDARY"
    """Two different ``boundary`` parameters: clients disagree on the parts (CVE-2024-28054)."""
    AMBIGUOUS_TYPE = "AMBIGUOUS_TYPE"
    """Two different ``Content-Type`` or ``Content-Transfer-Encoding`` fields in one part."""
    BAD_BASE64 = "BAD_BASE64"
    """Base64 with foreign characters, data after the padding, or a wrong length."""
    BOUNDARY_MISSING = "BOUNDARY_MISSING"
    """A multipart without a ``boundary`` parameter."""
    BOUNDARY_NOT_FOUND = "BOUNDARY_NOT_FOUND"
    """A multipart whose boundary never occurs in its body."""
    BOUNDARY_NOT_CLOSED = "BOUNDARY_NOT_CLOSED"
    """A multipart without its closing delimiter."""
    CHARSET_UNKNOWN = "CHARSET_UNKNOWN"
    """A ``charset`` that no mail client knows."""
    CHARSET_WRONG = "CHARSET_WRONG"
    """Text that is not in the charset its label names."""
    HEADER_JUNK = "HEADER_JUNK"
    """A header line that is no field: no name, a stray continuation, a misplaced ``From`` line."""
    HEADER_END_MISSING = "HEADER_END_MISSING"
    """No empty line between header and body."""
    HEADER_NAME_SPACE = "HEADER_NAME_SPACE"
    """White space between a field name and its colon (RFC 5322 section 4.5)."""
    HEADERS_TRUNCATED = "HEADERS_TRUNCATED"
    """More header bytes or header fields than the limit; the rest was not read."""
    ENCODED_MESSAGE = "ENCODED_MESSAGE"
    """An attached message in base64 or quoted-printable, which RFC 2046 section 5.2.1 forbids."""
    NUL_BYTE = "NUL_BYTE"
    """A NUL byte in the header."""
    TOO_DEEP = "TOO_DEEP"
    """Nesting beyond the limit; what lies deeper is one part of raw text."""
    TOO_LARGE = "TOO_LARGE"
    """More bytes than the limit; the rest was not read."""
    TOO_MANY_PARTS = "TOO_MANY_PARTS"
    """More parts or delimiter look-alikes than the limit; only the last of the rest was read."""
    TYPE_INVALID = "TYPE_INVALID"
    """A ``Content-Type`` that is not ``type/subtype``; read as ``text/plain`` (RFC 2045 5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLimits:
    """Caps on everything a stranger chooses; what lies beyond a cap is noted as a `Defect`.

    With the defaults a hostile message costs tens of milliseconds at most, plus one linear search
    for boundaries.
    """

    max_bytes: int = 128 * MIB
    """Bytes of a message that are read at all."""
    max_header_bytes: int = 256 * KIB
    """Bytes of one header block that are split into fields."""
    max_headers: int = 1000
    """Fields kept of one header block."""
    max_header_text_bytes: int = 8 * KIB
    """Bytes of one field value that are decoded or searched for parameters."""
    max_parts: int = 500
    """Leaf parts of a message."""
    max_depth: int = 20
    """Containers around a leaf part."""
    min_search_bytes: int = 8 * MIB
    """Boundary search may always visit this many bytes in all."""
    max_search_passes: int = 4
    """Boundary search may visit each byte of a larger message this many times on average."""
    max_decoded_bytes: int = 64 * MIB
    """Bytes that the ``payload()`` calls of all parts of a message return together."""
    max_sample_bytes: int = 256 * KIB
    """Encoded bytes of text parts that text, links and facts are taken from."""
    max_text_chars: int = 64 * KIB
    """Characters of a message's visible text."""
    max_tags: int = 10_000
    """HTML tags and comments of a message that are looked at."""
    max_links: int = 250
    """Links of a message."""
    max_url_chars: int = 2048
    """Characters kept of one link."""
    max_anchor_chars: int = 256
    """Characters kept of a link's anchor text."""


DEFAULT_LIMITS = ScanLimits()
