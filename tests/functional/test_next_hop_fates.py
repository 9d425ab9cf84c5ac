"""Several next hops, TLS that fails, a close in mid-DATA: through a running gateway, to the end.

The many single faults stand in tests/crash/test_next_hop_faults.py; here are those that need more
than one next hop, a certificate, or a message larger than the sockets' buffers.
"""

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme

from tests.fakes.gateway import Gateway, free_port, wait_until
from tests.fakes.sink import Answer, Fault, Script, Sink, sink
from tests.functional.test_smtp_tls_policy import _server

HEAD = (
    "From: Anna <anna@elsewhere.example>\r\nTo: bert@trial.example\r\nSubject: {subject}\r\n"
    "Message-ID: <{subject}@elsewhere.example>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\n\r\n"
)


@asynccontextmanager
async def serving(folder: Path, *hops: object, **domains: object) -> AsyncIterator[Gateway]:
    """A gateway with trial.example at ``hops`` by priority, and more domains by name."""
    gateway = Gateway(folder, str(hops[0]))
    gateway.environment |= {
        "SCHWAMM_DELIVERY__FIRST_RETRY_S": "1",
        "SCHWAMM_DELIVERY__LONGEST_RETRY_S": "1",
        "SCHWAMM_DELIVERY__FINAL_TIMEOUT_S": "5",
    }

    def prepare() -> None:
        gateway.init()
        by_priority = [word for hop in hops for word in ("--next-hop", str(hop))]
        gateway.run("domain", "set", "trial.example", *by_priority)
        for name, hop in domains.items():
            gateway.run("domain", "add", f"{name}.example", "--next-hop", str(hop))
        gateway.start()

    try:
        await asyncio.to_thread(prepare)
        yield gateway
    finally:
        gateway.kill_everything()


async def send(gateway: Gateway, subject: str, *to: str, body: str = "Hello.\r\n") -> int:
    """One message; what the client hears after its final dot."""

    def talk() -> int:
        with smtplib.SMTP("127.0.0.1", gateway.smtp_port, timeout=60) as client:
            client.ehlo("client.example")
            client.mail("anna@elsewhere.example")
            for one in to or ("bert@trial.example",):
                assert client.rcpt(one)[0] == 250
            return client.data(HEAD.format(subject=subject) + body)[0]

    return await asyncio.to_thread(talk)


def subjects(one: Sink) -> list[str]:
    lines = (message.content.partition(b"\nSubject: ")[2] for message in one.messages)
    return [line.split(b"\r\n", 1)[0].decode() for line in lines]


async def until(condition: object, what: str) -> None:
    await asyncio.to_thread(wait_until, condition, what)


async def test_priorities_there_and_back_again(tmp_path: Path) -> None:
    async with (
        sink() as first,
        sink() as second,
        serving(tmp_path, first.hop, second.hop) as gateway,
    ):
        assert await send(gateway, "to-the-first") == 250
        await first.stop()
        assert await send(gateway, "to-the-second") == 250
        await second.stop()
        assert await send(gateway, "to-the-queue") == 250
        await until(lambda: len(gateway.rows("queue", "list")) == 1, "the copy that waits")
        async with sink(port=second.port) as second_back:
            await until(lambda: gateway.rows("queue", "list") == [], "its delivery")
            async with sink(port=first.port) as first_back:
                number = 0
                while not first_back.messages:  # the pool asks again after 2 s at most
                    number += 1
                    assert await send(gateway, f"back-{number}") == 250
                    await asyncio.sleep(0.2)
                assert await send(gateway, "to-the-first-again") == 250
    assert subjects(first) == ["to-the-first"]
    assert subjects(second) == ["to-the-second"]
    assert subjects(second_back)[0] == "to-the-queue"
    assert subjects(first_back) == [f"back-{number}", "to-the-first-again"]
    everywhere = [*subjects(second_back), *subjects(first_back)]
    assert len(set(everywhere)) == len(everywhere) == number + 2


def tls_script(answer: Answer = None, name: str = "127.0.0.1") -> Script:
    answers = {} if answer is None else {"starttls": answer}
    return Script(tls=_server(trustme.CA(), name), answers=answers)


async def test_tls_that_fails(tmp_path: Path) -> None:
    """Under ``may`` plain text takes its place; under ``must`` the mail waits until TLS works."""
    async with sink(tls_script(Fault.GARBAGE)) as may, sink(Script()) as must:
        hops = {"must": f"{must.hop}?tls=must", "may": may.hop}
        closed = f"127.0.0.1:{free_port()}"
        async with serving(tmp_path, closed, **hops) as gateway:
            assert await send(gateway, "waits", "bert@must.example") == 250
            may.script = tls_script("220 go ahead, and then no handshake")
            may.script.tls = broken_context()
            assert await send(gateway, "plain", "bert@may.example") == 250
            assert [message.tls for message in may.messages] == [False]
            await until(lambda: gateway.rows("queue", "list") != [], "the copy that waits")
            rows = gateway.rows("queue", "list")
            assert [row["recipient"] for row in rows] == ["bert@must.example"]
            must.script = tls_script()
            await until(lambda: gateway.rows("queue", "list") == [], "the delivery")
            assert [message.tls for message in must.messages] == [True]
    assert subjects(must) == ["waits"]


def broken_context() -> ssl.SSLContext:
    """A server whose handshake always fails: it has no certificate."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


async def test_closes_in_the_middle_of_a_large_message(tmp_path: Path) -> None:
    """Our final dot had not left: nothing was taken, and the copy is ours without any doubt."""
    large = ("x" * 76 + "\r\n") * 160_000  # 12 MB: more than the sockets hold
    async with sink() as close, sink() as reset:
        sinks = {"close": close, "reset": reset}
        for one, fault in ((close, Fault.CLOSE), (reset, Fault.RESET)):
            one.script = Script(answers={"in_data": fault}, in_data_after=100_000)
        hops = {name: one.hop for name, one in sinks.items()}
        async with serving(tmp_path, f"127.0.0.1:{free_port()}", **hops) as gateway:
            for name in sinks:
                assert await send(gateway, name, f"bert@{name}.example", body=large) == 250
            await until(lambda: len(gateway.rows("queue", "list")) == 2, "both copies")
            waiting = {str(row["recipient"]) for row in gateway.rows("queue", "list")}
            assert waiting == {"bert@close.example", "bert@reset.example"}
            assert not any(one.messages for one in sinks.values())
            for one in sinks.values():
                one.script = Script()
            await until(lambda: gateway.rows("queue", "list") == [], "the deliveries")
    for name, one in sinks.items():
        assert subjects(one) == [name]
        assert one.messages[0].content.endswith(large.encode())
