"""From a message to the numbers a model counts: one versioned specification.

Three kinds of features share one space of `SPACE` numbers. *Lexical* ones (words with the place
they stand in, addresses, host names, order of header fields, shape of the MIME tree) are counted by
the naive Bayes. *Pairs* of near words and *grams* (runs of four raw bytes) are only weighed by the
second stage. A feature is present or absent; how often does not matter.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from models import features_fields as fields
from models.features_spelling import Fact, Spelling
from models.features_stored import Indices, pack, unpack
from models.message import Header, Link, ParsedMail, Part
from models.tokens import (
    ATOM,
    WORD,
    Hashes,
    Segment,
    byte_grams,
    sorted_unique,
    split,
)

FEATURE_SPEC: Final = "f1"
"""Names everything below; stored labels and bundles of another specification are not mixed in."""

ZONE_BITS: Final = 21
"""Each kind of feature is hashed into a zone of its own; why 21 bits: ``docs/classifier.md``."""
LEXICAL: Final = 1 << ZONE_BITS
"""Lexical features lie below this, pairs above."""
WORDS: Final = 2 * LEXICAL
"""Lexical features and pairs lie below this, grams above."""
SPACE: Final = 3 * LEXICAL
MAX_FEATURES: Final = 60_000
"""More than any message can give within the caps below."""

_PAIR_WINDOW: Final = 3
_MAX_FIELDS: Final = 60
_MAX_RECEIVED: Final = 8
_MAX_FIELD_BYTES: Final = 400
_MAX_LINKS: Final = 40
_MAX_URL_CHARS: Final = 160
_MAX_PARTS: Final = 20
_HEAD_CHARS: Final = 8_000
_TAIL_CHARS: Final = 4_000
_LONG_CHARS: Final = _HEAD_CHARS + _TAIL_CHARS
_END_CHARS: Final = 1_500
_MAX_END_LINKS: Final = 15
_VIEW_HEADER_BYTES: Final = 1_500
_VIEW_BODY_BYTES: Final = 1_000
_VIEW_TAIL_BYTES: Final = 300
_MAX_WORD_BYTES: Final = 40
_MAX_ATOM_BYTES: Final = 80

_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_ZONE: Final = re.compile(rb"[+-]\d{4}|\([A-Za-z ]{1,30}\)")
_ID_RUNS: Final = re.compile(rb"[0-9]+|[a-z]+|[A-Z]+")


class Features:
    """What a message is to a model: sorted indices below `SPACE`, each once.

    Right after extraction ``spelling`` knows the words behind the indices; features read back from
    storage have none.
    """

    __slots__ = ("indices", "lexical_count", "spelling", "word_count")

    def __init__(self, indices: Indices, spelling: Spelling | None = None) -> None:
        self.indices = indices
        self.lexical_count = int(np.searchsorted(indices, LEXICAL))
        self.word_count = int(np.searchsorted(indices, WORDS))
        self.spelling = spelling

    @property
    def lexical(self) -> Indices:
        """The features that the naive Bayes counts."""
        return self.indices[: self.lexical_count]

    @property
    def words(self) -> Indices:
        """Lexical features and pairs: what the second stage's first expert weighs."""
        return self.indices[: self.word_count]

    @property
    def grams(self) -> Indices:
        """Byte patterns: what the second stage's other expert weighs."""
        return self.indices[self.word_count :]

    def __len__(self) -> int:
        return len(self.indices)

    def to_bytes(self) -> bytes:
        """Return the form in which features are kept with a label."""
        return pack(FEATURE_SPEC, self.indices)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Features:
        """Read features kept with a label. Raises StoredFeaturesError."""
        return cls(unpack(FEATURE_SPEC, stored, SPACE, MAX_FEATURES))


