"""Hundreds of copies through a next hop that fails at random: every one accounted for."""

import random
from collections import Counter

import pytest

from gateway.core.record import CopyState
from tests.fakes.sink import Answer, Fault, Script, recipients_of, sink
from tests.functional.test_queue import bench
from tests.functional.test_relay import served

FAULTS: dict[str, list[Answer]] = {
    "greeting": [Fault.CLOSE, "421 4.3.2 busy", "554 5.3.2 closed"],
    "ehlo": [Fault.CLOSE, "421 4.3.2 busy"],
    "rset": ["421 4.3.2 busy", Fault.CLOSE],
    "mail": [Fault.CLOSE, Fault.RESET, "451 4.3.0 later", "421 4.3.2 busy", "550 5.7.1 never"],
    "rcpt": [Fault.CLOSE, "450 4.2.1 later", "452 4.5.3 too many", "550 5.1.1 who?"],
    "data": [Fault.CLOSE, "451 4.3.0 later", "554 5.7.1 never"],
    "in_data": [Fault.CLOSE, Fault.RESET, "421 4.3.2 going down"],
    "final": [Fault.CLOSE, Fault.RESET, "452 4.3.1 full", "554 5.6.0 never"],
    "quit": [Fault.CLOSE],
}


class Chaos(dict[str, Answer]):
    """Answers well most of the time. A final answer may be lost after the message was taken."""

    def __init__(self, chance: random.Random, share: float) -> None:
        super().__init__()
        self.chance = chance
        self.share = share
        self.planned: Answer = None

    def get(self, step: str, default: Answer = None) -> Answer:  # type: ignore[override]
        faults = FAULTS.get(step, [])
        if not faults or self.chance.random() > self.share:
            return default
        return self.chance.choice(faults)

    def __contains__(self, step: object) -> bool:
        self.planned = self.get(str(step))
        return self.planned is not None

    def __getitem__(self, step: str) -> Answer:
        return self.planned


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("lmtp", [False, True])
async def test_every_copy_is_delivered_once_or_held_with_a_reason(seed: int, lmtp: bool) -> None:
    chance = random.Random(seed)
    script = Script(answers=Chaos(chance, 0.15), take_before_fault=seed > 1)
    async with sink(script, lmtp=lmtp) as target, bench(served(one=target.hop)) as b:
        wanted = set()
        for number in range(80):
            names = [f"r{number}-{n}@one.example" for n in range(chance.randint(1, 4))]
            b.put(*names, state=chance.choice([CopyState.QUEUED, CopyState.RELEASED]))
            wanted |= set(names)
        while (await b.store.next_due_ms()) is not None:
            await b.round()
            if (await b.store.next_due_ms()) is not None:
                await b.advance_to_next()
    states = b.store.states()
    taken = Counter(recipients_of(target.messages))
    assert set(states) == wanted
    assert set(states.values()) <= {"delivered", "held"}
    delivered = {name for name, state in states.items() if state == "delivered"}
    uncertain = {e.recipient for e in b.journal.events if e.detail.get("uncertain")}
    reasons = Counter(e.detail.get("hold_reason") for e in b.journal.events)
    assert delivered <= set(taken)  # never "delivered" without the next hop's yes
    twice = {name for name in taken if taken[name] > 1}
    assert twice <= uncertain
    assert bool(twice) is script.take_before_fault
    assert set(taken) - delivered <= uncertain
    assert reasons["refused_by_next_hop"] == len(wanted - delivered)
    assert len(delivered) > len(wanted) / 3
    assert b.queue.counts["attempts"] > len(wanted)
