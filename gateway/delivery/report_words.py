"""What a report to a sender says to people, in German and English."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from gateway.delivery.reported_copy import ReportAction, ReportedCopy
from gateway.locale import N_, Translator, translator

SUBJECTS: Final[Mapping[ReportAction, str]] = MappingProxyType(
    {
        ReportAction.FAILED: "Undelivered mail / Nicht zugestellte Nachricht",
        ReportAction.DELAYED: "Delayed mail / Nachricht wartet noch",
        ReportAction.RELAYED: "Mail passed on / Nachricht weitergegeben",
        ReportAction.DELIVERED: "Mail delivered / Nachricht zugestellt",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sentences:
    lead: str
    end: str


_FAILED: Final = _Sentences(
    lead=N_("Your message could not be delivered to:"),
    end=N_("It will not be tried again. The beginning of your message follows below."),
)
_DELAYED: Final = _Sentences(
    lead=N_("Your message could not be delivered yet to:"),
    end=N_("You need not send it again. The beginning of your message follows below."),
)
_PASSED_ON: Final = _Sentences(
    lead=N_("You asked to be told of this. Your message arrived for:"),
    end=N_("The beginning of your message follows below."),
)
_GAVE_UP: Final = N_("{recipient}: the mail server could not be reached in time ({reply})")
_REFUSED: Final = N_("{recipient}: the mail server refused it ({reply})")
_WAITS: Final = N_(
    "{recipient}: the mail server does not take it yet; it is tried again until {until} ({reply})"
)
_RELAYED: Final = N_("{recipient}: the mail server took it and will not report further ({reply})")
_DELIVERED: Final = N_("{recipient}: it was delivered ({reply})")


def for_people(copies: Mapping[str, ReportedCopy]) -> str:
    """The text in both languages; ``copies`` by their recipients' spelling."""
    paragraphs = [_paragraph(copies, translator(language)) for language in ("de", "en")]
    return "\n\n".join(paragraphs) + "\n"


def _paragraph(copies: Mapping[str, ReportedCopy], _: Translator) -> str:
    sentences = _of(next(iter(copies.values())).action)
    lines = [
        "  "
        + _(_sentence(one)).format(
            recipient=spelling, reply=one.reply, until=_moment(one.retry_until_ms)
        )
        for spelling, one in copies.items()
    ]
    return "\n".join([_(sentences.lead), "", *lines, "", _(sentences.end)])


def _of(action: ReportAction) -> _Sentences:
    match action:
        case ReportAction.FAILED:
            return _FAILED
        case ReportAction.DELAYED:
            return _DELAYED
        case ReportAction.RELAYED | ReportAction.DELIVERED:
            return _PASSED_ON


def _sentence(one: ReportedCopy) -> str:
    match one.action:
        case ReportAction.FAILED:
            return _GAVE_UP if one.expired else _REFUSED
        case ReportAction.DELAYED:
            return _WAITS
        case ReportAction.RELAYED:
            return _RELAYED
        case ReportAction.DELIVERED:
            return _DELIVERED


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
