"""Errors in the reader's language."""

from gateway.core.errors import GatewayError
from gateway.locale import translator


def error_text(error: GatewayError, language: str) -> str:
    """What went wrong and what to do next; in English where the catalogue has no sentence for it.

    An error that another one caused may be among the parameters; it stands as it is.
    """
    if not error.sentence:
        return str(error)
    sentence = translator(language)(error.sentence)
    return sentence.format_map(error.parameters) if error.parameters else sentence
