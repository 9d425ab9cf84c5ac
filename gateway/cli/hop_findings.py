"""What the answers of a next hop mean for a domain, as findings; pure.

Nothing is said that was not heard: each finding quotes the reply it is drawn from.
"""

import ipaddress
import secrets
from collections.abc import Iterator, Sequence

from gateway.cli.findings import Finding
from gateway.core.routing import Domain, TlsPolicy
from gateway.locale import Translator
from gateway.net.hop_exam import Exam, Question
from gateway.net.smtp_client_protocol import WireReply

KNOWN, UNKNOWN, RELAY, SENDER = "known", "unknown", "relay", "sender"
STRANGER = "stranger"
FOREIGN = (
    "example.com"  # RFC 2606: nobody's; it publishes "v=spf1 -all", so no host may send for it
)
_ALIAS = "alias:"
_MOST_ALIASES = 5


def questions(domain: Domain, *, recipient: str, spf_sender: str = "") -> list[Question]:
    """What a domain's next hop is asked; local parts that exist nowhere are made up each time.

    ``spf_sender`` is one whose SPF record does not allow us; by default a new one of ``FOREIGN``.
    """
    made_up = f"schwamm-test-{secrets.token_hex(5)}"
    aliases = [
        Question(name=f"{_ALIAS}{alias}", mail_from="", rcpt_to=f"postmaster@{alias}")
        for alias in domain.aliases[:_MOST_ALIASES]
    ]
    return [
        Question(name=KNOWN, mail_from="", rcpt_to=recipient),
        *aliases,
        Question(name=UNKNOWN, mail_from="", rcpt_to=f"{made_up}@{domain.name}"),
        Question(name=RELAY, mail_from="", rcpt_to=f"{made_up}@{FOREIGN}"),
        Question(name=SENDER, mail_from=spf_sender or f"{made_up}@{FOREIGN}", rcpt_to=recipient),
    ]


