"""Why a file gave no message, in the reader's language."""

from gateway.locale import N_, Translator
from models.mailboxes.message import CorpusProblem, ProblemCode

_SENTENCES = {
    ProblemCode.MISSING: N_("there is no such file"),
    ProblemCode.EMPTY: N_("the file is empty"),
    ProblemCode.NOT_MAIL: N_("this is no mail (binary data without a header)"),
    ProblemCode.NO_MAIL_INSIDE: N_("there is no mail in this folder"),
    ProblemCode.UNREADABLE: N_("cannot be read"),
    ProblemCode.TOO_LARGE: N_("the message is too large"),
    ProblemCode.BAD_LINE: N_("expected 'ham PATH' or 'spam PATH'"),
    ProblemCode.BROKEN_GZIP: N_("the gzip data is damaged"),
}


def explain_problem(problem: CorpusProblem, _: Translator) -> str:
    """One line: where, what, and what the system said."""
    sentence = _SENTENCES[problem.code]
    where, _sentence, detail = str(problem).rpartition(f": {sentence}")
    return f"{where}: {_(sentence)}{detail}"