def extract(mail: ParsedMail, raw: bytes) -> Features:
    """Take the features of a message; ``raw`` are the bytes that ``mail`` was scanned from."""
    text = mail.text
    if len(text) > _LONG_CHARS:
        text = text[:_HEAD_CHARS] + "\n" + text[-_TAIL_CHARS:]
    return _extract(mail, text, mail.links[:_MAX_LINKS], _view_body(raw))


def extract_end(mail: ParsedMail, raw: bytes) -> Features | None:
    """Take the features of a long message as if only its header and its end were there.

    Many harmless words in front would outvote a short advertisement behind them. None for a
    message so short that `extract` sees all of it.
    """
    if len(mail.text) <= _LONG_CHARS:
        return None
    end = raw[-_VIEW_BODY_BYTES:].replace(b"\r\n", b"\n")
    return _extract(mail, mail.text[-_END_CHARS:], mail.links[-_MAX_END_LINKS:], end)


def _extract(mail: ParsedMail, text: str, links: Sequence[Link], body: bytes) -> Features:
    evidence = [header for header in mail.headers[:200] if fields.is_evidence(header.key)]
    evidence = _without_long_trace(evidence[:_MAX_FIELDS])
    facts = (*_header_facts(evidence), *_part_facts(mail), *_link_facts(links))
    words = split(list(_word_segments(evidence, mail.parts, links, text)), WORD, _MAX_WORD_BYTES)
    atoms = split(list(_atom_segments(evidence)), ATOM, _MAX_ATOM_BYTES)
    pairs = words.pairs(_PAIR_WINDOW)
    spellable = np.concatenate(
        [
            np.array([_fact_index(label, text) for label, text in facts], np.uint32),
            _folded(words.hashes, 0),
            _folded(atoms.hashes, 0),
            *(_folded(group.hashes, LEXICAL) for group in pairs),
        ]
    )
    view = _view_header(evidence) + b"\n\n" + body
    grams = byte_grams(view) >> np.uint32(32 - ZONE_BITS)
    indices = np.concatenate([sorted_unique(spellable), sorted_unique(grams + np.uint32(WORDS))])
    return Features(indices, Spelling(spellable, facts, (words, atoms), pairs))


def _folded(hashes: Hashes, zone: int) -> Indices:
    return (hashes >> np.uint64(64 - ZONE_BITS)).astype(np.uint32) + np.uint32(zone)


def _view_header(evidence: Iterable[Header]) -> bytes:
    """Return the first bytes of the fields that are evidence, without dates."""
    lines = []
    for header in evidence:
        value = header.raw[:_MAX_FIELD_BYTES]
        if header.key in fields.DATES:
            value = _date_shape(value)
        elif header.key == "received":
            value = value.rpartition(b";")[0] or value
        lines.append(header.name.encode("ascii", "replace") + b": " + value)
    return b"\n".join(lines)[:_VIEW_HEADER_BYTES]


def _view_body(raw: bytes) -> bytes:
    """Return the first bytes of the body as they came, and the last ones of a longer message."""
    start = _body_start(raw)
    body = raw[start : start + _VIEW_BODY_BYTES].replace(b"\r\n", b"\n")
    if len(raw) > start + _VIEW_BODY_BYTES + _VIEW_TAIL_BYTES:
        body += b"\n" + raw[-_VIEW_TAIL_BYTES:].replace(b"\r\n", b"\n")
    return body


def _body_start(raw: bytes) -> int:
    ends = [
        position + len(mark)
        for mark in (b"\n\n", b"\n\r\n")
        if (position := raw.find(mark, 0, 256 * 1024)) >= 0
    ]
    return min(ends, default=0)


