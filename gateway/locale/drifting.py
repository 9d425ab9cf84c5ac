"""What a drift of the mail means, and what to do about it, as plain sentences."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.locale import N_, translator

DRIFT_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "scores-shifted": N_(
            "the scores of the last days are spread otherwise than before (index {index})"
        ),
        "more-unknown": N_(
            "the model knows less of the mail: new to it {now} %, before {before} %"
        ),
        "more-disagreement": N_(
            "people disagree with more verdicts: {now} % ({labels} labels), before {before} %"
        ),
        "too-little-mail": N_("too little mail yet to compare: {messages} of {needed} messages"),
    }
)

DRIFT_STEPS: Mapping[str, str] = MappingProxyType(
    {
        "retrain": N_("label some recent mail, then: schwamm train"),
        "review-labels": N_("look through the quarantine of the last days and label what is wrong"),
        "wait": "",
    }
)

_SHARES = ("before", "now")


def explain_drift(code: str, parameters: Mapping[str, float], language: str) -> str:
    """What was found."""
    shown = {
        name: f"{100 * value:.1f}" if name in _SHARES else f"{value:g}"
        for name, value in parameters.items()
    }
    return translator(language)(DRIFT_REASONS[code]).format_map(shown)


def drift_step(step: str, language: str) -> str:
    """What to do; empty where there is nothing."""
    sentence = DRIFT_STEPS[step]
    return translator(language)(sentence) if sentence else ""
