"""From a verdict to an action for each recipient; pure, so the whole policy fits in a test table.

The defaults are those of the data model, section 6; each domain may move its thresholds.
"""

from collections.abc import Mapping, Sequence

from gateway.core.addresses import Address
from gateway.core.routing import Domain
from gateway.core.verdict import Action, Verdict, VerdictClass

DEFAULT = Domain(name="default.invalid", next_hops=())


def classify(score: float, *, malware: str = "", domain: Domain = DEFAULT) -> VerdictClass:
    """What a mail of this score is held to be, by the thresholds of ``domain``."""
    if malware:
        return VerdictClass.MALWARE
    if score >= domain.spam_score:
        return VerdictClass.SPAM
    if score >= domain.unsure_score:
        return VerdictClass.UNSURE
    return VerdictClass.HAM


def decide(verdict: Verdict, domain: Domain) -> Action:
    """What to do with a copy for ``domain``.

    REJECT only where the domain turned it on. UNSURE is accepted with header fields, or tagged in
    its subject where the domain asks for that.
    """
    match classify(verdict.score, malware=verdict.malware, domain=domain):
        case VerdictClass.MALWARE:
            return Action.QUARANTINE
        case VerdictClass.SPAM:
            refuse = domain.reject and verdict.score >= domain.reject_score
            return Action.REJECT if refuse else Action.QUARANTINE
        case VerdictClass.UNSURE:
            return Action.TAG if domain.subject_tag else Action.ACCEPT
        case VerdictClass.HAM:
            return Action.ACCEPT


def actions(
    verdict: Verdict, recipients: Sequence[tuple[Address, Domain]]
) -> Mapping[Address, Action]:
    """One action for each recipient.

    One reply serves them all, so REJECT stands only if it is everyone's; beside anything else that
    copy becomes QUARANTINE (data model, section 4).
    """
    chosen = {address: decide(verdict, domain) for address, domain in recipients}
    if all(action is Action.REJECT for action in chosen.values()):
        return chosen
    return {
        address: Action.QUARANTINE if action is Action.REJECT else action
        for address, action in chosen.items()
    }