def _without_long_trace(evidence: list[Header]) -> list[Header]:
    """Keep the first and the last trace fields: a loop of a hundred says nothing new."""
    trace = [header for header in evidence if header.key == "received"]
    if len(trace) <= _MAX_RECEIVED:
        return evidence
    dropped = {id(header) for header in trace[_MAX_RECEIVED // 2 : -_MAX_RECEIVED // 2]}
    return [header for header in evidence if id(header) not in dropped]


def _word_segments(
    evidence: list[Header], parts: Sequence[Part], links: Sequence[Link], text: str
) -> Iterable[Segment]:
    for header in evidence:
        yield Segment.of(header.key, _words_of(header))
    for link in links:
        yield Segment.of("url", link.url[:_MAX_URL_CHARS].lower().encode("utf-8", "replace"))
    for part in parts[:_MAX_PARTS]:
        if part.filename:
            yield Segment.of("file", part.filename[:100].lower().encode("utf-8", "replace"))
    yield Segment.of("", text.lower().encode("utf-8", "replace"))


def _words_of(header: Header) -> bytes:
    key = header.key
    if key in fields.DATES or key in fields.SIGNATURES:
        return b""
    if key in fields.DECODED:
        return header.text[:_MAX_FIELD_BYTES].lower().encode("utf-8", "replace")
    value = header.raw[:_MAX_FIELD_BYTES].lower()
    if key == "received":
        return value.rpartition(b";")[0] or value
    if key in fields.IDENTIFIERS:
        return value.rpartition(b"@")[2]
    return value


def _atom_segments(evidence: list[Header]) -> Iterable[Segment]:
    for header in evidence:
        if header.key in fields.ADDRESSES:
            yield Segment.of("@" + header.key, _words_of(header))


def _header_facts(evidence: list[Header]) -> Iterable[Fact]:
    previous = ""
    for header in evidence:
        yield "field", header.name
        yield "order", f"{previous}>{header.key}"
        previous = header.key
        if header.key in fields.DATES:
            yield "date", _date_shape(header.raw[:60]).decode("latin-1")
        elif header.key == "message-id":
            yield "id", _ID_RUNS.sub(_run_sign, header.raw[:120]).decode("latin-1")


def _run_sign(run: re.Match[bytes]) -> bytes:
    """Stand for a run of digits or letters in an identifier: what it is and about how long."""
    text = run.group()
    if len(text) > 12 or text.isdigit():
        kind = b"0" if text.isdigit() else b"a" if text.islower() else b"A"
        return kind + str(min(len(text), 20)).encode()
    return b"a" if text.islower() else b"A"


def _date_shape(value: bytes) -> bytes:
    """Keep how a date is written and its time zone, not which date it is."""
    zone = b" ".join(_ZONE.findall(value))
    plain = _ZONE.sub(b"", value).translate(_DIGITS)
    return _ID_RUNS.sub(lambda run: b"0" * min(len(run.group()), 4) if run.group().isdigit()
                        else b"a", plain) + b" " + zone  # fmt: skip


def _part_facts(mail: ParsedMail) -> Iterable[Fact]:
    for part in mail.parts[:_MAX_PARTS]:
        yield "part", f"{part.depth} {part.content_type} {part.charset} {part.transfer_encoding}"
        yield "attached", f"{part.disposition} {(part.filename or '').rpartition('.')[2][:10]}"
    for defect in mail.defects:
        yield "defect", str(defect)
    html = mail.html
    for name in ("images", "remote_images", "tiny_images", "forms", "scripts", "hidden_chars"):
        count = getattr(html, name)
        if count:
            yield "html", f"{name} {min(count.bit_length(), 8)}"


def _link_facts(links: Sequence[Link]) -> Iterable[Fact]:
    for link in links:
        scheme, found, rest = link.url[:_MAX_URL_CHARS].lower().partition("://")
        if not found:
            yield "scheme", scheme.partition(":")[0][:10]
            continue
        yield "scheme", scheme[:10]
        host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
        yield "host", host
        labels = host.split(".")
        if len(labels) > 2:
            yield "host", ".".join(labels[-2:])


@lru_cache(maxsize=4096)
def _fact_index(label: str, text: str) -> int:
    hashed = zlib.crc32(f"{label}\0{text}".encode("utf-8", "replace"))
    return (hashed * 0x9E3779B1 & 0xFFFFFFFF) >> (32 - ZONE_BITS)
