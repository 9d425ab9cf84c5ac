"""What HTML, links, attachments and MIME structure give away; each rule sees one symbol.

All work is bounded by the scanner's own limits on text, links and parts.
"""

import binascii
from itertools import islice

from gateway.checks.check import Rule
from gateway.checks.hosts import host_of, looks_like_host, numeric_address, site
from gateway.core.details import write_details
from gateway.core.mail import Mail
from gateway.core.verdict import Symbol
from models.message import Defect, ParsedMail

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
"""The generic test for unsolicited bulk email: any filter must call a mail with it spam."""

_LITTLE_TEXT = 120  # visible characters beside an image
_MUCH_HIDDEN = 500  # hidden characters; a newsletter's preview line has up to 250
_LOOKED_AT_PARTS = 20
_BASE64_SAMPLE = 4096
_PROGRAM_ENDINGS = (
    "ade adp app appx bat chm cmd com cpl dll exe hta img inf ins iso jar js jse lib lnk mde msc"
    " msi msix msp mst one ocx pif ps1 reg scr sct sh shb sys udl vb vbe vbs vhd vhdx wsc wsf wsh"
    " xll"
)
_DOCUMENT_ENDINGS = (
    "bmp doc docx gif htm html jpeg jpg mp3 mp4 odt pdf png ppt pptx rtf txt xls xlsx zip"
)
_PROGRAMS = frozenset(_PROGRAM_ENDINGS.split())
_DOCUMENTS = frozenset(_DOCUMENT_ENDINGS.split())
_AMBIGUOUS = frozenset(
    (Defect.AMBIGUOUS_BOUNDARY, Defect.AMBIGUOUS_TYPE, Defect.ENCODED_MESSAGE, Defect.NUL_BYTE)
)
_BROKEN = frozenset(
    (Defect.BOUNDARY_MISSING, Defect.BOUNDARY_NOT_FOUND, Defect.TYPE_INVALID, Defect.HEADER_JUNK)
)


def gtube(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """The test string of all spam filters stands in the text."""
    return Symbol(name="GTUBE") if GTUBE in parsed.text else None


def html_only(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """HTML without a plain text beside it."""
    kinds = {part.content_type for part in parsed.parts if part.disposition != "attachment"}
    if "text/html" not in kinds or "text/plain" in kinds:
        return None
    return Symbol(name="MIME_HTML_ONLY")


def image_with_little_text(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """HTML that is an image with hardly a word: the message is in the picture."""
    if not parsed.html.images or parsed.html.images == parsed.html.tiny_images:
        return None
    length = len(parsed.text)
    if length >= _LITTLE_TEXT:
        return None
    return Symbol(name="HTML_IMAGE_LITTLE_TEXT", detail=write_details(characters=length))


def hidden_text(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """HTML hides much text from the reader, to confuse filters."""
    hidden = parsed.html.hidden_chars
    if hidden < _MUCH_HIDDEN:
        return None
    return Symbol(name="HTML_HIDDEN_TEXT", detail=write_details(characters=hidden))


def form_in_mail(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A form to fill in inside the mail: passwords are asked for this way."""
    if not parsed.html.forms:
        return None
    return Symbol(name="HTML_FORM", detail=write_details(forms=parsed.html.forms))


def phished_link(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A link that reads like an address and leads to another site.

    Only texts that begin like an address count: a bare ``shop.example`` is often a brand name whose
    clicks an honest newsletter counts. No way round is allowed for a link that names the shown host
    somewhere, since whoever deceives can do that too.
    """
    for link in parsed.links:
        shown = link.text.lower()
        if link.source != "html" or not shown.startswith(("http://", "https://", "www.")):
            continue
        host = host_of(shown if "://" in shown else f"http://{shown}")
        real = host_of(link.url)
        if real and looks_like_host(host) and site(host) != site(real):
            return Symbol(name="PHISHED_LINK", detail=write_details(shown=host, real=real))
    return None


def link_to_address(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A link to a bare public IP address, also written as one number."""
    for link in parsed.links:
        host = host_of(link.url)
        if host and (address := numeric_address(host)):
            return Symbol(name="URL_NUMERIC_IP", detail=write_details(host=address))
    return None


def base64_ascii_text(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """Plain ASCII text in base64, which needs none: to hide it from simple filters."""
    for part in islice(parsed.parts, _LOOKED_AT_PARTS):
        if part.transfer_encoding != "base64" or not part.content_type.startswith("text/"):
            continue
        if part.disposition == "attachment":
            continue
        encoded = b"".join(part.encoded(0, _BASE64_SAMPLE).split())
        try:
            text = binascii.a2b_base64(encoded[: len(encoded) // 4 * 4])
        except binascii.Error:
            continue
        if text and text.isascii():
            return Symbol(name="MIME_BASE64_TEXT")
    return None


def program_attached(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """An attachment that a computer runs when it is opened."""
    for name, endings in _attached(parsed):
        if endings[-1] in _PROGRAMS:
            return Symbol(name="EXE_ATTACHMENT", detail=write_details(file=name[-60:]))
    return None


def double_extension(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A program that is named like a document: ``invoice.pdf.exe``."""
    for name, endings in _attached(parsed):
        if len(endings) > 1 and endings[-1] in _PROGRAMS and endings[-2] in _DOCUMENTS:
            return Symbol(name="DOUBLE_EXTENSION", detail=write_details(file=name[-60:]))
    return None


def _attached(parsed: ParsedMail) -> list[tuple[str, list[str]]]:
    """File names and their last endings, lower case; blanks before an ending do not hide it."""
    named = (
        part.filename
        for part in parsed.parts
        if part.filename and not part.content_type.startswith("message/")  # named by its subject
    )
    cut = ((name, name[-100:].lower().rstrip(". ").split(".")[1:]) for name in named)
    return [(name, [word.strip() for word in words[-2:]]) for name, words in cut if words]


def ambiguous_mime(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """Built so that mail programs and filters see different parts."""
    found = next((defect for defect in parsed.defects if defect in _AMBIGUOUS), None)
    return Symbol(name="AMBIGUOUS_MIME", detail=write_details(defect=found)) if found else None


def broken_mime(_mail: Mail, parsed: ParsedMail) -> Symbol | None:
    """A MIME structure or header that no mail program writes."""
    found = next((defect for defect in parsed.defects if defect in _BROKEN), None)
    return Symbol(name="BROKEN_MIME", detail=write_details(defect=found)) if found else None


GTUBE_RULES: tuple[Rule, ...] = (gtube,)
HTML_RULES: tuple[Rule, ...] = (html_only, image_with_little_text, hidden_text, form_in_mail)
LINK_RULES: tuple[Rule, ...] = (phished_link, link_to_address)
ATTACHMENT_RULES: tuple[Rule, ...] = (program_attached, double_extension)
MIME_RULES: tuple[Rule, ...] = (base64_ascii_text, ambiguous_mime, broken_mime)
