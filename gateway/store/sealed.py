"""The seal of a snapshot on disk: a first line with its kind, format and digest.

A damaged file, or one of another kind or a newer format, is never half believed.
"""

import hashlib
import re

from gateway.core.errors import RecordFormatError, StorageError
from gateway.store import codec

MAX_BYTES = 64 * 1024 * 1024
_HEADER = re.compile(rb"schwamm-([a-z]{1,20}) (\d{1,6}) ([0-9a-f]{64})\n")


def seal(kind: str, form: int, data: codec.Json, *, name: str) -> bytes:
    """The bytes of a snapshot; ``name`` is what an error calls it.

    Raises:
        StorageError: the data is no JSON.
    """
    try:
        body = codec.dump_pretty(data).encode()
    except ValueError as error:
        raise StorageError(f"{name}: no JSON: {error}") from error
    digest = hashlib.sha256(body).hexdigest()
    return f"schwamm-{kind} {form} {digest}\n".encode() + body


def unseal(kind: str, form: int, data: bytes) -> object:
    """What was sealed.

    Raises:
        RecordFormatError: it is another kind, of another format, or damaged.
    """
    head = _HEADER.match(data)
    if head is None or head[1] != kind.encode() or len(data) > MAX_BYTES:
        raise RecordFormatError("no snapshot: its first line is not one of ours")
    if int(head[2]) != form:
        raise RecordFormatError(
            f"snapshot of format {int(head[2])}; this release reads format {form}"
        )
    body = data[head.end() :]
    if hashlib.sha256(body).hexdigest().encode() != head[3]:
        raise RecordFormatError("damaged: its content differs from its digest")
    return codec.parse(body)
