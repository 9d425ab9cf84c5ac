from hypothesis import given
from hypothesis import strategies as st

from gateway.core.verdict import Outcome, Status, Symbol
from gateway.pipeline.scoring import Weights, score

WEIGHTS = Weights(
    points={"A": 2.0, "B": 2.0, "C": 1.0, "GOOD": -1.0},
    groups={"A": "g", "B": "g"},
    caps={"g": 3.0},
)


def hit(*names: str, status: Status = Status.HIT) -> Outcome:
    return Outcome(check="x", status=status, symbols=tuple(Symbol(name=n) for n in names))


def test_the_parts_add_up_and_a_group_ends_at_its_cap() -> None:
    total, symbols = score([hit("A", "B"), hit("C", "GOOD")], WEIGHTS)
    assert [(s.name, s.points) for s in symbols] == [
        ("A", 2.0),
        ("B", 1.0),
        ("C", 1.0),
        ("GOOD", -1.0),
    ]
    assert total == 3.0


def test_an_error_weighs_nothing() -> None:
    assert score([hit("A", status=Status.ERROR), hit("B", status=Status.SKIP)], WEIGHTS) == (0, ())


def test_a_symbol_that_nobody_weighed_is_shown_without_points() -> None:
    total, symbols = score([hit("NEW")], WEIGHTS)
    assert total == 0
    assert [s.name for s in symbols] == ["NEW"]


def test_computed_points_win_over_the_table() -> None:
    outcome = Outcome(
        check="content", status=Status.HIT, symbols=(Symbol(name="A", points=0.5, detail="p=0.6"),)
    )
    total, symbols = score([outcome], WEIGHTS)
    assert (total, symbols[0].detail) == (0.5, "p=0.6")


@given(st.lists(st.sampled_from(["A", "B", "C", "GOOD", "NEW"]), max_size=30))
def test_a_group_never_exceeds_its_cap_and_the_sum_is_the_sum(names: list[str]) -> None:
    total, symbols = score([hit(*names)], WEIGHTS)
    assert sum(s.points for s in symbols if s.name in {"A", "B"}) <= 3.0
    assert abs(total - sum(s.points for s in symbols)) < 1e-6
