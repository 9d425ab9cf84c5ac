"""Delivery reports as mail servers write them, for the public corpora hold next to none.

A model that never met one takes "undeliverable" and "removed" for signs of spam. The texts follow
the habits of common servers; what is returned is ham of the corpora.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from training.baseline_modern import ModernDresser
from training.baseline_sources import split_header

_MOST_RETURNED: Final = 3_000
_TOP: Final = ("com", "net", "org", "de")
_REASONS: Final = (
    "User unknown", "mailbox unavailable", "Mailbox full", "No such user here", "Relaying denied",
    "Recipient address rejected: User unknown in local recipient table", "Quota exceeded",
    "The email account that you tried to reach does not exist", "Connection timed out",
    "Host or domain name not found", "Message size exceeds fixed limit", "account is disabled",
    "Message rejected due to content", "Greylisted, please try again later",
)  # fmt: skip
_CODES: Final = (
    "550 5.1.1", "554 5.7.1", "552 5.2.2", "550 5.0.0", "450 4.2.0", "553 5.1.8", "421 4.4.1",
)  # fmt: skip
_SENDERS: Final = (
    "Mail Delivery System <MAILER-DAEMON@{host}>", "MAILER-DAEMON@{host} (Mail Delivery System)",
    "Mail Delivery Subsystem <MAILER-DAEMON@{host}>", "postmaster@{host}", "<postmaster@{host}>",
    "System Administrator <postmaster@{host}>", "Mailer-Daemon@{host}",
)  # fmt: skip
_FAILED: Final = (
    "Undelivered Mail Returned to Sender", "Mail delivery failed: returning message to sender",
    "Returned mail: see transcript for details", "failure notice", "Undeliverable: message",
    "Delivery Status Notification (Failure)", "Delivery failure", "Undeliverable mail",
    "Mail System Error - Returned Mail",
)  # fmt: skip
_DELAYED: Final = (
    "Delayed Mail (still being retried)", "Warning: message delayed 24 hours",
    "Delivery Status Notification (Delay)",
)  # fmt: skip
_TEXTS: Final = (
    """\
This is the mail system at host {host}.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system

<{rcpt}>: host {host} said: {code}
    {why} (in reply to RCPT TO command)
""",
    """\
This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {rcpt}
    SMTP error from remote mail server after RCPT TO:<{rcpt}>:
    host {host}: {code} {why}
""",
    """\
The original message was received at {date}
from localhost

   ----- The following addresses had permanent fatal errors -----
<{rcpt}>
    (reason: {code} {why})

   ----- Transcript of session follows -----
... while talking to {host}.:
>>> RCPT To:<{rcpt}>
<<< {code} {why}
""",
    """\
Hi. This is the qmail-send program at {host}.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{rcpt}>:
Remote host said: {code} {why}
""",
    """\
This is an automatically generated Delivery Status Notification.

Delivery to the following recipients failed.

       {rcpt}

{code} {why}
""",
    """\
Your message did not reach some or all of the intended recipients.

      To:\t{rcpt}
      Sent:\t{date}

The following recipient(s) could not be reached:

      {rcpt} on {date}
            The e-mail account does not exist at the organization this message was \
sent to. {code} {why}
""",
    """\
The message you sent to {rcpt} could not be delivered.
Reason: {code} {why}
The message has not been delivered. No further attempts will be made.
""",
)
_COPY_FOLLOWS: Final = (
    "--- Below this line is a copy of the message.",
    "------ This is a copy of the message, including all the headers. ------",
    "   ----- Original message follows -----",
)


class DeliveryReporter(ModernDresser):
    """Returns messages to their senders, in the words and shapes of several mail servers."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._generator = np.random.default_rng([seed, 2028])

    def report(self, raw: bytes) -> bytes:
        """Return a report that this message, or only its header, could not be delivered."""
        names = ("mail", "mx1", "smtp", "relay")
        here = f"{self._token(6).lower()}.{self._of(_TOP)}"
        facts = {
            "host": f"{self._of(names)}.{self._token(6).lower()}.{self._of(_TOP)}",
            "rcpt": f"{self._token(6).lower()}@{self._token(6).lower()}.{self._of(_TOP)}",
            "to": f"{self._of(('info', 'jan', 'office', 'mail', 'anna'))}@{here}",
            "code": self._of(_CODES),
            "why": self._of(_REASONS),
            "date": self._date(),
            "action": "delayed" if self._below(7) == 0 else "failed",
        }
        text = self._of(_TEXTS).format_map(facts).encode("ascii")
        head, body = split_header(raw)
        returned = b"\n".join(head) + b"\n"
        if self._below(3):
            returned += b"\n" + body[:_MOST_RETURNED]
        top = self._top(facts, here)
        shape = self._below(3)
        if shape == 0:
            copy = self._of(_COPY_FOLLOWS).encode("ascii")
            return top + b"\n" + text + b"\n" + copy + b"\n\n" + returned
        return top + self._parts(facts, text, returned, is_report=shape == 1)

    def _top(self, facts: dict[str, str], here: str) -> bytes:
        address = ".".join(str(1 + self._below(223)) for _ in range(4))
        trace = (
            f"Return-Path: <>\nReceived: from {{host}} ({{host}} [{address}])\n\tby mx.{here}"
            f" (Postfix) with ESMTP id {self._token(10)}\n\tfor <{{to}}>; {{date}}\n"
        )
        if self._below(2):
            trace += f"Received: by {{host}} (Postfix)\n\tid {self._token(10)}; {{date}}\n"
        subject = self._of(_DELAYED if facts["action"] == "delayed" else _FAILED)
        fields = [
            "Date: {date}\n", f"From: {self._of(_SENDERS)}\n", f"Subject: {subject}\n",
            "To: {to}\n",
        ]  # fmt: skip
        turned = [fields.pop(self._below(len(fields))) for _ in range(4)]
        if self._below(2):
            turned.append("Auto-Submitted: auto-replied\n")
        turned.append(f"Message-ID: <{self._token(14)}@{{host}}>\n")
        return (trace + "".join(turned)).format_map(facts).encode("ascii")

    def _parts(
        self, facts: dict[str, str], text: bytes, returned: bytes, *, is_report: bool
    ) -> bytes:
        status = (
            "Reporting-MTA: dns; {host}\nArrival-Date: {date}\n\nFinal-Recipient: rfc822; {rcpt}\n"
            f"Action: {{action}}\nStatus: {facts['code'].split()[1]}\n"
            "Diagnostic-Code: smtp; {code} {why}\n"
        )
        parts = [("text/plain; charset=us-ascii", "Notification", text)]
        if is_report:
            machine = status.format_map(facts).encode("ascii")
            parts.append(("message/delivery-status", "Delivery report", machine))
        kind = self._of(("message/rfc822", "text/rfc822-headers"))
        parts.append((kind, "Undelivered Message", returned))
        boundary = f"{self._token(12)}/{facts['host']}"
        top = "report; report-type=delivery-status" if is_report else "mixed"
        whole = (
            f'MIME-Version: 1.0\nContent-Type: multipart/{top};\n\tboundary="{boundary}"\n\n'
            "This is a MIME-encapsulated message.\n\n"
        ).encode("ascii")
        for part, description, content in parts:
            named = f"Content-Description: {description}\n" if self._below(2) else ""
            head = f"--{boundary}\n{named}Content-Type: {part}\n\n"
            whole += head.encode("ascii") + content + b"\n"
        return whole + f"--{boundary}--\n".encode("ascii")
