"""Properties of the readers: any bytes are survived, and a mailbox gives back what went in."""

import gzip
import io

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.mailboxes.mbox import split_mbox
from training.corpus import read_index, read_messages
from training.corpus.archive import Decision

FROM_LINE = b"From a@example.org Thu Aug 22 12:36:23 2002\n"
MAILISH = st.lists(
    st.sampled_from(
        [
            b"From ", b"From x Thu Aug 22 12:36:23 2002\n", b">From ", b"\n", b"\r\n", b"\n\n",
            b"Subject: x\n", b"text", b"\x00", b"\xff\xfe", b": ", b"\x1f\x8b", b"spam ", b"ham ",
        ]
    )
    | st.binary(max_size=20),
    max_size=30,
).map(b"".join)  # fmt: skip
LINES = st.lists(st.text("ab: <>\t\xe4", max_size=20).map(lambda t: t.encode()), max_size=12)


def body(lines: list[bytes]) -> bytes:
    return b"Subject: x\n\n" + b"".join(line + b"\n" for line in lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=MAILISH, packed=st.booleans())
def test_any_file_gives_messages_or_problems_and_never_raises(tmp_path, data, packed):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(data) if packed else data)
    problems = []
    messages = list(read_messages(path, on_problem=problems.append))
    assert messages or problems
    assert all(message.raw.strip() for message in messages)
    index = tmp_path / "index"
    index.write_bytes(data)
    list(read_index(index, on_problem=problems.append))
    assert all("\n" not in str(problem) for problem in problems)


@given(letters=st.lists(LINES.map(body), min_size=1, max_size=6))
def test_a_mailbox_gives_back_what_was_put_in(letters):
    box = b"\n".join(FROM_LINE + letter for letter in letters)
    assert list(split_mbox(io.BytesIO(box))) == letters


@given(data=MAILISH)
def test_splitting_loses_nothing_but_separators_and_parting_lines(data):
    whole = FROM_LINE + b"A: b\n\n" + data
    kept = b"".join(split_mbox(io.BytesIO(whole)))
    separators = whole.count(b"From ")
    assert len(kept) <= len(whole)
    lines = whole.splitlines(keepends=True)
    longest = sum(sorted((len(one) + 2 for one in lines), reverse=True)[: 2 * separators])
    assert len(whole) - len(kept) <= longest


@given(
    is_spam=st.sampled_from([True, False, None]),
    who=st.text(max_size=20),
    source=st.text(max_size=20),
    at_ms=st.integers(0, 2**45),
)
def test_a_decision_survives_its_line(is_spam, who, source, at_ms):
    decision = Decision(
        digest="0123456789abcdef" * 4,
        is_spam=is_spam,
        who=who,
        source=source,
        reason="import",
        at_ms=at_ms,
    )
    line = decision.as_line()
    assert "\n" not in line
    assert Decision.from_line(line) == decision


@given(line=st.text(max_size=200) | st.recursive(st.none() | st.integers(), st.lists).map(str))
def test_no_line_breaks_the_reader_of_the_log(line):
    try:
        Decision.from_line(line)
    except ValueError:
        return
    raise AssertionError(line)
