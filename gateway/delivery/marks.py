"""Marks of ours in mail: who it passed through us for (loops), and what a person released.

Both are HMAC-SHA256 under a key that stays in the state directory (nodes of a cluster share it), so
nobody else can make one, and each is bound to what it speaks of, so it is of no use elsewhere.
"""

import base64
import contextlib
import hashlib
import hmac
import mmap
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.core.errors import ConfigError
from gateway.delivery.header_section import Field, fields_beginning, header_end, unfolded

LOOP_FIELD: Final = "X-Schwamm-Mark"
RELEASED_FIELD: Final = "X-Schwamm-Released"
LOOP_PASSES: Final = 3  # twice is everyday: one customer forwards to another behind us
RELEASE_VALID_MS: Final = 7 * 86_400_000

_KEY_BYTES: Final = 32
_MAX_FIELDS: Final = 20
_MAX_PLACES: Final = 1000
_HEADER_BYTES: Final = 1024 * 1024  # marks stand near the top; more is never looked at
_BOUND_FIELDS: Final = ("From", "Subject", "Date", "Message-ID")
_LETTER: Final = r"[A-Za-z0-9_-]"
_LOOP: Final = re.compile(
    rf"([0-9a-z-]{{1,40}})((?: {_LETTER}{{11}}){{1,1000}}) ({_LETTER}{{16}})\Z"
)
_RELEASED: Final = re.compile(rf"1 ([0-9]{{1,15}}) ({_LETTER}{{43}})\Z")
_PIECE_BYTES: Final = 256 * 1024


def load_key(path: Path) -> bytes:
    """The key at ``path``; made on first use, readable by its owner alone.

    Raises:
        ConfigError: the file is there but holds no key.
        OSError: it cannot be read or written.
    """
    with contextlib.suppress(FileExistsError):
        _create_key(path)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"{path}: not a key of {_KEY_BYTES} bytes; remove it to have one made")
    return key


def _create_key(path: Path) -> None:
    """Written aside and linked into place: a torn key file never carries the name."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    finally:
        draft.unlink()


class Marks:
    """Makes and checks marks under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def loop_mark(self, mail_id: str, recipients: Sequence[str]) -> str:
        """The value of our loop field for these recipients' copies.

        Each token is bound to mail and recipient: a reader learns neither who else got a blind copy
        nor whether a token of another mail is the same person's.
        """
        tokens = " ".join(self._token(mail_id, recipient) for recipient in recipients)
        return f"{mail_id} {tokens} {self._mac('loop', mail_id, tokens)[:16]}"

    def is_loop_mark(self, value: bytes) -> bool:
        """Whether a field's value is a mark that this key made."""
        return self._loop_tokens(value) is not None

    def passes(self, content: bytes | mmap.mmap, recipient: str) -> int:
        """How often this mail passed through us for ``recipient`` (an address key) before."""
        count = 0
        for field in _fields_named(content, LOOP_FIELD):
            known = self._loop_tokens(unfolded(field.value))
            if known is not None and self._token(known[0], recipient) in known[1]:
                count += 1
        return count

    def is_loop(self, content: bytes | mmap.mmap, recipient: str) -> bool:
        """Whether it has been round often enough (data model, section 4)."""
        return self.passes(content, recipient) >= LOOP_PASSES

    def released_mark(self, content: bytes | mmap.mmap, recipient: str, until_ms: int) -> str:
        """The value that says: a person released this mail to this recipient, valid until then."""
        mac = self._mac("released", _digest(content), recipient, str(until_ms))
        return f"1 {until_ms} {mac}"

    def is_released(self, content: bytes | mmap.mmap, recipient: str, now_ms: int) -> bool:
        """Whether the mail carries a valid mark for this recipient and is still the same mail."""
        digest = ""
        for field in _fields_named(content, RELEASED_FIELD):
            matched = _RELEASED.match(unfolded(field.value).decode("ascii", "replace"))
            if matched is None or int(matched[1]) < now_ms:
                continue
            digest = digest or _digest(content)
            expected = self._mac("released", digest, recipient, matched[1])
            if hmac.compare_digest(expected, matched[2]):
                return True
        return False

    def _loop_tokens(self, value: bytes) -> tuple[str, frozenset[str]] | None:
        matched = _LOOP.match(value.decode("ascii", "replace")) if len(value) < 20_000 else None
        if matched is None:
            return None
        tokens = matched[2].strip()
        expected = self._mac("loop", matched[1], tokens)[:16]
        if not hmac.compare_digest(expected, matched[3]):
            return None
        return matched[1], frozenset(tokens.split(" "))

    def _token(self, mail_id: str, recipient: str) -> str:
        return self._mac("recipient", mail_id, recipient)[:11]

    def _mac(self, *parts: str) -> str:
        message = b"\0".join(part.encode("utf-8", "surrogatepass") for part in parts)
        raw = hmac.digest(self._key, message, "sha256")
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _fields_named(content: bytes | mmap.mmap, name: str) -> list[Field]:
    wanted = name.lower().encode()
    header = content[: min(header_end(content), _HEADER_BYTES)]
    found = fields_beginning(header, wanted, _MAX_PLACES) or []
    return [field for field in found if field.name == wanted][:_MAX_FIELDS]


def _digest(content: bytes | mmap.mmap) -> str:
    """Names a mail by what a relay on its way leaves alone: some fields and the body.

    Trace fields that others add do not matter, nor folding or empty lines at the end; a changed
    sender, subject or text does.
    """
    end = header_end(content)
    digest = hashlib.sha256()
    for name in _BOUND_FIELDS:
        for field in _fields_named(content, name):
            digest.update(field.name + b":" + unfolded(field.value) + b"\n")
    digest.update(b"\n")
    stop = _body_stop(content, end)
    for start in range(min(end + 2, stop), stop, _PIECE_BYTES):
        digest.update(content[start : min(start + _PIECE_BYTES, stop)])
    return digest.hexdigest()


def _body_stop(content: bytes | mmap.mmap, end: int) -> int:
    stop = len(content)
    while stop > end:
        start = max(end, stop - _PIECE_BYTES)
        kept = content[start:stop].rstrip(b"\r\n")
        stop = start + len(kept)
        if kept:
            break
    return stop
