"""A Maildir as next hop: durable, one file per recipient, never twice, never cut short."""

import asyncio
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.routing import NextHop, NextHopKind
from gateway.net import maildir
from gateway.net.maildir import FIRST_ATTEMPT_MS, MaildirDelivery, file_name, names_in
from gateway.net.nexthop import Recipient, Transaction

MAIL_ID = "1jd8m3q7k-n1-4h2k0a9"
CONTENT = b"Received: x\r\nSubject: hello\r\n\r\n.body\r\n\xe4 \r\n\r\nFrom here\r\nno end"


class FixedClock:
    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._now_ms / 1000


RECEIVED_MS = maildir.received_at_ms(MAIL_ID)
FIRST = FixedClock(RECEIVED_MS + 10)
LATER = FixedClock(RECEIVED_MS + FIRST_ATTEMPT_MS + 1)


@dataclass(frozen=True)
class Pieces:
    pieces: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.pieces))

    def chunks(self) -> Iterator[bytes]:
        yield from self.pieces

    def header_is_ascii(self) -> bool:
        return True


def transaction(
    *recipients: str, content: bytes = CONTENT, step: int = 1 << 20, mail_from: str = "f@x.example"
) -> Transaction:
    pieces = tuple(content[start : start + step] for start in range(0, len(content), step))
    return Transaction(
        mail_from=mail_from,
        recipients=tuple(Recipient(key=one.lower(), rcpt_to=one) for one in recipients),
        content=Pieces(pieces),
    )


@pytest.fixture
def hop(tmp_path: Path) -> NextHop:
    return NextHop(kind=NextHopKind.MAILDIR, path=str(tmp_path / "var" / "mail"))


def delivered(hop: NextHop) -> list[bytes]:
    return [file.read_bytes() for file in sorted(Path(hop.path, "new").iterdir())]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1 << 20])
async def test_bytes_stay_but_for_line_ends(hop: NextHop, step: int) -> None:
    one = transaction("Me+tag@Trial.example", step=step)
    (reply,) = await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, one)
    assert reply.delivered
    assert reply.recipient == "me+tag@trial.example"
    assert delivered(hop) == [
        b"Return-Path: <f@x.example>\nDelivered-To: Me+tag@Trial.example\n"
        + CONTENT.replace(b"\r\n", b"\n")
    ]
    assert list(Path(hop.path, "tmp").iterdir()) == []


async def test_a_last_octet_that_is_a_cr_is_kept(hop: NextHop) -> None:
    one = transaction("a@trial.example", content=b"a: b\r\n\r\nx\r\r\ny\r", step=1)
    await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, one)
    assert delivered(hop)[0].endswith(b"a: b\n\nx\r\ny\r")


async def test_one_file_per_recipient(hop: NextHop) -> None:
    one = transaction("a@trial.example", "b@trial.example", mail_from="")
    replies = await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, one)
    assert [reply.recipient for reply in replies] == ["a@trial.example", "b@trial.example"]
    assert len(names_in(Path(hop.path))) == 2
    assert all(text.startswith(b"Return-Path: <>\n") for text in delivered(hop))


async def test_a_repeated_attempt_does_not_deliver_twice(hop: NextHop) -> None:
    one = transaction("a@trial.example")
    for clock in (FIRST, FIRST, LATER):
        (reply,) = await MaildirDelivery(clock).hand_off(hop, MAIL_ID, one)
        assert reply.delivered
    (file,) = Path(hop.path, "new").iterdir()
    file.rename(Path(hop.path, "cur", f"{file.name}:2,S"))  # what a mail reader does
    (reply,) = await MaildirDelivery(LATER).hand_off(hop, MAIL_ID, one)
    assert reply.delivered
    assert "before" in reply.text
    assert names_in(Path(hop.path)) == [f"{file_name(MAIL_ID, 'a@trial.example')}:2,S"]


async def test_a_draft_left_by_a_crash_is_overwritten(hop: NextHop) -> None:
    tmp = Path(hop.path, "tmp")
    tmp.mkdir(parents=True)
    (tmp / file_name(MAIL_ID, "a@trial.example")).write_bytes(b"half of an older attempt" * 1000)
    await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, transaction("a@trial.example"))
    assert delivered(hop)[0].endswith(b"no end")
    assert list(tmp.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [(errno.ENOSPC, 452), (errno.EDQUOT, 452), (errno.EIO, 451), (errno.EROFS, 451)],
)
@pytest.mark.parametrize("call", ["fsync", "open"])
async def test_a_disk_that_fails_is_a_value_and_leaves_nothing(
    hop: NextHop, monkeypatch: pytest.MonkeyPatch, failure: int, code: int, call: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(failure, os.strerror(failure))

    await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, transaction("other@trial.example"))
    with monkeypatch.context() as patch:
        patch.setattr(maildir.os, call, fail)
        (reply,) = await MaildirDelivery(FIRST).hand_off(
            hop, MAIL_ID, transaction("a@trial.example")
        )
    assert (reply.code, reply.delivered) == (code, False)
    assert os.strerror(failure) in reply.text
    assert len(names_in(Path(hop.path))) == 1
    assert list(Path(hop.path, "tmp").iterdir()) == []


async def test_file_and_directory_are_durable_before_the_answer(
    hop: NextHop, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink().parent.name)
        real_fsync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        order.append("rename")
        return real_rename(self, target)

    await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, transaction("first@trial.example"))
    monkeypatch.setattr(maildir.os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, transaction("a@trial.example"))
    assert order == ["tmp", "rename", "mail"]  # the draft, its new name, the directory new/


async def test_a_path_that_is_no_directory_is_a_value(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    hop = NextHop(kind=NextHopKind.MAILDIR, path=str(tmp_path / "file"))
    (reply,) = await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, transaction("a@trial.example"))
    assert reply.code == 451
    assert reply.may_retry


@pytest.mark.parametrize(
    "address", ["../../etc/x@trial.example", "a/b@trial.example", "ü@trial.ex"]
)
async def test_an_address_is_no_path(hop: NextHop, address: str) -> None:
    await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, transaction(address))
    (name,) = names_in(Path(hop.path))
    assert "/" not in name
    assert name.isascii()


async def test_an_address_cannot_add_a_field(hop: NextHop) -> None:
    one = transaction("a@trial.example\nEvil: 1", mail_from="b@x.example>\r\nEvil: 2")
    await MaildirDelivery(FIRST).hand_off(hop, MAIL_ID, one)
    assert b"\nEvil" not in delivered(hop)[0]


async def test_a_cancelled_delivery_is_still_finished(hop: NextHop) -> None:
    delivery = MaildirDelivery(FIRST)
    task = asyncio.create_task(delivery.hand_off(hop, MAIL_ID, transaction("a@trial.example")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        while not (Path(hop.path, "new").is_dir() and delivered(hop)):
            await asyncio.sleep(0.01)
    assert delivered(hop)[0].endswith(b"no end")
