"""Every check in one explicit, ordered list; one file for each aspect.

To add one: write its rules or its class, name it here, give its symbols points in ``weights`` and
sentences in ``gateway.locale.reasons`` (a test asks for both), and add a case to ``tests/cases``.
"""

from gateway.checks import content_rules, headers
from gateway.checks.check import Check, RulesCheck


def local_checks() -> tuple[Check, ...]:
    """The checks that only compute, cheapest first."""
    return (
        RulesCheck("headers", headers.RULES),
        RulesCheck("mime", content_rules.MIME_RULES),
        RulesCheck("attachments", content_rules.ATTACHMENT_RULES),
        RulesCheck("html", content_rules.HTML_RULES),
        RulesCheck("links", content_rules.LINK_RULES),
        RulesCheck("gtube", content_rules.GTUBE_RULES),
    )
