"""Problems with files: the English sentence is the reader's own, the German one says where."""

import pytest

from gateway.locale import translator
from gateway.locale.mailboxes import explain_problem
from models.mailboxes.message import CorpusProblem, ProblemCode


@pytest.mark.parametrize("code", list(ProblemCode))
def test_english_is_what_the_reader_itself_says(code: ProblemCode) -> None:
    for detail in ("", "it is: a folder"):
        problem = CorpusProblem(code=code, where="a: b/mail.eml", detail=detail)
        assert explain_problem(problem, translator("en")) == str(problem)


def test_german_keeps_where_and_detail() -> None:
    problem = CorpusProblem(code=ProblemCode.UNREADABLE, where="x.eml", detail="Is a directory")
    said = explain_problem(problem, translator("de"))
    assert said == "x.eml: lässt sich nicht lesen (Is a directory)"
