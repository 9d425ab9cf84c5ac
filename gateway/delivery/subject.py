"""A prefix for the subject that no MIME reader stumbles over (RFC 2047)."""

import base64
from typing import Final

_LINE_BYTES: Final = 78
_MAX_TAG: Final = 40  # characters
_MAX_ENCODED: Final = 44  # octets; an encoded word holds at most 75 letters (RFC 2047 §2)


def tagged_subject(field: bytes, tag: str) -> bytes:
    """A ``Subject`` field with the tag in front of its value; the rest stays as it came.

    A subject that begins with the tag already (a second pass) is left alone.
    """
    name, _, value = field.partition(b":")
    value = value.lstrip(b" \t")
    word = _tag_word(tag, before_encoded_word=value.lstrip().startswith(b"=?"))
    if not word or value.lstrip().startswith(word):
        return field
    first_line = value.partition(b"\r\n")[0]
    if not first_line:
        gap = b""
    elif len(name) + len(word) + len(first_line) + 3 <= _LINE_BYTES:
        gap = b" "
    else:
        gap = b"\r\n "
    return b"".join((name, b": ", word, gap, value))


def _tag_word(tag: str, *, before_encoded_word: bool) -> bytes:
    """Printable ASCII as it is, anything else as one encoded word.

    White space between two encoded words is not shown, so in front of one the space that parts tag
    and subject goes into ours.
    """
    clean = "".join(c for c in tag if c.isprintable()).strip()[:_MAX_TAG]
    if clean.isascii() and "=?" not in clean:
        return clean.encode("ascii")
    while len(clean.encode()) > _MAX_ENCODED:
        clean = clean[:-1]
    raw = f"{clean} ".encode() if before_encoded_word else clean.encode()
    return b"=?utf-8?b?" + base64.b64encode(raw) + b"?="
