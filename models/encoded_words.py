"""Encoded words in header fields: ``=?utf-8?Q?Gr=C3=BC=C3=9Fe?=`` (RFC 2047)."""

import binascii

from models.charset import decode
from models.transfer import decode_base64

_SPACE = " \t\r\n"
_MAX_CHARSET_CHARS = 64


def decode_header_value(raw: bytes) -> str:
    """Decode a field value the way mail clients show it; never raises, linear in the input.

    Lenient where senders are: spaces and question marks inside an encoded word, no white space
    between words, characters split over adjacent words. A word that makes no sense stays as it is.
    """
    if b"=?" not in raw:
        return raw.decode("ascii") if raw.isascii() else decode(raw, None)
    text = raw.decode("ascii") if raw.isascii() else raw.decode("latin-1")
    pieces = _split(text)
    if all(isinstance(piece, str) for piece in pieces):
        return decode(raw, None)
    return "".join(_decode_pieces(pieces)).replace("\n", " ").replace("\r", " ")


def _split(text: str) -> list[str | tuple[str, bytes]]:
    """Split into plain strings and (charset, decoded bytes) of encoded words."""
    pieces: list[str | tuple[str, bytes]] = []
    plain_from = position = 0
    while (start := text.find("=?", position)) >= 0:
        position = start + 2
        charset_end = text.find("?", position, position + _MAX_CHARSET_CHARS)
        if charset_end < 0 or text[charset_end + 2 : charset_end + 3] != "?":
            continue
        encoding = text[charset_end + 1].lower()
        if encoding not in "qb":
            continue
        end = text.find("?=", charset_end + 3)
        if end < 0:
            break  # and no later word can end either: this keeps the search linear
        if start > plain_from:
            pieces.append(text[plain_from:start])
        # RFC 2231 section 5 puts a language after the charset: =?utf-8*de?...
        charset = text[start + 2 : charset_end].partition("*")[0].lower()
        encoded = text[charset_end + 3 : end].encode("latin-1")
        pieces.append((charset, _decode_word(encoded, encoding)))
        plain_from = position = end + 2
    if plain_from < len(text):
        pieces.append(text[plain_from:])
    return pieces


def _decode_word(encoded: bytes, encoding: str) -> bytes:
    if encoding == "b":
        return decode_base64(encoded)[0]
    return binascii.a2b_qp(encoded, header=True)


def _decode_pieces(pieces: list[str | tuple[str, bytes]]) -> list[str]:
    """Join bytes of adjacent words in one charset, drop the white space between words, decode."""
    decoded: list[str] = []
    charset, pending = "", b""
    words: list[bytes] = []
    for index, piece in enumerate(pieces):
        if isinstance(piece, tuple):
            if piece[0] != charset and words:
                decoded.append(decode(b"".join(words), charset))
                words = []
            charset = piece[0]
            words.append(piece[1])
            continue
        between = 0 < index < len(pieces) - 1
        if between and not piece.strip(_SPACE):
            continue
        if words:
            decoded.append(decode(b"".join(words), charset))
            words = []
        pending = piece.encode("latin-1")
        decoded.append(piece if pending.isascii() else decode(pending, None))
    if words:
        decoded.append(decode(b"".join(words), charset))
    return decoded
