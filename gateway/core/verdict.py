"""What was seen and what it adds up to. Observing, judging and acting are three people's jobs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.lesson import Lesson


class Status(StrEnum):
    """How a check ended. ERROR weighs nothing and stays visible."""

    HIT = "hit"
    PASS = "pass"  # noqa: S105  the field's word, no password
    SKIP = "skip"
    ERROR = "error"


class VerdictClass(StrEnum):
    """What a mail is held to be."""

    HAM = "ham"
    UNSURE = "unsure"
    SPAM = "spam"
    MALWARE = "malware"


class Action(StrEnum):
    """What is done with one recipient's copy; chosen by policy, never by a check."""

    ACCEPT = "accept"
    TAG = "tag"
    QUARANTINE = "quarantine"
    REJECT = "reject"
    DEFER = "defer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """One named observation, e.g. ``DNSBL_TRIAL``; points come from settings.

    ``points`` given by a check override the setting only where the check computes them (the
    classifier). ``detail`` is short, printable and language-free: an address, a host name, a code.
    """

    name: str
    detail: str = ""
    points: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordReason:
    """A word of this mail and its weight of evidence: above zero speaks for spam."""

    word: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowFinding:
    """What a watched model would have said of one mail. It weighs nothing."""

    probability: float
    known_share: float
    model_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFinding:
    """What the classifier said of one mail.

    ``probability`` is the calibrated spam probability; ``known_share`` says how much of the mail
    the model knew, from 0 to 1. ``words`` are the strongest for and against. ``shadow`` is what a
    model that is only watched said, if there is one. ``lesson`` makes what is kept to learn from.
    """

    probability: float
    known_share: float
    model_id: str
    words: tuple[WordReason, ...] = ()
    shadow: ShadowFinding | None = None
    lesson: Callable[[], Lesson] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one check reports."""

    check: str
    status: Status
    symbols: tuple[Symbol, ...] = ()
    elapsed_ms: float = 0.0
    error: str = ""  # why ERROR or SKIP, for the admin
    malware: str = ""  # the name a scanner gave, if it found any
    content: ContentFinding | None = None  # what the classifier said


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSymbol:
    """A symbol with the points it really contributed, after the cap of its group."""

    name: str
    points: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement on one mail, with everything that explains it (promise 3).

    ``probability`` is the classifier's calibrated spam probability, None when no model answered.
    ``known_share`` says how much of the mail that model knew, from 0 to 1.
    """

    kind: VerdictClass
    score: float
    symbols: tuple[ScoredSymbol, ...] = ()
    words: tuple[WordReason, ...] = ()
    probability: float | None = None
    known_share: float | None = None
    model_id: str = ""
    generation: int = 0
    settings_digest: str = ""
    malware: str = ""
    errors: tuple[str, ...] = ()  # codes of checks that failed, e.g. "dnsbl:timeout"
    outcomes: tuple[Outcome, ...] = field(default=(), compare=False)
    scan_ms: float = 0.0
