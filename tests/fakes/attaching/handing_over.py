"""Which copies the keeper has handed to a next hop without a durable result yet.

Only those may arrive twice when it dies: the final dot was sent and nobody wrote down what came of
it. Each process notes ``dot NUMBER RECIPIENT`` just before it sends the final dot, and
``durable NUMBER RECIPIENT`` once the result is on disk, in a file of its own, ``tries-PID``. The
number is the one of the ledger's mark.
"""

# ruff: noqa: PTH118

import contextvars
import os
import re

from attaching import role

MARK = re.compile(rb"^X-Ledger: (\d+)", re.MULTILINE)
_number: contextvars.ContextVar[str] = contextvars.ContextVar("number", default="")


def attachments(here: str):
    """What notes in the directory ``here``; nothing but the keeper's hand-overs is noted."""
    if role() != "keeper":
        return {}
    numbers: dict[str, str] = {}

    def note(line: str) -> None:
        path = os.path.join(here, f"tries-{os.getpid()}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, line.encode() + b"\n")
        os.close(descriptor)

    def relay(module) -> None:
        hand_off = module.Relay.hand_off

        async def marked(self, facts, content, copies):
            found = MARK.search(bytes(content[:65536]))
            numbers[facts.id] = found[1].decode() if found else ""
            _number.set(numbers[facts.id])
            return await hand_off(self, facts, content, copies)

        module.Relay.hand_off = marked

    def smtp_client(module) -> None:
        send_content = module.SmtpConnection._send_content

        async def noted(self, transaction, attempt):
            for index in attempt.accepted:
                note(f"dot {_number.get()} {transaction.recipients[index].key}")
            return await send_content(self, transaction, attempt)

        module.SmtpConnection._send_content = noted

    def queue(module) -> None:
        make_durable = module.Queue._make_durable

        async def noted(self, events):
            await make_durable(self, events)
            for event in events:
                if number := numbers.get(event.mail_id):
                    note(f"durable {number} {event.recipient}")

        module.Queue._make_durable = noted

    return {
        "gateway.delivery.relay": relay,
        "gateway.net.smtp_client": smtp_client,
        "gateway.delivery.queue": queue,
    }
