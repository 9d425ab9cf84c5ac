"""The body of a message, from the wire into memory or a file, in bounded time and memory."""

from gateway.core.errors import SmtpError
from gateway.core.reply import Reply
from gateway.smtp.body import Body
from gateway.smtp.dots import PIECE_BYTES, DotDecoder
from gateway.smtp.limits import Limits
from gateway.smtp.wire import EndedError, Wire


async def read_content(wire: Wire, body: Body, limits: Limits) -> Reply | None:
    """Read up to the final dot into ``body``; None, or why the message is refused.

    What is refused is read to its end all the same, within limits: the reply belongs there
    (RFC 5321 §4.2.5). Commands pipelined behind the dot stay on the wire.

    Raises:
        EndedError: client gone, too slow (less than ``data_min_bytes_per_s`` after the grace), too
            long in all, or still sending long after it was clear that the message is too big.
    """
    decoder = DotDecoder(max_bytes=limits.max_message_bytes, max_line_bytes=limits.max_line_bytes)
    started = wire.loop.time()
    while decoder.rest is None:
        chunk = wire.take_pending()
        if chunk:
            await _consume(chunk, decoder, body)
            if decoder.hopeless:
                raise EndedError(decoder.flaw)
        else:
            await wire.more(_deadline(wire.loop.time(), started, decoder.raw_bytes, limits))
    wire.put_back(decoder.rest)
    return decoder.flaw


def _deadline(now: float, started: float, raw_bytes: int, limits: Limits) -> float:
    """When waiting ends: this pause is too long, all of it is too long, or it is too slow."""
    return min(
        now + limits.command_timeout_s,
        started + limits.data_timeout_s,
        started + limits.data_grace_s + raw_bytes / limits.data_min_bytes_per_s,
    )


async def _consume(chunk: bytes, decoder: DotDecoder, body: Body) -> None:
    for start in range(0, len(chunk), PIECE_BYTES):
        content = decoder.decode(chunk[start : start + PIECE_BYTES])
        if content and body.add(content):
            try:
                await body.spill()
            except SmtpError as error:
                decoder.flaw = error.reply
        if decoder.flaw is not None:
            body.discard()
        if decoder.rest is not None:
            decoder.rest += chunk[start + PIECE_BYTES :]
            return
