"""What a symbol or a code means, as one plain sentence for recipients and office managers.

The parameters of a sentence come from the symbol's detail (``gateway.core.details``).
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.core.details import read_details
from gateway.locale import N_, translator

DNSBL_REASON = N_("The sending server is on the block list {zone}.")
UNKNOWN_REASON = N_("The rule {symbol} noticed this message.")

SYMBOL_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "MISSING_DATE": N_("The message does not say when it was written."),
        "INVALID_DATE": N_("The date of the message is unreadable: {date}."),
        "DATE_IN_FUTURE": N_("The message is dated {hours} hours in the future."),
        "DATE_IN_PAST": N_("The message was dated {days} days back when it arrived."),
        "MISSING_FROM": N_("The message names no sender."),
        "MULTIPLE_FROM": N_("The message names its sender {fields} times over."),
        "INVALID_FROM": N_("The sender's address is not valid."),
        "MISSING_MID": N_("The message lacks the number that every mail program gives."),
        "INVALID_MSGID": N_("The message carries a number that no mail program writes."),
        "MSGID_ODD_HOST": N_("The message carries a number made up by a script ({host})."),
        "MISSING_TO": N_("The message names no recipient."),
        "UNDISC_RCPT": N_("The message hides to whom it was sent."),
        "SUBJ_ALL_CAPS": N_("The subject is written in capital letters only."),
        "SUBJ_MIXED_SCRIPTS": N_("The subject mixes letters that only look alike: {word}."),
        "FROM_MIXED_SCRIPTS": N_("The sender's name mixes letters that only look alike: {word}."),
        "FROM_NAME_HAS_OTHER_ADDRESS": N_(
            "The sender's name shows {shown}, but the message comes from {real}."
        ),
        "FREEMAIL_REPLYTO": N_("Answers would go to another, free mailbox: {address}."),
        "SUBJ_EXCESS_ENCODED": N_("The subject was disguised although it needed no encoding."),
        "MIME_BASE64_TEXT": N_("The text was disguised although it needed no encoding."),
        "AMBIGUOUS_MIME": N_("The message is built so that programs read it differently."),
        "BROKEN_MIME": N_("The message is put together wrongly."),
        "MIME_HTML_ONLY": N_("The message has no plain text version."),
        "HTML_IMAGE_LITTLE_TEXT": N_("The message is a picture with hardly any text."),
        "HTML_HIDDEN_TEXT": N_("The message hides {characters} characters from its reader."),
        "HTML_FORM": N_("The message contains a form to fill in."),
        "PHISHED_LINK": N_("A link shows {shown}, but leads to {real}."),
        "URL_NUMERIC_IP": N_("A link leads to a bare number instead of a name: {host}."),
        "EXE_ATTACHMENT": N_("An attachment is a program: {file}."),
        "DOUBLE_EXTENSION": N_("A program is attached that pretends to be a document: {file}."),
        "GTUBE": N_("The message contains the test text for spam filters."),
        "BAYES_SPAM": N_("The words of the message are typical of spam (spam probability {p})."),
        "BAYES_UNSURE": N_("The words of the message do not tell for sure (spam probability {p})."),
        "BAYES_HAM": N_(
            "The words of the message are typical of wanted mail (spam probability {p})."
        ),
    }
)

HOLD_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "spam": N_("Held because it is probably spam."),
        "malware": N_("Held because it contains malware; only an administrator can release it."),
        "refused_by_next_hop": N_("Held because your mail server refused it."),
        "unparsed": N_("Held unread because it made the filter fail twice."),
        "mail_loop": N_("Held because it goes round in circles between mail servers."),
        "queue_expired": N_("Held because your mail server could not be reached in time."),
    }
)

VERDICT_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "ham": N_("This is probably wanted mail."),
        "unsure": N_("The filter is not sure about this message."),
        "spam": N_("This is probably spam."),
        "malware": N_("This message contains malware."),
    }
)

LIST_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "ok": N_("The block list {zone} works."),
        "unreachable": N_("The block list {zone} does not answer ({detail})."),
        "not_listing": N_("The block list {zone} no longer lists its own test entry."),
        "lists_world": N_("The block list {zone} lists every address; it is not used."),
        "blocked": N_("The block list {zone} refuses to answer us ({detail}); its terms say why."),
        "wrong_answers": N_("The block list {zone} gives answers that mean nothing ({detail})."),
    }
)

ERROR_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "timeout": N_("A name server did not answer in time."),
        "servfail": N_("A name server could not resolve the name."),
        "refused": N_("A name server refuses to answer."),
        "malformed": N_("A name server gave an answer that makes no sense."),
        "malformed_name": N_("A name could not be looked up."),
        "budget": N_("The message used up its time for look-ups."),
        "no_server": N_("No name server can be reached."),
        "blocked": N_("A block list refuses to answer us."),
        "unknown_code": N_("A block list gave an answer of unknown meaning."),
        "public_address": N_("A block list gave an answer that is no listing."),
        "no_model": N_("No classifier could be loaded."),
    }
)


class _Parameters(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def explain_symbol(symbol: str, detail: str, language: str) -> str:
    """The sentence for one symbol; what block lists are named by is known by its zone."""
    parameters = _Parameters(read_details(detail))
    sentence = SYMBOL_REASONS.get(symbol)
    if sentence is None:
        sentence = DNSBL_REASON if "zone" in parameters else UNKNOWN_REASON
        parameters["symbol"] = symbol
    return translator(language)(sentence).format_map(parameters)


def explain_code(reasons: Mapping[str, str], code: str, language: str, **parameters: str) -> str:
    """The sentence for a code out of one of the tables above; an unknown code stands for itself."""
    sentence = reasons.get(code)
    if sentence is None:
        return code
    return translator(language)(sentence).format_map(_Parameters(parameters))
