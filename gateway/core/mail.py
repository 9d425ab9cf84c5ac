"""What came in: the session, the envelope, the bytes."""

import mmap
from dataclasses import dataclass

from gateway.core.addresses import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is connected. With PROXY, ``ip`` is the client the proxy names (issue: smtp edge)."""

    ip: str
    port: int
    helo: str
    esmtp: bool
    tls_version: str = ""  # empty: plain text
    tls_cipher: str = ""
    authenticated_as: str = ""
    rdns: str = ""
    connected_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DsnRequest:
    """What a client asks to be told about one recipient (RFC 3461 §4.1, §4.2), as it came.

    ``recipient`` is the address key; ``notify`` and ``orcpt`` are empty where nothing was said.
    """

    recipient: str
    notify: str = ""
    orcpt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Who a transaction says it is from, and who shall receive it.

    ``mail_from`` is empty for the null reverse-path (RFC 5321 §4.5.5): mail that must never bounce.
    ``rcpt_to`` keeps the spelling that came beside the key, in the order of the RCPT commands,
    without repetition.
    """

    mail_from: str
    rcpt_to: tuple[Address, ...]
    smtputf8: bool = False
    body_8bit: bool = False  # BODY=8BITMIME was declared (RFC 6152)
    declared_size: int | None = None
    ret: str = ""  # RET and ENVID of RFC 3461, as they came
    envid: str = ""
    dsn: tuple[DsnRequest, ...] = ()  # of the recipients that came with any


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message in flight: envelope, the bytes that came (CRLF, dots unstuffed), and its id.

    ``content`` is a mapped temporary file above 1 MB; both kinds slice to bytes and have ``find``.
    """

    id: str
    received_at_ms: int
    session: Session
    envelope: Envelope
    content: bytes | mmap.mmap
    sha256: str

    @property
    def size_bytes(self) -> int:
        """Octets as received, before any field of ours."""
        return len(self.content)
