from itertools import pairwise

from gateway.core.ids import IdSource, is_mail_id, received_at_ms


def test_ids_sort_by_time_and_name_the_node() -> None:
    source = IdSource("n1")
    times = [0, 1, 1_700_000_000_000, 1_700_000_000_001, 32**9 - 1]
    ids = [source.next(at) for at in times]
    assert all(a < b for a, b in pairwise(ids))
    assert [received_at_ms(one) for one in ids] == times
    assert all("-n1-" in one and is_mail_id(one) for one in ids)


def test_two_processes_do_not_meet() -> None:
    one, other = IdSource("n1"), IdSource("n1")
    assert len({source.next(5) for source in (one, other) for _ in range(1000)}) == 2000


def test_what_is_no_id_is_no_file_name() -> None:
    for text in ["", "../../etc/passwd", "1jd8m3q7k-n1-4h2k0a9\n", "1jd8m3q7k-N1-4h2k0a9"]:
        assert not is_mail_id(text)
