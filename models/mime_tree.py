"""The tree of parts: which bytes of a message are which leaf part (RFC 2046)."""

import re
from mmap import mmap

from models.limits import Defect, ScanLimits
from models.mime_headers import HeaderBlock, read_header_block
from models.mime_parts import Entity, Part
from models.transfer import ENCODED

_MESSAGE_TYPES = frozenset(("message/rfc822", "message/global", "message/news"))
# What may follow a boundary on its line: "--" of the last one, padding, the line end.
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*+\r?(?:\n|\Z)")
_MAX_PADDING = 128
_CANDIDATES_PER_PART = 4
"""Lines that begin like a delimiter, for each part that is allowed."""
_LAST_PART_WINDOW = 256 * 1024
"""How far from its end a container with too many parts is searched for its last part."""


class Delimiter:
    """One delimiter line: where the part before it ends, where the next begins."""

    __slots__ = ("closing", "next_start", "part_end")

    def __init__(self, part_end: int, next_start: int, *, closing: bool) -> None:
        self.part_end = part_end
        self.next_start = next_start
        self.closing = closing


class PartTree:
    """Walks the containers of one message and collects its leaf parts in order.

    Each container is searched for its own delimiter with `bytes.find`. The bytes visited in all
    are capped, so deep nesting cannot multiply the cost of a large message.
    """

    def __init__(self, raw: bytes | mmap, end: int, limits: ScanLimits) -> None:
        self._raw = raw
        self._limits = limits
        self._search_bytes = max(limits.min_search_bytes, limits.max_search_passes * end)
        self._candidates = limits.max_parts * _CANDIDATES_PER_PART
        self._decode_bytes = limits.max_decoded_bytes
        self.parts: list[Part] = []
        self.defects: list[Defect] = []

    def add(
        self, entity: Entity, start: int, end: int, path: tuple[int, ...], max_parts: int
    ) -> None:
        """Take one entity whose body is ``start`` to ``end``: descend, or note a leaf.

        Afterwards there are at most ``max_parts`` leaf parts.
        """
        kind = entity.content_type
        container = kind.startswith("multipart/") or kind in _MESSAGE_TYPES
        if container and len(path) >= self._limits.max_depth:
            entity.defects.append(Defect.TOO_DEEP)
        elif kind in _MESSAGE_TYPES:
            if entity.transfer_encoding not in ENCODED:
                self.defects += entity.defects
                self._add_from_header(start, end, (*path, 1), "text/plain", max_parts)
                return
            entity.defects.append(Defect.ENCODED_MESSAGE)
        elif container and self._add_multipart(entity, start, end, path, max_parts):
            return
        may_decode = min(end - start, self._decode_bytes)
        self._decode_bytes -= may_decode
        self.parts.append(Part(self._raw, (start, end), entity, path, self._limits, may_decode))
        self.defects += entity.defects

    def _add_from_header(
        self, start: int, end: int, path: tuple[int, ...], default_type: str, max_parts: int
    ) -> None:
        block = read_header_block(self._raw, start, end, self._limits)
        # A part without fields and empty line is everyday; only with fields it is odd.
        defects = block.defects if block.fields else []
        entity = Entity(block.fields, defects, default_type, self._limits.max_header_text_bytes)
        self.add(entity, block.body_start, end, path, max_parts)

    def _add_multipart(
        self, entity: Entity, start: int, end: int, path: tuple[int, ...], max_parts: int
    ) -> bool:
        """Add the parts of a multipart; False if it has none and is to be taken as a leaf."""
        if not entity.boundaries:
            entity.defects.append(Defect.BOUNDARY_MISSING)
            return False
        room = max_parts - len(self.parts)
        for boundary in entity.boundaries:
            delimiters = self._delimiters(entity, b"\n--" + boundary, start, end, room)
            if len(delimiters) > 1 or (delimiters and not delimiters[0].closing):
                break
        else:
            entity.defects.append(Defect.BOUNDARY_NOT_FOUND)
            return False
        if not delimiters[-1].closing:
            entity.defects.append(Defect.BOUNDARY_NOT_CLOSED)
            delimiters.append(Delimiter(end, end, closing=True))
        self.defects += entity.defects
        default = "message/rfc822" if entity.content_type == "multipart/digest" else "text/plain"
        last = len(delimiters) - 1
        for number in range(1, last + 1):
            # One leaf is kept free for the last part: a flood in front must not hide it.
            allowed = max_parts if number == last else max_parts - 1
            if len(self.parts) >= allowed:
                self.defects.append(Defect.TOO_MANY_PARTS)
                continue
            part_start = delimiters[number - 1].next_start
            part_end = max(part_start, delimiters[number].part_end)
            self._add_from_header(part_start, part_end, (*path, number), default, allowed)
        return True

    def _delimiters(
        self, entity: Entity, needle: bytes, start: int, end: int, room: int
    ) -> list[Delimiter]:
        """Find the delimiter lines of a container, at most one more than ``room`` parts need."""
        found: list[Delimiter] = []
        # The line end in front of the first delimiter may be that of the header.
        position = max(start - 1, 0)
        while True:
            if self._search_bytes <= 0:
                entity.defects.append(Defect.TOO_DEEP)
                return found
            hit = self._raw.find(needle, position, end)
            self._search_bytes -= (hit if hit >= 0 else end) - position + len(needle)
            if hit < 0:
                return found
            delimiter = self._delimiter_at(hit, len(needle), end)
            if delimiter is None:
                self._candidates -= 1
                position = hit + len(needle)
            elif found and hit < found[-1].next_start and not delimiter.closing:
                found[-1] = delimiter  # no part lies between two delimiters in a row
                self._candidates -= 1
                position = delimiter.next_start - 1
            else:
                found.append(delimiter)
                position = delimiter.next_start - 1
                if delimiter.closing:
                    return found
            if len(found) >= room or self._candidates <= 0:
                entity.defects.append(Defect.TOO_MANY_PARTS)
                return found + self._last_delimiters(needle, position, end)

    def _last_delimiters(self, needle: bytes, start: int, end: int) -> list[Delimiter]:
        """Find the delimiters around the last part near the end of a container."""
        found: list[Delimiter] = []
        low, high = max(start, end - _LAST_PART_WINDOW), end
        for _ in range(8):
            hit = self._raw.rfind(needle, low, high)
            if hit < 0:
                break
            high = hit + 1
            delimiter = self._delimiter_at(hit, len(needle), end)
            if delimiter is None:
                continue
            found = [delimiter] if delimiter.closing else [delimiter, *found]
            if not delimiter.closing:
                break
        return found

    def _delimiter_at(self, hit: int, length: int, end: int) -> Delimiter | None:
        """Read the rest of a line that begins like a delimiter; None if it is another line."""
        after = hit + length
        match = _AFTER_BOUNDARY.match(self._raw[after : min(end, after + _MAX_PADDING)])
        if match is None or (match.end() == _MAX_PADDING and match[0][-1:] != b"\n"):
            return None
        part_end = hit - 1 if hit and self._raw[hit - 1 : hit] == b"\r" else hit
        return Delimiter(part_end, after + match.end(), closing=match[1] is not None)


def take_apart(raw: bytes | mmap, block: HeaderBlock, end: int, limits: ScanLimits) -> PartTree:
    """Find the leaf parts of the message whose header block was read."""
    tree = PartTree(raw, end, limits)
    entity = Entity(block.fields, [], "text/plain", limits.max_header_text_bytes)
    tree.add(entity, block.body_start, end, (), limits.max_parts)
    return tree
