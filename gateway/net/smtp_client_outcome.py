"""The bookkeeping of one attempt: which recipient has which answer, and what is still open."""

from gateway.core.handoff import CopyReply, Phase
from gateway.core.routing import NextHop
from gateway.net.nexthop import HandOff, Transaction
from gateway.net.smtp_client_protocol import WireFaultError, WireReply

_TOO_MANY_RECIPIENTS = frozenset({"", "5.5.3"})


class Attempt:
    """Collects answers; a positive one is final only after the final dot.

    ``accepted`` holds the numbers of recipients whose RCPT was taken, in order.
    """

    def __init__(self, transaction: Transaction, hop: NextHop, *, dsn: bool) -> None:
        self._transaction = transaction
        self._hop = hop
        self._dsn = dsn
        self._replies: list[CopyReply | None] = [None] * len(transaction.recipients)
        self._fault = ""
        self._answered = False
        self.accepted: list[int] = []
        self.mail_refused = False
        self.content_sent = False
        self.dot_written = False
        self.timed_out = False
        self.saw_421 = False  # the peer announced that it closes (RFC 5321 §3.8)

    def answer_mail(self, reply: WireReply) -> None:
        """A refused MAIL is the answer for every recipient."""
        self._answered = True
        self._refuse_unexpected(reply, "MAIL")
        self.mail_refused = reply.code >= 400
        if self.mail_refused:
            self._fill(reply)

    def answer_rcpt(self, number: int, reply: WireReply) -> None:
        """After a refused MAIL this is noise (503), else it decides about this recipient."""
        if self.mail_refused:
            return
        self._refuse_unexpected(reply, "RCPT")
        if reply.code < 300:
            self.accepted.append(number)
            return
        if reply.code == 552 and self.accepted and reply.enhanced in _TOO_MANY_RECIPIENTS:
            # RFC 5321 §4.5.3.1.10: old servers say so for "too many recipients"; try later
            reply = WireReply(code=452, enhanced="4.5.3", lines=reply.lines)
        self._set(number, reply)

    def answer_data(self, reply: WireReply) -> None:
        """DATA was not taken: the answer for all whose RCPT was."""
        if reply.code < 400:
            raise WireFaultError(f"unexpected reply to DATA: {reply}")
        for number in self.accepted:
            self._set(number, reply)

    def answer_final(self, reply: WireReply) -> None:
        """SMTP: one answer for all accepted recipients."""
        for number in self.accepted:
            self.answer_final_of(number, reply)

    def answer_final_of(self, number: int, reply: WireReply) -> None:
        """LMTP: the answer for one recipient (RFC 2033 §4.2)."""
        self._refuse_unexpected(reply, "end of DATA")
        self._set(number, reply)

    def refuse_early(self, reply: WireReply) -> None:
        """The peer gave up before our final dot: a refusal counts, a yes cannot."""
        if reply.code >= 400:
            for number in self.accepted:
                self._set(number, reply)

    def lose(self, fault: str, *, phase: Phase) -> None:
        """The connection is gone: what has no answer gets none."""
        self._fault = fault
        for number, known in enumerate(self._replies):
            if known is None:
                one = self._transaction.recipients[number]
                self._replies[number] = CopyReply(
                    recipient=one.key, phase=phase, text=fault, next_hop=self._hop
                )

    def hand_off(self) -> HandOff:
        """The result; every recipient has its reply by now."""
        replies = tuple(reply for reply in self._replies if reply is not None)
        assert len(replies) == len(self._replies)  # noqa: S101  our own bookkeeping, not input
        return HandOff(
            replies=replies,
            content_sent=self.content_sent,
            answered=self._answered,
            fault=self._fault,
            timed_out=self.timed_out,
        )

    def _fill(self, reply: WireReply) -> None:
        for number in range(len(self._replies)):
            self._set(number, reply)

    def _set(self, number: int, reply: WireReply) -> None:
        self.saw_421 = self.saw_421 or reply.code == 421
        self._replies[number] = CopyReply(
            recipient=self._transaction.recipients[number].key,
            phase=Phase.ANSWERED,
            code=reply.code,
            enhanced=reply.enhanced,
            text=reply.text,
            next_hop=self._hop,
            dsn=self._dsn,
        )

    @staticmethod
    def _refuse_unexpected(reply: WireReply, what: str) -> None:
        if 300 <= reply.code < 400:
            raise WireFaultError(f"unexpected reply to {what}: {reply}")
