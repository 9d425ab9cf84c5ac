"""Everything a next hop can do wrong, through the running gateway: what the client hears, where its
copy is meanwhile, and that it arrives once the next hop is well again (issue: next-hop faults).
"""

import asyncio
import smtplib
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.clock import SystemClock
from gateway.core.routing import Domain, OnOutage
from gateway.store.directory import Directory
from tests.crash.matrix import MAIL
from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.sink import Answer, Fault, Script, Sink, sink
from tests.functional.test_survival import in_thread

SHORT = {
    "SCHWAMM_DELIVERY__CONNECT_TIMEOUT_S": "3",
    "SCHWAMM_DELIVERY__COMMAND_TIMEOUT_S": "3",
    "SCHWAMM_DELIVERY__FINAL_TIMEOUT_S": "3",
    "SCHWAMM_DELIVERY__FIRST_RETRY_S": "1",
    "SCHWAMM_DELIVERY__LONGEST_RETRY_S": "2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault. ``fate``: where the copy is while it lasts; ``arrives``: how often in the end."""

    name: str
    answers: Mapping[str, Answer]
    code: int
    fate: str
    arrives: int
    slow: bool = False
    taken: bool = False  # the next hop took it although its answer never came
    defer: bool = False


def outage(step: str, answer: Answer) -> Case:
    """Before the final dot nothing was taken: the mail is spooled and goes when it is back."""
    said = answer.value if isinstance(answer, Fault) else str(answer)[:3]
    name = f"{step}-{said}".replace("_", "-")
    return Case(name=name, answers={step: answer}, code=250, fate="queued", arrives=1)


def refusal(step: str) -> Case:
    """A 5yz is told to the client in its session; nothing is ours."""
    answers = {step: "550 5.7.1 never"}
    return Case(name=f"{step}-550", answers=answers, code=550, fate="nowhere", arrives=0)


def doubt(answer: Fault, *, taken: bool) -> Case:
    """No answer after the final dot: 451, and the client's next try is the one that counts."""
    name = f"final-{answer.value}-{'taken' if taken else 'lost'}"
    return Case(
        name=name, answers={"final": answer}, code=451, fate="nowhere", arrives=0, taken=taken
    )


def in_mid_data(answer: Fault) -> Case:
    """A small mail and its dot leave in one piece: whether the close came first, nobody knows."""
    name = f"in-data-{answer.value}"
    return Case(name=name, answers={"in_data": answer}, code=451, fate="nowhere", arrives=0)


CASES = (
    *(outage("greeting", one) for one in (Fault.HANG, Fault.CLOSE, Fault.RESET, Fault.GARBAGE)),
    *(outage("greeting", one) for one in (Fault.ENDLESS, Fault.LONG_LINE, "421 busy", "554 no")),
    *(outage("ehlo", one) for one in (Fault.HANG, Fault.CLOSE, "421 4.3.2 busy", "454 later")),
    *(outage("mail", one) for one in (Fault.HANG, Fault.CLOSE, Fault.GARBAGE, "451 4.3.0 later")),
    *(outage("rcpt", one) for one in (Fault.HANG, Fault.RESET, Fault.GARBAGE, "450 4.2.1 later")),
    *(outage("data", one) for one in (Fault.HANG, Fault.CLOSE, Fault.GARBAGE, "451 4.3.0 later")),
    *(in_mid_data(one) for one in (Fault.CLOSE, Fault.RESET)),
    outage("final", "451 4.3.0 later"),
    *(refusal(step) for step in ("mail", "rcpt", "data", "final")),
    *(doubt(one, taken=False) for one in (Fault.HANG, Fault.CLOSE, Fault.GARBAGE)),
    *(doubt(one, taken=True) for one in (Fault.HANG, Fault.CLOSE)),
    Case(name="slow", answers={}, code=250, fate="delivered", arrives=1, slow=True),
    Case(
        name="starttls-454",
        answers={"starttls": "454 4.7.0 not now"},
        code=250,
        fate="delivered",
        arrives=1,
    ),
    Case(
        name="outage-defer",
        answers={"greeting": Fault.CLOSE},
        code=451,
        fate="nowhere",
        arrives=0,
        defer=True,
    ),
)


def script_of(case: Case) -> Script:
    return Script(
        answers=dict(case.answers),
        take_before_fault=case.taken,
        delay_s=0.2 if case.slow else 0.0,
        drip=case.slow,
        offers=("STARTTLS",) if case.name.startswith("starttls") else Script().offers,
    )


def serve_all(gateway: Gateway, sinks: Mapping[str, Sink]) -> None:
    directory = Directory.open(
        f"sqlite:///{gateway.state / 'directory.db'}",
        snapshots=gateway.state / "generations",
        clock=SystemClock(),
    )
    try:
        for case in CASES:
            outage = OnOutage.DEFER if case.defer else OnOutage.SPOOL
            hops = (sinks[case.name].hop,)
            served = Domain(name=f"{case.name}.example", next_hops=hops, on_outage=outage)
            directory.add_domain(served, by="test")
    finally:
        directory.close()


def send(gateway: Gateway, case: Case) -> int:
    with smtplib.SMTP("127.0.0.1", gateway.smtp_port, timeout=60) as client:
        client.ehlo("client.example")
        client.mail("anna@elsewhere.example")
        client.rcpt(f"bert@{case.name}.example")
        code, _ = client.data(MAIL.format(number=1, body=case.name).encode())
        return code


def rows_by_domain(gateway: Gateway, *listing: str) -> dict[str, dict[str, object]]:
    rows = gateway.rows(*listing, "--limit", "1000")
    return {str(row["recipient"]).partition("@")[2].removesuffix(".example"): row for row in rows}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    one = Gateway(tmp_path, f"maildir:{tmp_path}/mail")
    one.environment |= SHORT
    yield one
    one.kill_everything()


async def test_the_fate_of_every_copy(gateway: Gateway) -> None:
    """All faults at once, each at a domain of its own: none of them may touch another's mail."""
    async with AsyncExitStack() as stack:
        sinks = {c.name: await stack.enter_async_context(sink(script_of(c))) for c in CASES}
        assert len(sinks) == len(CASES)
        await in_thread(gateway.init)
        await in_thread(serve_all, gateway, sinks)
        await in_thread(gateway.start)
        heard = await asyncio.gather(*(in_thread(send, gateway, case) for case in CASES))
        wrong = [
            f"{case.name}: heard {code}, not {case.code}"
            for case, code in zip(CASES, heard, strict=True)
            if code != case.code
        ]
        expected = {case.name for case in CASES if case.fate == "queued"}
        assert not wrong, "\n".join(wrong)
        await in_thread(
            wait_until,
            lambda: rows_by_domain(gateway, "queue", "list").keys() == expected,
            "what must wait, and nothing else",
        )
        for case in CASES:
            before = len(sinks[case.name].messages)
            assert before == (case.fate == "delivered" or case.taken), case.name
        for one in sinks.values():
            one.script.answers.clear()
            one.drop_connections()
        await in_thread(
            wait_until, lambda: gateway.rows("queue", "list") == [], "all to be well again", 90.0
        )
        for case in CASES:
            assert len(sinks[case.name].messages) == case.arrives + case.taken, case.name
        assert gateway.rows("quarantine", "list") == []
        for case, code in zip(CASES, heard, strict=True):
            print(f"| {case.name} | {code} | {case.fate} | {len(sinks[case.name].messages)} |")
