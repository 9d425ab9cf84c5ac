"""The streams of mail on which filters are compared, made from public corpora.

Every stream is deterministic. Near-duplicates between corpora are removed, since one corpus holds
part of another; within a stream they stay, as they do in real mail.
"""

from __future__ import annotations

import random
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.corpus import CorpusMessage, read_index
from training.corpus.index import find_index
from training.dedup import campaigns, fingerprint
from training.split import arrival_time_of, order_by_time

_SEED = 20051115
_GERMAN_TEXTS = 2500
_MANY_GERMAN_TEXTS = 3000
_MOSTLY_SPAM = 0.71
_DROPPED_FIELDS = re.compile(
    rb"(?i)(?:content-[a-z-]+|mime-version|subject|lines|status|x-status|content-length)[ \t]*:"
)

Labelled = tuple[CorpusMessage, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Labelled messages in order.

    Those before ``measured_from`` are always learned and never measured (another site's mail).
    ``sources`` names the corpora inside: a model that was made from one of them has seen the
    answers. At the positions in ``told_wrong`` the filters are told the other label, and are still
    measured by the right one.
    """

    name: str
    title: str
    messages: tuple[Labelled, ...]
    sources: frozenset[str]
    measured_from: int = 0
    told_wrong: frozenset[int] = frozenset()

    def first(self, count: int) -> Stream:
        """Return the stream cut to its first messages (both of its parts, where it has two)."""
        start, places = self.measured_from, range(len(self.messages))
        learned, measured = places[:start][:count], places[start:][:count]
        kept = (*learned, *measured)
        return replace(
            self,
            messages=tuple(self.messages[place] for place in kept),
            measured_from=len(learned),
            told_wrong=frozenset(new for new, place in enumerate(kept) if place in self.told_wrong),
        )


class Corpora:
    """The unpacked public corpora below one folder; each is read once."""

    def __init__(self, folder: Path, *, complain: Callable[[str], None]) -> None:
        self._folder = folder
        self._complain = complain
        self._read: dict[str, list[Labelled]] = {}

    def messages(self, name: str) -> list[Labelled]:
        """Return a corpus in the order of its index. Raises FileNotFoundError if it is missing."""
        if name not in self._read:
            index = find_index(self._folder / name)
            stream = read_index(index, on_problem=lambda problem: self._complain(str(problem)))
            self._read[name] = list(stream)
        return self._read[name]


def chance_of(seed: int) -> random.Random:
    """Return the chance by which streams are made: the same in every run, and no secret."""
    return random.Random(seed)  # noqa: S311


def shuffled(messages: Sequence[Labelled], seed: int) -> list[Labelled]:
    """Return the messages in another order."""
    order = list(messages)
    chance_of(seed).shuffle(order)
    return order


def spamassassin_by_time(corpora: Corpora) -> Stream:
    """The SpamAssassin corpus in the order in which its mail arrived."""
    return Stream(
        name="spamassassin",
        title="SpamAssassin 2002-2005, by time",
        messages=tuple(_by_time(corpora.messages("spamassassin"))),
        sources=frozenset({"spamassassin"}),
    )


def csdmc_by_time(corpora: Corpora) -> Stream:
    """CSDMC2010 by time, without what the SpamAssassin corpus also holds."""
    return Stream(
        name="csdmc2010",
        title="CSDMC2010 without SpamAssassin's mail, by time",
        messages=tuple(_by_time(_csdmc_alone(corpora))),
        sources=frozenset({"csdmc2010"}),
    )


def german_mix(corpora: Corpora) -> Stream:
    """German texts under headers of real ham, other ham, and spam of 2002 to 2025, shuffled.

    The ham that lends its header is not in the stream itself.
    """
    chance = chance_of(_SEED)
    ham = [message for message, is_spam in corpora.messages("spamassassin") if not is_spam]
    texts = [message for message, _ in corpora.messages("codealltag")]
    chance.shuffle(ham)
    chance.shuffle(texts)
    texts = texts[:_GERMAN_TEXTS]
    donors, others = ham[: len(texts)], ham[len(texts) :]
    mixed: list[Labelled] = [
        (under_header_of(donor, text), False) for donor, text in zip(donors, texts, strict=False)
    ]
    mixed += [(message, False) for message in others]
    mixed += [pair for pair in corpora.messages("spamassassin") if pair[1]]
    mixed += corpora.messages("spam-2023-2025")
    chance.shuffle(mixed)
    return Stream(
        name="german",
        title="German ham in real headers, English ham, spam 2002-2025, shuffled",
        messages=tuple(mixed),
        sources=frozenset({"spamassassin", "codealltag", "spam-2023-2025"}),
    )


def mostly_spam(corpora: Corpora) -> Stream:
    """The SpamAssassin corpus by time with so little of its ham that 71 % is spam.

    A stream on which no parameter of ours was ever chosen.
    """
    messages = _by_time(corpora.messages("spamassassin"))
    ham = [place for place, (_, is_spam) in enumerate(messages) if not is_spam]
    wanted = round((len(messages) - len(ham)) * (1.0 - _MOSTLY_SPAM) / _MOSTLY_SPAM)
    chance = chance_of(_SEED)
    kept = frozenset(chance.sample(ham, min(wanted, len(ham))))
    return Stream(
        name="mostly-spam",
        title="SpamAssassin by time, ham thinned to 29 %",
        messages=tuple(pair for place, pair in enumerate(messages) if pair[1] or place in kept),
        sources=frozenset({"spamassassin"}),
    )


def german_site(corpora: Corpora) -> Stream:
    """German texts under headers of CSDMC2010's ham, its spam and that of 2023 to 2025, shuffled.

    Another stream on which no parameter of ours was ever chosen.
    """
    chance = chance_of(_SEED)
    messages = _csdmc_alone(corpora)
    donors = [message for message, is_spam in messages if not is_spam]
    texts = [message for message, _ in corpora.messages("codealltag")]
    chance.shuffle(texts)
    mixed = [(under_header_of(*both), False) for both in zip(donors, texts, strict=False)]
    mixed += [pair for pair in messages if pair[1]]
    mixed += corpora.messages("spam-2023-2025")
    chance.shuffle(mixed)
    return Stream(
        name="german-site",
        title="German ham in CSDMC2010's headers, its spam and that of 2023-2025, shuffled",
        messages=tuple(mixed),
        sources=frozenset({"csdmc2010", "codealltag", "spam-2023-2025"}),
    )


def many_sites(corpora: Corpora) -> Stream:
    """All public mail at once, shuffled: a host of several sites, English and German.

    The German texts stand under headers of English ham that is in the stream, too. Large enough
    for 0.1 % of the ham to be eight messages.
    """
    chance = chance_of(_SEED)
    mixed = [*corpora.messages("spamassassin"), *_csdmc_alone(corpora)]
    ham = [message for message, is_spam in mixed if not is_spam]
    texts = [message for message, _ in corpora.messages("codealltag")]
    chance.shuffle(ham)
    chance.shuffle(texts)
    dressed = zip(ham, texts[:_MANY_GERMAN_TEXTS], strict=False)
    mixed += [(under_header_of(donor, text), False) for donor, text in dressed]
    mixed += corpora.messages("spam-2023-2025")
    chance.shuffle(mixed)
    return Stream(
        name="many-sites",
        title="all public mail at once, shuffled",
        messages=tuple(mixed),
        sources=frozenset({"spamassassin", "csdmc2010", "codealltag", "spam-2023-2025"}),
    )


def with_slips(stream: Stream, percent: int) -> Stream:
    """The same stream, told by somebody whose hand slips: so many labels are wrong, at random."""
    chance = chance_of(_SEED + percent)
    number = len(stream.messages)
    return replace(
        stream,
        name=f"{stream.name}-{percent}-wrong",
        title=f"{stream.title}, {percent} % of the labels told wrong",
        told_wrong=frozenset(chance.sample(range(number), round(number * percent / 100))),
    )


def spamassassin_to_csdmc(corpora: Corpora) -> Stream:
    """Learn one site's mail, judge another's."""
    first, second = _by_time(corpora.messages("spamassassin")), _by_time(_csdmc_alone(corpora))
    return Stream(
        name="cross-sa-csdmc",
        title="learned SpamAssassin, judged CSDMC2010",
        messages=(*first, *second),
        sources=frozenset({"spamassassin", "csdmc2010"}),
        measured_from=len(first),
    )


def csdmc_to_spamassassin(corpora: Corpora) -> Stream:
    """The same the other way round."""
    first, second = _by_time(_csdmc_alone(corpora)), _by_time(corpora.messages("spamassassin"))
    return Stream(
        name="cross-csdmc-sa",
        title="learned CSDMC2010, judged SpamAssassin",
        messages=(*first, *second),
        sources=frozenset({"spamassassin", "csdmc2010"}),
        measured_from=len(first),
    )


def shuffled_labels(corpora: Corpora) -> Stream:
    """The control: labels dealt at random. Whoever beats chance here was told the answers."""
    messages = _by_time(corpora.messages("spamassassin"))
    labels = [is_spam for _, is_spam in messages]
    chance_of(_SEED).shuffle(labels)
    return Stream(
        name="shuffled-labels",
        title="control: SpamAssassin with shuffled labels",
        messages=tuple(
            (message, label) for (message, _), label in zip(messages, labels, strict=True)
        ),
        sources=frozenset({"spamassassin"}),
    )


STREAMS: dict[str, Callable[[Corpora], Stream]] = {
    "spamassassin": spamassassin_by_time,
    "csdmc2010": csdmc_by_time,
    "german": german_mix,
    "mostly-spam": mostly_spam,
    "german-site": german_site,
    "many-sites": many_sites,
    "many-sites-1-wrong": lambda corpora: with_slips(many_sites(corpora), 1),
    "many-sites-3-wrong": lambda corpora: with_slips(many_sites(corpora), 3),
    "cross-sa-csdmc": spamassassin_to_csdmc,
    "cross-csdmc-sa": csdmc_to_spamassassin,
    "shuffled-labels": shuffled_labels,
}


def under_header_of(donor: CorpusMessage, text: CorpusMessage) -> CorpusMessage:
    """Put a text without a header under the header of a real message.

    The donor's content fields and subject go; the text's first words become the subject.
    """
    head = donor.raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    fields = re.split(rb"\n(?![ \t])", head)
    kept = [field for field in fields if not _DROPPED_FIELDS.match(field)]
    subject = " ".join(text.raw.decode("utf-8", "replace").split()[:6])[:60]
    encoded = b64encode(subject.encode()).decode("ascii")
    kept.append(f"Subject: =?utf-8?b?{encoded}?=".encode())
    kept.append(b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8")
    kept.append(b"Content-Transfer-Encoding: 8bit")
    raw = b"\n".join(kept) + b"\n\n" + text.raw
    return CorpusMessage(raw=raw, source=f"{text.source} under {donor.source}")


def _by_time(messages: list[Labelled]) -> list[Labelled]:
    order, _ = order_by_time([arrival_time_of(message.raw) for message, _ in messages])
    return [messages[position] for position in order]


def _csdmc_alone(corpora: Corpora) -> list[Labelled]:
    known, others = corpora.messages("spamassassin"), corpora.messages("csdmc2010")
    prints = [fingerprint(message.raw) for message, _ in (*known, *others)]
    numbers = campaigns(prints)
    fresh = ~np.isin(numbers[len(known) :], numbers[: len(known)])
    return [pair for pair, new in zip(others, fresh, strict=True) if new]
