"""Every row of the data model's table in section 4."""

import pytest

from gateway.core.handoff import CopyReply, Phase
from gateway.core.record import Copy, CopyState, HoldReason
from gateway.core.routing import OnOutage
from gateway.core.verdict import Action
from gateway.smtp.reply_table import Attempt, Settlement, settle

OK = (Phase.ANSWERED, 250)
NO = (Phase.ANSWERED, 550)
LATER = (Phase.ANSWERED, 451)
DOWN = (Phase.BEFORE_DOT, 0)
LOST = (Phase.AFTER_DOT, 0)
SPOOL, DEFER = OnOutage.SPOOL, OnOutage.DEFER
DELIVERED, QUEUED, HELD = CopyState.DELIVERED, CopyState.QUEUED, CopyState.HELD
REFUSED, DEFERRED = CopyState.REFUSED, CopyState.DEFERRED


def copy(name: str, action: Action = Action.ACCEPT, state: CopyState = QUEUED) -> Copy:
    return Copy(
        recipient=name,
        rcpt_to=name,
        domain="t.example",
        customer="",
        action=action,
        state=state,
        hold_reason=HoldReason.SPAM if state is HELD else None,
    )


def run(
    *fates: tuple[Phase, int], held: int = 0, outage: OnOutage | tuple[OnOutage, ...] = SPOOL
) -> Settlement:
    outages = outage if isinstance(outage, tuple) else (outage,) * len(fates)
    attempts = [
        Attempt(
            copy=copy(f"r{n}@t.example"),
            result=CopyReply(recipient=f"r{n}@t.example", phase=phase, code=code),
            on_outage=outages[n],
        )
        for n, (phase, code) in enumerate(fates)
    ]
    return settle(attempts, [copy(f"h{n}@t.example", Action.QUARANTINE, HELD) for n in range(held)])


@pytest.mark.parametrize(
    ("settlement", "code", "states"),
    [
        (run(OK), 250, [DELIVERED]),
        (run(OK, OK), 250, [DELIVERED, DELIVERED]),
        (run(NO, NO), 550, [REFUSED, REFUSED]),
        (run(LATER), 250, [QUEUED]),
        (run(DOWN, LATER), 250, [QUEUED, QUEUED]),
        (run(DOWN, outage=DEFER), 451, [DEFERRED]),
        (run(DOWN, DOWN, outage=(SPOOL, DEFER)), 451, [DEFERRED, DEFERRED]),
        (run(LOST), 451, [DEFERRED]),
        (run(LOST, DOWN), 451, [DEFERRED, DEFERRED]),
        (run(LOST, NO), 451, [DEFERRED, DEFERRED]),
        (run(OK, LATER, NO), 250, [DELIVERED, QUEUED, HELD]),
        (run(OK, LATER, outage=DEFER), 250, [DELIVERED, QUEUED]),
        (run(OK, LOST), 250, [DELIVERED, QUEUED]),
        (run(LATER, NO), 250, [QUEUED, HELD]),
        (run(LATER, NO, outage=DEFER), 451, [DEFERRED, DEFERRED]),
        (run(OK, held=1), 250, [DELIVERED, HELD]),
        (run(NO, held=1), 250, [HELD, HELD]),
        (run(DOWN, held=1, outage=DEFER), 250, [QUEUED, HELD]),
        (run(held=2), 250, [HELD, HELD]),
    ],
)
def test_a_row(settlement: Settlement, code: int, states: list[CopyState]) -> None:
    assert settlement.reply.code == code
    assert [copy.state for copy in settlement.copies] == states
    assert settlement.needs_record == any(state in {QUEUED, HELD} for state in states)


def test_a_copy_refused_beside_others_is_held_for_the_admin() -> None:
    settlement = run(OK, NO)
    held = settlement.copies[1]
    assert (held.hold_reason, held.admin_only) == (HoldReason.REFUSED_BY_NEXT_HOP, True)
    assert held.reply == "550"


def test_the_code_is_the_next_hops_and_the_text_our_own() -> None:
    attempt = Attempt(
        copy=copy("a@t.example"),
        result=CopyReply(
            recipient="a@t.example",
            phase=Phase.ANSWERED,
            code=554,
            enhanced="5.2.1",
            text="mailbox of our boss at 10.0.0.7 is locked",
        ),
        on_outage=SPOOL,
    )
    reply = settle([attempt]).reply
    assert (reply.code, reply.enhanced) == (554, "5.2.1")
    assert "boss" not in str(reply)
