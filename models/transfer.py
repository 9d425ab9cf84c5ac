"""Content-Transfer-Encoding undone, as leniently as mail clients do it (RFC 2045 section 6)."""

import binascii
import re
from itertools import islice

UUENCODE_NAMES = frozenset({"x-uuencode", "uuencode", "uue", "x-uue"})
ENCODED = UUENCODE_NAMES | {"base64", "quoted-printable"}

_NOT_BASE64 = bytes(
    byte
    for byte in range(256)
    if byte not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
)
_PADDING = re.compile(rb"=[=\s]*+")
_BASE64_RUN = re.compile(rb"([A-Za-z0-9+/\r\n]*+)(=[=\s]*+)?")
_BASE64_OR_BLANK = bytes(set(range(256)) - set(_NOT_BASE64)) + b" \t\r\n"
_MAX_BASE64_RUNS = 64
_MAX_UU_LINES = 500_000
_UU_LINE = re.compile(rb"[^\r\n]++")
_UU_BEGIN = re.compile(rb"(?:\A|\n)begin [0-7]{3,4} [^\n]*+\n")


def decode_transfer(data: bytes, encoding: str) -> tuple[bytes, bool]:
    """Undo a transfer encoding; the flag says whether the data was clean.

    An unknown encoding counts as none, so a misspelt one does not hide the text. The result is
    never longer than the input.
    """
    if encoding == "base64":
        return decode_base64(data)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data), True
    if encoding in UUENCODE_NAMES:
        return _decode_uuencode(data)
    return data, True


def decode_base64(data: bytes) -> tuple[bytes, bool]:
    """Decode base64, ignoring foreign characters, and going on behind early padding.

    Clients join what stands before and behind a premature ``=``, so stopping there would let a
    message hide its text from us (RFC 2045 section 6.8 leaves it open). What goes on has to be
    lines of base64 and nothing else: the footer of a mailing list stands there in good mail.
    """
    padding = _PADDING.search(data)
    body = data if padding is None else data[: padding.start()]
    clean = body.translate(None, _NOT_BASE64)
    first, complete = _decode_run(clean)
    if padding is not None and (rest := _decode_behind_padding(data, padding.end())):
        return first + rest, False
    return first, complete and not body.translate(None, _BASE64_OR_BLANK)


def _decode_behind_padding(data: bytes, position: int) -> bytes:
    """Decode the runs of base64 that follow early padding, up to the first foreign line."""
    decoded: list[bytes] = []
    while position < len(data) and len(decoded) < _MAX_BASE64_RUNS:
        match = _BASE64_RUN.match(data, position)
        if match is None:
            break
        run, padding = match.groups()
        position = match.end()
        foreign = position < len(data) and not padding
        if foreign:
            run = run.rpartition(b"\n")[0]
        decoded.append(_decode_run(run.translate(None, b"\r\n"))[0])
        if foreign:
            break
    return b"".join(decoded)


def _decode_run(run: bytes) -> tuple[bytes, bool]:
    """Decode base64 without padding; a last character that stands alone is dropped."""
    missing = -len(run) % 4
    if missing == 3:
        return binascii.a2b_base64(run[:-1]), False
    return binascii.a2b_base64(run + b"=" * missing), True


def _decode_uuencode(data: bytes) -> tuple[bytes, bool]:
    """Decode the first uuencoded file; a broken line ends it."""
    begin = _UU_BEGIN.search(data)
    if begin is None:
        return data, False
    lines: list[bytes] = []
    for match in islice(_UU_LINE.finditer(data, begin.end()), _MAX_UU_LINES):
        line = match[0]
        if line in (b"end", b"`", b" "):
            return b"".join(lines), True
        # Some encoders pad or sign their lines: the first character says how long one really is.
        length = ((line[0] - 32) & 63) * 4 // 3 + 1 if line else 0
        try:
            lines.append(binascii.a2b_uu(line[: length + 3]))
        except binascii.Error:
            break
    return b"".join(lines), False
