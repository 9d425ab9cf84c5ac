"""What the header fields of a message give: facts, words with their places, and a view of bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from models import features_fields as fields
from models.features_spelling import Fact, fact_index
from models.message import Header
from models.tokens import Place, place

_MAX_FIELDS: Final = 60
_MAX_RECEIVED: Final = 8
_MAX_FIELD_BYTES: Final = 400
_VIEW_BYTES: Final = 1_500
_MAX_DATE_BYTES: Final = 60
_MAX_ID_BYTES: Final = 120

_ZONE: Final = re.compile(rb"[+-]\d{4}|\([A-Za-z ]{1,30}\)")
_KINDS: Final = bytes.maketrans(
    b"123456789bcdefghijklmnopqrstuvwxyzBCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"0" * 9 + b"a" * 25 + b"A" * 25,
)
_SMALL: Final = bytes.maketrans(b"A", b"a")
_RUNS: Final = re.compile(rb"0+|a+|A+")
_REPEATED: Final = re.compile(rb"(?<=0000)0+|(?<=a)a+|(?<=A)A+")


@dataclass(frozen=True, slots=True)
class _Field:
    """All that a field's name says about it.

    ``read`` returns the value as its bytes are seen and what of it is split into words; None for
    most fields, of which all is.
    """

    key: str
    is_trace: bool
    read: Reader | None
    words: Place
    atoms: Place | None
    fact: Fact
    fact_index: int
    line: bytes


class HeaderFeatures:
    """Lists filled by one pass over the fields that are evidence.

    ``values`` and ``places`` belong together: what is split into words, and where it stands. The
    first ``len(atom_places)`` of them hold addresses. ``view`` is the first bytes of all fields,
    without dates.
    """

    __slots__ = ("atom_places", "fact_indices", "facts", "places", "values", "view")

    def __init__(self, headers: Iterable[Header]) -> None:
        self.facts: list[Fact] = []
        self.fact_indices: list[int] = []
        self.atom_places: list[Place] = []
        self.places: list[Place] = []
        self.values: list[bytes] = []
        places: list[Place] = []
        values: list[bytes] = []
        lines: list[bytes] = []
        previous = ""
        for header, field in _evidence(headers):
            words = value = header.raw[:_MAX_FIELD_BYTES]
            if field.read is not None:
                value, words = field.read(self, header, value)
            lines += field.line, value
            if field.atoms is None:
                places.append(field.words)
                values.append(words.lower())
            else:
                self.atom_places.append(field.atoms)
                self.places.append(field.words)
                self.values.append(words.lower())
            order, index = _order(previous, field.key)
            previous = field.key
            self.facts += field.fact, order
            self.fact_indices += field.fact_index, index
        self.places += places
        self.values += values
        self.view = b"".join(lines)[1 : 1 + _VIEW_BYTES]

    def add(self, label: str, shape: bytes) -> None:
        """Add a fact about a value."""
        text = shape.decode("latin-1")
        self.facts.append((label, text))
        self.fact_indices.append(fact_index(label, text))


Reader = Callable[[HeaderFeatures, Header, bytes], tuple[bytes, bytes]]


def _read_trace(_: HeaderFeatures, header: Header, value: bytes) -> tuple[bytes, bytes]:
    del header
    value = value.rpartition(b";")[0] or value
    return value, value


def _read_decoded(_: HeaderFeatures, header: Header, value: bytes) -> tuple[bytes, bytes]:
    return value, header.text[:_MAX_FIELD_BYTES].lower().encode("utf-8", "replace")


def _read_date(features: HeaderFeatures, header: Header, value: bytes) -> tuple[bytes, bytes]:
    del header
    shape = _date_shape(value[:_MAX_DATE_BYTES])
    features.add("date", shape)
    return shape if len(value) <= _MAX_DATE_BYTES else _date_shape(value), b""


def _read_message_id(features: HeaderFeatures, header: Header, value: bytes) -> tuple[bytes, bytes]:
    features.add("id", _identifier_shape(header.raw[:_MAX_ID_BYTES]))
    return value, value.rpartition(b"@")[2]


def _read_identifier(_: HeaderFeatures, header: Header, value: bytes) -> tuple[bytes, bytes]:
    del header
    return value, value.rpartition(b"@")[2]


def _read_signature(_: HeaderFeatures, header: Header, value: bytes) -> tuple[bytes, bytes]:
    del header
    return value, b""


_READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys(fields.IDENTIFIERS, _read_identifier),
    **dict.fromkeys(fields.DECODED, _read_decoded),
    **dict.fromkeys(fields.SIGNATURES, _read_signature),
    **dict.fromkeys(fields.DATES, _read_date),
    "received": _read_trace,
    "message-id": _read_message_id,
}


def _evidence(headers: Iterable[Header]) -> list[tuple[Header, _Field]]:
    """Return the first fields that say something, without the middle of a long trace."""
    evidence = []
    traces = 0
    for header in headers:
        field = _field(header.name)
        if field is not None:
            evidence.append((header, field))
            traces += field.is_trace
    del evidence[_MAX_FIELDS:]
    if traces <= _MAX_RECEIVED:
        return evidence
    # A loop of a hundred says nothing new.
    trace = [at for at, (_, field) in enumerate(evidence) if field.is_trace]
    dropped = trace[_MAX_RECEIVED // 2 : -_MAX_RECEIVED // 2] if len(trace) > _MAX_RECEIVED else []
    return [pair for at, pair in enumerate(evidence) if at not in dropped]


@lru_cache(maxsize=4096)
def _field(name: str) -> _Field | None:
    """Return what a name says, None if the field may give no feature."""
    key = name.lower()
    if not fields.is_evidence(key):
        return None
    return _Field(
        key,
        key == "received",
        _READERS.get(key),
        place(key),
        place("@" + key) if key in fields.ADDRESSES else None,
        ("field", name),
        fact_index("field", name),
        b"\n" + name.encode("ascii", "replace") + b": ",
    )


@lru_cache(maxsize=8192)
def _order(previous: str, key: str) -> tuple[Fact, int]:
    text = f"{previous}>{key}"
    return ("order", text), fact_index("order", text)


def _identifier_shape(value: bytes) -> bytes:
    """Keep what an identifier is made of, not which one it is."""
    return _RUNS.sub(_run_sign, value.translate(_KINDS))


def _run_sign(run: re.Match[bytes]) -> bytes:
    """Stand for a run of digits or letters: what it is and about how long."""
    text = run.group()
    if len(text) > 12 or text[0] == 48:
        return b"%c%d" % (text[0], min(len(text), 20))
    return text[:1]


def _date_shape(value: bytes) -> bytes:
    """Keep how a date is written and its time zone, not which date it is."""
    zone = b" ".join(_ZONE.findall(value))
    plain = _ZONE.sub(b"", value).translate(_KINDS)
    return _REPEATED.sub(b"", plain).translate(_SMALL) + b" " + zone