class HopFindings:
    """Judges one exam. ``max_bytes`` is what the gateway itself takes."""

    def __init__(self, exam: Exam, asked: Sequence[Question], max_bytes: int, _: Translator):
        self._exam = exam
        self._asked = {one.name: one for one in asked}
        self._max_bytes = max_bytes
        self._ = _

    def all(self) -> Iterator[Finding]:
        """One finding for each thing that could be found out."""
        _ = self._
        if self._exam.fault:
            yield self._finding(
                "reach",
                ok=False,
                text=self._exam.fault,
                mend=_("is it up, and does its firewall let us in? mail waits in the queue"),
            )
            return
        yield self._tls()
        yield from self._offers()
        yield from self._recipients()
        yield from self._trust()

    def _finding(self, check: str, *, ok: bool, text: str, mend: str = "") -> Finding:
        return Finding(check=check, ok=ok, text=text, mend=mend, subject=str(self._exam.hop))

    def _tls(self) -> Finding:
        _, exam = self._, self._exam
        policy = exam.hop.tls
        demands = policy in {TlsPolicy.MUST, TlsPolicy.VERIFY}
        if policy is TlsPolicy.NONE:
            mend = _("it offers STARTTLS: leave ?tls=none out") if exam.starttls else ""
            return self._finding("tls", ok=True, text=_("not wanted by ?tls=none"), mend=mend)
        if not exam.starttls or not exam.tls_version:
            refused = _("STARTTLS is offered and does not work: {fault}").format(
                fault=exam.certificate_fault or "-"
            )
            return self._finding(
                "tls",
                ok=not demands,
                text=refused if exam.starttls else _("STARTTLS is not offered"),
                mend=_("turn TLS on there, or mail crosses the network in plain text"),
            )
        if exam.certificate_fault:
            return self._finding(
                "tls",
                ok=policy is not TlsPolicy.VERIFY,
                text=_("{version}, but its certificate is not valid for this name: {fault}").format(
                    version=exam.tls_version, fault=exam.certificate_fault
                ),
                mend=_("give it a valid certificate; until then an attacker could stand between"),
            )
        mend = "" if policy is TlsPolicy.VERIFY else _("its certificate is valid: use ?tls=verify")
        return self._finding("tls", ok=True, text=exam.tls_version, mend=mend)

    def _offers(self) -> Iterator[Finding]:
        _, offer = self._, self._exam.offer
        small = 0 < offer.size_bytes < self._max_bytes
        yield self._finding(
            "size",
            ok=True,
            text=_("takes up to {limit} octets").format(limit=offer.size_bytes)
            if offer.size_bytes
            else _("names no limit"),
            mend=_("we take {ours}: larger mail is refused in the dialogue, or raise it").format(
                ours=self._max_bytes
            )
            if small
            else "",
        )
        words = {"8BITMIME": offer.eight_bit, "SMTPUTF8": offer.smtputf8, "DSN": offer.dsn}
        missing = [word for word, offered in words.items() if not offered]
        yield self._finding(
            "extensions",
            ok=offer.eight_bit,
            text=", ".join(word for word, offered in words.items() if offered) or "-",
            mend=_("lacks {words}; mail that needs them is refused").format(
                words=", ".join(missing)
            )
            if missing
            else "",
        )

    def _recipients(self) -> Iterator[Finding]:
        _ = self._
        for name, asked in self._asked.items():
            if name != KNOWN and not name.startswith(_ALIAS):
                continue
            reply = self._exam.replies.get(name)
            yield self._finding(
                "recipient",
                ok=_positive(reply),
                text=f"{asked.rcpt_to}: {_quoted(reply)}",
                mend=""
                if _positive(reply)
                else _("it must take mail for this domain from us; every domain has a postmaster"),
            )
        reply = self._exam.replies.get(UNKNOWN)
        if _positive(reply):
            yield self._finding(
                "unknown",
                ok=False,
                text=_("takes mail for a mailbox that does not exist: {reply}").format(
                    reply=_quoted(reply)
                ),
                mend=_(
                    "refuse unknown recipients there, or list them here with --recipients list:"
                ),
            )
        else:
            yield self._finding("unknown", ok=True, text=_quoted(reply))

    def _trust(self) -> Iterator[Finding]:
        _, replies = self._, self._exam.replies
        relay = replies.get(RELAY)
        yield self._finding(
            "relay",
            ok=not _positive(relay),
            text=_("would pass mail for {domain} on for us: {reply}").format(
                domain=FOREIGN, reply=_quoted(relay)
            )
            if _positive(relay)
            else _quoted(relay),
            mend=_("trust us for checks only, not for relaying (Postfix: not in mynetworks)")
            if _positive(relay)
            else "",
        )
        known, sender = replies.get(KNOWN), replies.get(SENDER)
        refused = sender is not None and sender.code >= 500 and _positive(known)
        whom = self._asked[SENDER].mail_from
        yield self._finding(
            "sender check",
            ok=not refused,
            text=_("refuses the sender {sender} that it would check: {reply}").format(
                sender=whom, reply=_quoted(sender)
            )
            if refused
            else f"{whom}: {_quoted(sender)}",
            mend=_(
                "exempt our address from its SPF and sender checks: they judge us, not the sender"
            )
            if refused
            else "",
        )
        late = [one for one in (known, sender) if one and 400 <= one.code < 500]
        yield self._finding(
            "greylisting",
            ok=not late,
            text=_("puts us off: {reply}").format(reply=_quoted(late[0]))
            if late
            else _("does not put us off at RCPT"),
            mend=_("exempt our address from greylisting and rate limits") if late else "",
        )


def stranger_finding(exam: Exam, source: str, _: Translator) -> Finding:
    """What a client that comes from another address of this machine meets."""
    reply = exam.replies.get(STRANGER)
    subject = str(exam.hop)
    if _positive(reply):
        return Finding(
            check="strangers",
            ok=False,
            subject=subject,
            text=_("takes mail from {source}, which is not the gateway: {reply}").format(
                source=source, reply=_quoted(reply)
            ),
            mend=_("let only the gateway in: by its firewall, or by a list of clients there"),
        )
    text = f"{source}: {exam.fault or _quoted(reply)}"
    return Finding(check="strangers", ok=True, subject=subject, text=text)


def untested_strangers(
    exam: Exam, addresses: Sequence[str], domain: Domain, _: Translator
) -> Finding:
    """What can be said without another address: where it listens, and how to try from outside."""
    subject = str(exam.hop)
    if addresses and not any(ipaddress.ip_address(one).is_global for one in addresses):
        text = _("its address {address} cannot be reached from the internet").format(
            address=", ".join(addresses)
        )
        return Finding(check="strangers", ok=True, subject=subject, text=text)
    command = (
        f"swaks --server {exam.hop.host} --port {exam.hop.port} "
        f"--to postmaster@{domain.name} --quit-after RCPT"
    )
    return Finding(
        check="strangers",
        ok=True,
        subject=subject,
        text=_("not tested: from here every connection is ours"),
        mend=_("on a machine elsewhere this must be refused: {command}").format(command=command),
    )


def _positive(reply: WireReply | None) -> bool:
    return reply is not None and 200 <= reply.code < 300


def _quoted(reply: WireReply | None) -> str:
    return "-" if reply is None else str(reply)
