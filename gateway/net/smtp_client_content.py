"""From message bytes to the octets after DATA: dots stuffed, no bare CR or LF, the final dot."""

import re

_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")


class DotStuffer:
    """Stuffs dots (RFC 5321 §4.5.2) chunk by chunk with bulk operations, in linear time.

    What stands between chunks is carried over, so a chunk may end anywhere. A bare CR or LF, which
    a receiver might take for a line end and thereby for the end of our message (SMTP smuggling),
    becomes CRLF before dots are stuffed; such mail is refused when it comes in, so this is the
    second lock on the same door.
    """

    def __init__(self) -> None:
        self._at_line_start = True
        self._held_cr = False

    def feed(self, chunk: bytes) -> bytes:
        """The octets to send for the next piece of the message."""
        if not chunk:
            return b""
        if self._held_cr:
            chunk = b"\r" + chunk
        self._held_cr = chunk.endswith(b"\r")
        if self._held_cr:  # is it half of a CRLF? the next chunk tells
            chunk = chunk[:-1]
            if not chunk:
                return b""
        line_ends = chunk.count(b"\r\n")
        if chunk.count(b"\n") != line_ends or chunk.count(b"\r") != line_ends:
            chunk = _ANY_LINE_END.sub(b"\r\n", chunk)
        starts_with_dot = self._at_line_start and chunk.startswith(b".")
        self._at_line_start = chunk.endswith(b"\r\n")
        chunk = chunk.replace(b"\r\n.", b"\r\n..")
        return b"." + chunk if starts_with_dot else chunk

    def finish(self) -> bytes:
        """The final dot, after a line end where the message had none."""
        if self._held_cr or not self._at_line_start:
            return b"\r\n.\r\n"
        return b".\r\n"
