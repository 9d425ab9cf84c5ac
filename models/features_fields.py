"""Which header fields say something about a message, and which only repeat what others thought.

A verdict of somebody else's filter, or a mark that a mail program or an archive added after
delivery, would teach the model to copy it. Such fields give no feature: no word, no byte pattern,
no place in the order of fields.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_VERDICTS: Final = (
    r"x-(?:ms-|microsoft|forefront|office365|eop|virus|bogosity|dspam|scanned|rspam|barracuda"
    r"|ironport|proofpoint|pphosted|mimecast|messagelabs|amavis|pyzor|razor|crm114|sa-|dcc|antivirus"
    r"|avas|kas|pstn|junk|nai-|canit|greylist|text-class|tmda|pmx|pmg|cloudmark|symantec|brightmail"
    r"|sophos|trend|tm-|tmn-|clx-|cnfs|authority|fuglu|hmailserver|assp|ovh-|gmx-|ui-|mail-filter"
    r"|sonicwall|fe-|fireeye|cisco|perlmx|schwamm|policyd|pfsi|vr-|halon|whitelist|blacklist|rbl"
    r"|dnsbl|phish|bulk-?score|policyweight|recommended-action|ham\b|sanitizer|avirus|clamav)"
)
_DELIVERY: Final = (
    r"x-(?:status|keywords|uid|mozilla|evolution|gmail|gm-|google|label|folder|imap|account|gnus"
    r"|apparently-to|image-url|received|forwarded|original-to|envelope|delivered|rcpt|sieve|offline"
    r"|dovecot|cyrus|zimbra|yahoo-filtered|ymail|rocket|filed|apple|original-date|url|priority-score)"
)
_OTHER: Final = (
    r"authentication-results|arc-|received-spf|dkim-filter|domainkey-status|status$|lines$|xref$"
    r"|content-length$|old-|url$|delivery-date$|delivered-to$|original-recipient$|envelope-to$"
    r"|spamdiagnostic|spam-|suspected-|resent-spam|iplanet-|cmm-|authenticated-by"
)
_FOREIGN: Final = re.compile(rf"{_VERDICTS}|{_DELIVERY}|{_OTHER}")
_ANYWHERE: Final = re.compile(
    r"spam|virus|mailscanner|bogof|quarantine|bayes|phishing|blacklist|whitelist",
)

SIGNATURES: Final = frozenset({"dkim-signature", "domainkey-signature", "x-face", "face"})
"""Fields of long random text: who signed is told by their short parameters only."""

ADDRESSES: Final = frozenset(
    {
        "from", "to", "cc", "reply-to", "return-path", "sender", "errors-to", "received",
        "list-id", "list-post", "list-unsubscribe", "x-sender", "x-beenthere", "organization",
        "x-mailing-list", "mail-followup-to", "x-mailer", "user-agent",
    }
)  # fmt: skip
"""Fields of which whole addresses and host names are features, beside their words."""

IDENTIFIERS: Final = frozenset(
    {"message-id", "in-reply-to", "references", "thread-index", "content-id", "resent-message-id"}
)
"""Fields whose left half is different in each message; their shape and domain remain."""

DATES: Final = frozenset({"date", "resent-date", "expiry-date", "reply-by"})
"""Fields that tell when: a model that learns a year learns its corpus. Their shape remains."""

DECODED: Final = frozenset({"subject", "from", "to", "reply-to", "sender", "organization"})
"""Fields whose encoded words (RFC 2047) are worth decoding before they are split."""


@lru_cache(maxsize=4096)
def is_evidence(key: str) -> bool:
    """Say whether a field of this lower-case name may give features."""
    return _FOREIGN.match(key) is None and _ANYWHERE.search(key) is None
