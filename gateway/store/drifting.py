"""Whether the mail still looks as it did, asked of the index (``models.drift`` does the maths)."""

from collections.abc import Iterator

from gateway.core.verdict import VerdictClass
from gateway.store.index import Index
from gateway.store.scored import DAY_MS, ScoredMail
from models.drift import (
    EARLIER_DAYS,
    RECENT_DAYS,
    DayFacts,
    Finding,
    Judged,
    Scored,
    facts_by_day,
    findings,
    window,
)

_A_DAY = 500  # messages of a day are plenty for a distribution
_CALLED_SPAM = {
    VerdictClass.SPAM.value: True,
    VerdictClass.MALWARE.value: True,
    VerdictClass.HAM.value: False,
}


def drift_by_day(index: Index, now_ms: int) -> list[DayFacts]:
    """The facts of each UTC day with mail or labels, as far back as drift is looked for.

    Only mail that the model scored which scored last: another model has other scores.

    Raises:
        IndexUnavailableError: the database cannot be used.
    """
    since = now_ms - (RECENT_DAYS + EARLIER_DAYS) * DAY_MS
    mails = list(index.scored.sample(since, now_ms + 1, a_day=_A_DAY))
    serving = mails[-1].model_id if mails else ""
    scored = (
        Scored(at_ms=m.received_at_ms, probability=m.probability, known_share=m.known_share)
        for m in mails
        if m.model_id == serving
    )
    return facts_by_day(scored, _judged(index, since))


def drift(days: list[DayFacts], now_ms: int) -> list[Finding]:
    """What the last days have that the weeks before had not."""
    today = now_ms // DAY_MS
    first = today - RECENT_DAYS + 1
    before = window(days, first - EARLIER_DAYS, first - 1)
    return findings(before, window(days, first, today))


def _judged(index: Index, since_ms: int) -> Iterator[Judged]:
    """Labels beside the verdict the mail had got; a mail of which we were unsure tells nothing."""
    given = {one.mail_id: one for one in index.labels.verdicts(since_ms)}
    mails: Iterator[ScoredMail] = index.scored.of(given)
    for mail in mails:
        called = _CALLED_SPAM.get(mail.verdict)
        if called is not None:
            label = given[mail.mail_id]
            yield Judged(at_ms=label.at_ms, is_spam=bool(label.is_spam), was_called_spam=called)
