"""Delivery into a Maildir: one durable file per recipient.

All recipients of a next hop share the Maildir at its path, so that a newcomer finds the mail in
``<path>/new`` and any mail reader opens it. Each file begins with ``Return-Path`` and
``Delivered-To``, as a delivery agent writes them (RFC 5321 §4.4), followed by the outgoing bytes
with LF line ends, the custom of Maildir; nothing else is changed.

The file name follows from mail and recipient, so an attempt that is repeated after a crash finds
the file of the first and does not deliver twice.
"""

import asyncio
import errno
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.core.clock import Clock
from gateway.core.handoff import CopyReply, Phase, printable
from gateway.core.ids import received_at_ms
from gateway.core.routing import NextHop
from gateway.net.nexthop import Content, Recipient, Transaction

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PARTS: Final = ("tmp", "new", "cur")
PARALLEL_DELIVERIES: Final = 8  # threads that wait for a disk
FIRST_ATTEMPT_MS: Final = 60_000  # a first attempt comes within it, so no reader has moved the file


class MaildirDelivery:
    """Writes mail into Maildirs, in threads, each file and directory made durable."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free = asyncio.Semaphore(PARALLEL_DELIVERIES)

    async def hand_off(
        self, hop: NextHop, mail_id: str, transaction: Transaction
    ) -> tuple[CopyReply, ...]:
        """One file per recipient; a disk that fails is a value (4yz), in the recipients' order.

        Not cut off by cancellation: a copy that is being written is finished.
        """
        async with self._free:
            repeated = self._clock.now_ms() - received_at_ms(mail_id) > FIRST_ATTEMPT_MS
            job = asyncio.to_thread(
                _deliver_all, hop, mail_id, transaction, parts=_PARTS[1:] if repeated else ("new",)
            )
            return await asyncio.shield(asyncio.ensure_future(job))


def _deliver_all(
    hop: NextHop, mail_id: str, transaction: Transaction, *, parts: Sequence[str]
) -> tuple[CopyReply, ...]:
    return tuple(_deliver(hop, mail_id, transaction, one, parts) for one in transaction.recipients)


def _deliver(
    hop: NextHop,
    mail_id: str,
    transaction: Transaction,
    recipient: Recipient,
    parts: Sequence[str],
) -> CopyReply:
    root = Path(hop.path)
    name = file_name(mail_id, recipient.key)
    try:
        _make(root)
        if any(_is_in(root / part, name) for part in parts):
            text = f"was delivered before as {name}"
        else:
            _write(root, name, _envelope_fields(transaction, recipient), transaction.content)
            text = f"delivered as {name}"
    except OSError as error:
        full = error.errno in _NO_ROOM
        return CopyReply(
            recipient=recipient.key,
            phase=Phase.ANSWERED,
            code=452 if full else 451,
            enhanced="4.3.1" if full else "4.3.0",
            text=printable(f"Maildir: {error}"),
            next_hop=hop,
        )
    return CopyReply(
        recipient=recipient.key,
        phase=Phase.ANSWERED,
        code=250,
        enhanced="2.0.0",
        text=text,
        next_hop=hop,
    )


def file_name(mail_id: str, recipient_key: str) -> str:
    """Unique per copy and sorted by time, e.g. ``1764000000.1jd8m3q7k-n1-4h2k0a9.9f86d081884c``."""
    digest = hashlib.sha256(recipient_key.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{received_at_ms(mail_id) // 1000}.{mail_id}.{digest}"


def _make(root: Path) -> None:
    if all((root / part).is_dir() for part in _PARTS):
        return
    for part in _PARTS:
        (root / part).mkdir(mode=0o700, parents=True, exist_ok=True)
    _sync_directory(root)
    _sync_directory(root.parent)


def _is_in(directory: Path, name: str) -> bool:
    """Under its name, or in ``cur`` with the flags that a reader adds after a colon."""
    if directory.name == "new":
        return (directory / name).exists()
    with os.scandir(directory) as entries:
        return any(entry.name.partition(":")[0] == name for entry in entries)


def _write(root: Path, name: str, first: bytes, content: Content) -> None:
    draft = root / "tmp" / name
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(first)
            held_cr = b""
            for chunk in content.chunks():
                octets = held_cr + chunk
                held_cr = b"\r" if octets.endswith(b"\r") else b""
                octets = octets.removesuffix(b"\r") if held_cr else octets
                file.write(octets.replace(b"\r\n", b"\n"))
            file.write(held_cr)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(root / "new" / name)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    _sync_directory(root / "new")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _envelope_fields(transaction: Transaction, recipient: Recipient) -> bytes:
    sender = _on_one_line(transaction.mail_from)
    address = _on_one_line(recipient.rcpt_to)
    return f"Return-Path: <{sender}>\nDelivered-To: {address}\n".encode("utf-8", "replace")


def _on_one_line(address: str) -> str:
    return "".join("?" if ord(c) < 32 or ord(c) == 127 else c for c in address)


def names_in(path: Path) -> Sequence[str]:
    """The file names of the mail in a Maildir, new and read, for ``doctor`` and tests."""
    return sorted(entry.name for part in ("new", "cur") for entry in (path / part).glob("*"))
