"""From a message to the numbers a model counts: one versioned specification.

Three kinds of features share one space of `SPACE` numbers. *Lexical* ones (words with the place
they stand in, addresses, host names, order of header fields, shape of the MIME tree) are counted by
the naive Bayes. *Pairs* of near words and *grams* (runs of four raw bytes) are only weighed by the
second stage. A feature is present or absent; how often does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from models.features_header import HeaderFeatures
from models.features_spelling import ZONE_BITS, Fact, Spelling, fact_index
from models.features_stored import Indices, pack, unpack, unpack_checked
from models.limits import KIB, ScanLimits
from models.message import Link, ParsedMail
from models.text import is_text, read_text
from models.tokens import (
    ATOM_BYTES,
    WORD_BYTES,
    Kind,
    Tokens,
    byte_grams,
    place,
    sort_unique,
    split,
)

FEATURE_SPEC: Final = "f1"
"""Names everything below; stored labels and bundles of another specification are not mixed in."""

LEXICAL: Final = 1 << ZONE_BITS
"""Lexical features lie below this, pairs above."""
WORDS: Final = 2 * LEXICAL
"""Lexical features and pairs lie below this, grams above."""
SPACE: Final = 3 * LEXICAL
MAX_FEATURES: Final = 60_000
"""More than any message can give within the caps below."""

PAIR_WINDOW: Final = 3
_MAX_HEADERS: Final = 200
_MAX_HEADER_BYTES: Final = 256 * 1024
_MAX_LINKS: Final = 40
_MAX_URL_CHARS: Final = 160
_MAX_PARTS: Final = 20
_HEAD_CHARS: Final = 8_000
_TAIL_CHARS: Final = 4_000
_LONG_CHARS: Final = _HEAD_CHARS + _TAIL_CHARS
_END_CHARS: Final = (300, 800)
_LAST_PART_CHARS: Final = 1_500
_LAST_PART: Final = ScanLimits(max_sample_bytes=8 * KIB, max_tags=1_000)
_MAX_END_LINKS: Final = 15
_VIEW_BODY_BYTES: Final = 1_000
_VIEW_TAIL_BYTES: Final = 300

WORD: Final = Kind(WORD_BYTES, 40)
ATOM: Final = Kind(ATOM_BYTES, 80)
_UP_TO_PATH: Final = re.compile(r"[/?#]")
_IN_URL: Final = place("url")
_IN_FILENAME: Final = place("file")
_IN_TEXT: Final = place("")
_ZONES: Final = np.array([LEXICAL, WORDS], np.uint32)


class Features:
    """What a message is to a model: sorted indices below `SPACE`, each once.

    Right after extraction ``spelling`` knows the words behind the indices; features read back from
    storage have none.
    """

    __slots__ = ("indices", "lexical_count", "spelling", "word_count")

    def __init__(self, indices: Indices, spelling: Spelling | None = None) -> None:
        self.indices = indices
        self.lexical_count, self.word_count = indices.searchsorted(_ZONES).tolist()
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

    @classmethod
    def from_checked(cls, stored: bytes) -> Features:
        """Read what `from_bytes` has read before, in half the time."""
        return cls(unpack_checked(stored))


def extract(mail: ParsedMail, raw: bytes) -> Features:
    """Take the features of a message; ``raw`` are the bytes that ``mail`` was scanned from."""
    return evidence(mail, raw).features()


def evidence(mail: ParsedMail, raw: bytes) -> Evidence:
    """Return what `extract` hashes."""
    text = mail.text
    if len(text) > _LONG_CHARS:
        text = text[:_HEAD_CHARS] + "\n" + text[-_TAIL_CHARS:]
    return Evidence(mail, text, mail.links[:_MAX_LINKS], _view_body(mail, raw))


def extract_ends(mail: ParsedMail, raw: bytes) -> Iterator[Features]:
    """Take the features of a long message as if only its header and a piece of its end were there.

    Many harmless words in front would outvote a short advertisement behind them. The pieces are
    the last words, more of them, and the last text part if there are several. None for a message
    so short that `extract` sees all of it.
    """
    if len(mail.text) <= _LONG_CHARS:
        return
    links = mail.links[-_MAX_END_LINKS:]
    for length in _END_CHARS:
        yield Evidence(mail, mail.text[-length:], links, _last_bytes(raw, length)).features()
    texts = [part for part in mail.parts if is_text(part.content_type)]
    if len(texts) > 1 and (last := read_text(texts[-1:], _LAST_PART).text):
        last = last[:_LAST_PART_CHARS]
        yield Evidence(
            mail, last, links, _last_bytes(raw, max(len(last), _END_CHARS[0]))
        ).features()


def _last_bytes(raw: bytes, length: int) -> bytes:
    return raw[-min(length, _VIEW_BODY_BYTES) :].replace(b"\r\n", b"\n")


class Evidence:
    """What is to be hashed of one view of a message.

    The first pieces, one for each of ``atom_places``, are split into atoms as well as into words.
    """

    __slots__ = ("atom_places", "facts", "numbers", "pieces", "places", "view")

    def __init__(self, mail: ParsedMail, text: str, links: Sequence[Link], body: bytes) -> None:
        header = HeaderFeatures(mail.headers[:_MAX_HEADERS])
        pieces, places = header.values, header.places
        facts = list(_part_facts(mail))
        for link in links:
            url = link.url[:_MAX_URL_CHARS].lower()
            facts += _link_facts(url)
            pieces.append(url.encode("utf-8", "replace"))
            places.append(_IN_URL)
        for part in mail.parts[:_MAX_PARTS]:
            if part.filename:
                pieces.append(part.filename[:100].lower().encode("utf-8", "replace"))
                places.append(_IN_FILENAME)
        pieces.append(text.lower().encode("utf-8", "replace"))
        places.append(_IN_TEXT)
        self.pieces = pieces
        self.places = places
        self.atom_places = header.atom_places
        self.facts = (*header.facts, *facts)
        self.numbers = header.fact_indices + [fact_index(*fact) for fact in facts]
        self.view = header.view + b"\n\n" + body

    def features(self) -> Features:
        """Hash and number all of it."""
        words, atoms = split(self.pieces, ((WORD, self.places), (ATOM, self.atom_places)))
        return _features(self.facts, self.numbers, words, atoms, self.view)


def _features(
    facts: Sequence[Fact], numbers: list[int], words: Tokens, atoms: Tokens, view: bytes
) -> Features:
    """Number all that was found: facts, words, atoms, pairs, then the patterns of bytes."""
    pairs = words.pairs(PAIR_WINDOW)
    hashes = np.concatenate([words.hashes, atoms.hashes, pairs.hashes])
    hashes >>= np.uint64(64 - ZONE_BITS)
    grams = byte_grams(view)
    grams >>= np.uint32(32 - ZONE_BITS)
    grams += np.uint32(WORDS)
    lexical = len(numbers) + len(words.hashes) + len(atoms.hashes)
    spelled = len(numbers) + len(hashes)
    everything = np.empty(spelled + len(grams), np.uint32)
    everything[: len(numbers)] = numbers
    everything[len(numbers) : spelled] = hashes
    everything[lexical:spelled] += np.uint32(LEXICAL)
    everything[spelled:] = grams
    spelling = Spelling(everything[:spelled].copy(), facts, (words, atoms), pairs)
    return Features(sort_unique(everything, (lexical, spelled, len(everything))), spelling)


def _view_body(mail: ParsedMail, raw: bytes) -> bytes:
    """Return the first bytes of the body as they came, and the last ones of a longer message."""
    start = mail.plain_body_start
    if start is None:
        start = _body_start(raw)
    body = raw[start : start + _VIEW_BODY_BYTES].replace(b"\r\n", b"\n")
    if len(raw) > start + _VIEW_BODY_BYTES + _VIEW_TAIL_BYTES:
        body += b"\n" + raw[-_VIEW_TAIL_BYTES:].replace(b"\r\n", b"\n")
    return body


def _body_start(raw: bytes) -> int:
    crlf = raw.find(b"\n\r\n", 0, _MAX_HEADER_BYTES)
    bare = raw.find(b"\n\n", 0, _MAX_HEADER_BYTES if crlf < 0 else crlf)
    if bare >= 0:
        return bare + 2
    return crlf + 3 if crlf >= 0 else 0


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


def _link_facts(url: str) -> Iterable[Fact]:
    scheme, found, rest = url.partition("://")
    if not found:
        yield "scheme", scheme.partition(":")[0][:10]
        return
    yield "scheme", scheme[:10]
    host = _UP_TO_PATH.split(rest, 1)[0].rpartition("@")[2]
    yield "host", host
    labels = host.split(".")
    if len(labels) > 2:
        yield "host", ".".join(labels[-2:])
