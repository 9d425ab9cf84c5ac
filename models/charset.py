"""From bytes in a claimed charset to text, the way mail clients do it."""

from functools import lru_cache

import cchardet

DETECT_BYTES = 4096
"""Bytes shown to the detector: it costs some microseconds per kilobyte."""

DETECT_FROM = 3
"""Non-ASCII bytes that the detector needs: from one pound sign it makes Thai."""

TOLERATED_DAMAGE = 0.05
"""Share of the non-ASCII characters that may be broken while a label is still believed.

A cut or slightly damaged UTF-8 text is still UTF-8; Latin-1 under a UTF-8 label breaks at almost
every non-ASCII character.
"""

# Labels are looked up here and never in `codecs`: a stranger's label would make it import modules,
# fill its cache for ever, or run codecs that are no charsets (punycode, unicode_escape, undefined).
# What web browsers and mail clients call ISO 8859-1 is windows-1252, and so on
# (https://encoding.spec.whatwg.org/#names-and-labels).
_LABELS = {
    "ascii": "ascii ansi_x3.4-1968 us-ascii usascii 7bit iso646-us cp367 us",
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8 utf_8 utf-8-sig utf8mb4 unicode",
    "utf-16": "utf-16 utf16 ucs-2 iso-10646-ucs-2",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "utf-32": "utf-32 utf32 ucs-4",
    "utf-7": "utf-7 utf7 unicode-1-1-utf-7",
    "cp1252": "windows-1252 cp1252 x-cp1252 iso-8859-1 iso8859-1 iso_8859-1 iso88591 latin1 latin-1"
    " l1 cp819 ansi iso-8859 8859-1 default iso-8859-1-windows-3.1-latin-1",
    "cp1250": "windows-1250 cp1250 x-cp1250",
    "cp1251": "windows-1251 cp1251 x-cp1251",
    "cp1253": "windows-1253 cp1253",
    "cp1254": "windows-1254 cp1254 iso-8859-9 iso8859-9 iso_8859-9 latin5 latin-5",
    "cp1255": "windows-1255 cp1255",
    "cp1256": "windows-1256 cp1256",
    "cp1257": "windows-1257 cp1257",
    "cp1258": "windows-1258 cp1258",
    "cp874": "windows-874 cp874 tis-620 tis620 iso-8859-11 iso8859-11",
    "iso8859-2": "iso-8859-2 iso8859-2 iso_8859-2 latin2 latin-2 l2",
    "iso8859-3": "iso-8859-3 iso8859-3 latin3",
    "iso8859-4": "iso-8859-4 iso8859-4 latin4",
    "iso8859-5": "iso-8859-5 iso8859-5 cyrillic",
    "iso8859-6": "iso-8859-6 iso8859-6 iso-8859-6-i iso-8859-6-e arabic",
    "iso8859-7": "iso-8859-7 iso8859-7 greek",
    "iso8859-8": "iso-8859-8 iso8859-8 iso-8859-8-i iso-8859-8-e hebrew logical visual",
    "iso8859-10": "iso-8859-10 iso8859-10 latin6",
    "iso8859-13": "iso-8859-13 iso8859-13",
    "iso8859-14": "iso-8859-14 iso8859-14",
    "iso8859-15": "iso-8859-15 iso8859-15 iso_8859-15 latin9 latin-9 latin0",
    "iso8859-16": "iso-8859-16 iso8859-16",
    "koi8-r": "koi8-r koi8 koi8r koi",
    "koi8-u": "koi8-u koi8-ru",
    "mac-roman": "macintosh mac macroman x-mac-roman x-macroman",
    "mac-cyrillic": "x-mac-cyrillic mac-cyrillic",
    "cp437": "cp437 ibm437 437",
    "cp850": "cp850 ibm850 850",
    "cp852": "cp852 ibm852 852",
    "cp855": "cp855 ibm855",
    "cp866": "cp866 ibm866 866",
    "gb18030": "gb18030 gbk gb2312 gb_2312-80 gb_2312 x-gbk cp936 chinese csgb2312 euc-cn",
    "hz": "hz-gb-2312 hz",
    "big5hkscs": "big5 big5-hkscs big5hkscs x-x-big5 cn-big5 cp950 big-5",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji windows-31j cp932 ms932 csshiftjis",
    "euc_jp": "euc-jp eucjp x-euc-jp",
    "iso2022_jp_ext": "iso-2022-jp iso2022jp csiso2022jp iso-2022-jp-1 iso-2022-jp-2",
    "cp949": "euc-kr euckr ks_c_5601-1987 ks_c_5601 ksc5601 ksc_5601 cp949 korean uhc",
    "iso2022_kr": "iso-2022-kr",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}


_NOT_ASCII = bytes(range(0x80, 0x100))


@lru_cache(maxsize=1024)
def codec_for(label: str) -> str | None:
    """Name the codec for a charset label, or None where no mail client would know one."""
    return _CODECS.get(label.strip(" \t\"'").lower()) if len(label) <= 64 else None


def decode(data: bytes, label: str | None) -> str:
    """Turn bytes into text the way mail clients do.

    By the label, else as UTF-8, as what the detector thinks, as windows-1252, as Latin-1. Never
    raises; what cannot be decoded becomes U+FFFD.
    """
    return decode_checked(data, label)[0]


def decode_checked(data: bytes, label: str | None) -> tuple[str, bool]:
    """Decode like `decode`, and tell whether the text was in the charset its label names.

    Without a label, or with an unknown one, there is nothing to contradict.
    """
    codec = codec_for(label) if label else None
    if codec is not None and codec != "ascii":
        text = _decode_believing(data, codec)
        if text is not None:
            return text, True
    if data.isascii():
        return data.decode("ascii"), True
    if codec != "utf-8":
        text = _decode_believing(data, "utf-8")
        if text is not None:
            return text, codec is None
    return _decode_guessing(data), codec is None


def _decode_believing(data: bytes, codec: str) -> str | None:
    """Decode with ``codec``, or return None where too much of the text breaks."""
    if codec == "utf-7":
        # The only codec here that lets lone surrogates through, which nothing can encode again.
        text = data.decode(codec, "replace")
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    try:
        return data.decode(codec)
    except (UnicodeError, ValueError):
        pass
    text = data.decode(codec, "replace")
    broken = text.count("\ufffd")
    special = len(text) - len(text.encode("ascii", "ignore"))
    # The first and last character of a cut sample may be broken without telling anything.
    return text if broken <= 4 + special * TOLERATED_DAMAGE and broken * 2 <= special else None


def _decode_guessing(data: bytes) -> str:
    """Decode text whose label is wrong or missing and which is not UTF-8."""
    if _special_bytes(data[:DETECT_BYTES]) >= DETECT_FROM:
        guess = cchardet.detect(data[:DETECT_BYTES])["encoding"]
        codec = codec_for(guess) if guess else None
        if codec is not None and codec not in ("ascii", "utf-8"):
            text = _decode_believing(data, codec)
            if text is not None:
                return text
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _special_bytes(data: bytes) -> int:
    return len(data) - len(data.translate(None, _NOT_ASCII))
