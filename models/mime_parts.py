"""What the header of a message or part says about its content, and leaf parts (RFC 2045, 2183)."""

from mmap import mmap

from models.limits import Defect, ScanLimits
from models.mime_headers import Header
from models.mime_parameters import parse_parameters
from models.text import read_text
from models.transfer import decode_transfer

_MAX_BOUNDARY_BYTES = 1000
_TYPE, _ENCODING, _DISPOSITION = (
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
)
_FIELDS = frozenset((_TYPE, _ENCODING, _DISPOSITION))


class Entity:
    """Content fields of one header block: a message, a multipart or a leaf part."""

    __slots__ = (
        "boundaries", "charset", "content_type", "defects", "disposition", "filename",
        "transfer_encoding",
    )  # fmt: skip

    def __init__(
        self,
        fields: list[Header],
        defects: list[Defect],
        default_type: str,
        max_field_bytes: int,
    ) -> None:
        self.defects = defects
        self.content_type = default_type
        self.charset: str | None = None
        self.boundaries: list[bytes] = []
        self.transfer_encoding = "7bit"
        self.disposition: str | None = None
        self.filename: str | None = None
        found: dict[str, bytes] = {}
        for field in fields:
            key = field.key
            if key in _FIELDS and found.setdefault(key, field.raw) != field.raw:
                defects.append(Defect.AMBIGUOUS_TYPE)
        if _ENCODING in found:
            self.transfer_encoding = _first_word(found[_ENCODING][:max_field_bytes]) or "7bit"
        if _DISPOSITION in found:
            self._read_disposition(found[_DISPOSITION][:max_field_bytes])
        if _TYPE in found:
            self._read_type(found[_TYPE][:max_field_bytes])

    def _read_type(self, raw: bytes) -> None:
        parameters = parse_parameters(raw)
        words = parameters.head.split(None, 1)
        kind = words[0] if words else ""
        if kind.count("/") == 1 and not kind.startswith("/") and not kind.endswith("/"):
            self.content_type = kind
        else:
            self.content_type = "text/plain"
            self.defects.append(Defect.TYPE_INVALID)
        charset = parameters.first("charset")
        if charset is not None:
            self.charset = charset.strip(" '\"").lower()[:64] or None
        if kind.startswith("multipart/"):
            self._read_boundaries(parameters.all_of("boundary"))
        if self.filename is None:
            self.filename = parameters.text("name")

    def _read_boundaries(self, values: list[str]) -> None:
        encoded = (value.encode("latin-1", "replace").rstrip() for value in values)
        self.boundaries = [
            value for value in dict.fromkeys(encoded) if 0 < len(value) <= _MAX_BOUNDARY_BYTES
        ]
        if len(set(values)) > 1:
            self.defects.append(Defect.AMBIGUOUS_BOUNDARY)

    def _read_disposition(self, raw: bytes) -> None:
        parameters = parse_parameters(raw)
        self.disposition = (parameters.head.split(None, 1) or [""])[0] or None
        self.filename = parameters.text("filename")


def _first_word(raw: bytes) -> str:
    words = raw.decode("latin-1").partition(";")[0].partition("(")[0].split(None, 1)
    return words[0].lower()[:64] if words else ""


class Part:
    """A part without parts of its own: its type, its place in the tree, its bytes on demand.

    Read only; a plain slotted class for the reason `Header` is one.
    """

    __slots__ = (
        "_end", "_limits", "_may_decode", "_raw", "_start", "charset", "content_type", "defects",
        "depth", "disposition", "filename", "path", "size_bytes", "transfer_encoding",
    )  # fmt: skip

    content_type: str
    """``type/subtype`` in lower case; ``text/plain`` where RFC 2045 section 5.2 says so."""
    charset: str | None
    """The charset as labelled, lower case."""
    disposition: str | None
    """``inline``, ``attachment`` or whatever Content-Disposition says, lower case."""
    filename: str | None
    """Decoded file name from Content-Disposition or the ``name`` of Content-Type."""
    transfer_encoding: str
    """Content-Transfer-Encoding in lower case, ``7bit`` if there is none."""
    depth: int
    """Containers around this part."""
    path: tuple[int, ...]
    """Position in each container from outside to inside, counted from 1."""
    size_bytes: int
    """Bytes of the body as it came, still encoded."""
    defects: tuple[Defect, ...]
    """What was odd about this part's header and structure."""

    def __init__(
        self,
        raw: bytes | mmap,
        span: tuple[int, int],
        entity: Entity,
        path: tuple[int, ...],
        limits: ScanLimits,
        may_decode: int,
    ) -> None:
        self._raw = raw
        self._start, self._end = span
        self._limits = limits
        self._may_decode = may_decode
        self.content_type = entity.content_type
        self.charset = entity.charset
        self.disposition = entity.disposition
        self.filename = entity.filename
        self.transfer_encoding = entity.transfer_encoding
        self.depth = len(path)
        self.path = path
        self.size_bytes = span[1] - span[0]
        self.defects = tuple(dict.fromkeys(entity.defects))

    def __repr__(self) -> str:
        return f"Part({self.content_type}, {self.size_bytes} bytes, path={self.path})"

    def encoded(self, start: int, end: int) -> bytes:
        """Return bytes of the body as they came, by offsets into the body."""
        return self._raw[self._start + start : min(self._start + end, self._end)]

    def payload(self) -> bytes:
        """Return the body with its transfer encoding undone, within ``max_decoded_bytes``.

        All parts of a message share that cap in their order. Nothing is cached.
        """
        return decode_transfer(self.encoded(0, self._may_decode), self.transfer_encoding)[0]

    def text(self) -> str:
        """Return what a reader sees of this part, bounded; empty if it is no text."""
        return read_text((self,), self._limits).text
