"""Learn from what came first, test on the rest, and never on a copy of what was learned."""

import numpy as np
import pytest

from training.split import arrival_time_of, once_a_day, order_by_time, split_by_time

DAY = 86400.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Date: Thu, 22 Aug 2002 12:36:23 +0000", 1030019783),
        ("Date: Thu, 22 Aug 2002 14:36:23 +0200 (CEST)", 1030019783),
        ("Date: 22 Aug 02 12:36:23 GMT", 1030019783),
        ("Received: from a by b; Thu, 22 Aug 2002 12:36:23 +0000\nDate: 1 Jan 2030 00:00 +0000",
         1030019783),
        (("Received: from a by b;\n Thu, 22 Aug 2002 12:36:23 +0000\n"
         "Received: from c by a; Thu, 22 Aug 2002 09:00:00 +0000"), 1030019783),
        ("Received: from a by b without a date\nDate: Thu, 22 Aug 2002 12:36:23 +0000", 1030019783),
        ("Date: yesterday", None),
        ("Date: Thu, 22 Aug 1902 12:36:23 +0000", None),
        ("Date: Thu, 22 Aug 9999 12:36:23 +0000", None),
        ("Date: 99 Foo 2002 99:99:99", None),
        ("Date: " + "Thu, " * 50_000, None),
        ("Subject: no date at all", None),
    ],
)  # fmt: skip
def test_the_time_of_arrival(header, seconds):
    assert arrival_time_of(f"{header}\n\nbody\n".encode()) == seconds


def test_mail_without_a_time_stays_with_its_neighbour():
    order, times = order_by_time([None, 300.0, None, 100.0, None, 200.0])
    assert times.tolist() == [300, 300, 300, 100, 100, 200]
    assert order.tolist() == [3, 4, 5, 0, 1, 2]
    assert order_by_time([None, None])[0].tolist() == [0, 1]
    assert order_by_time([])[0].tolist() == []


def test_the_later_half_is_tested_on():
    split = split_by_time([40.0, 10.0, 30.0, 20.0], np.arange(4))
    assert (split.train.tolist(), split.test.tolist()) == ([1, 3], [0, 2])
    split = split_by_time([40.0, 10.0, 30.0, 20.0], np.arange(4), test_share=0.25)
    assert (split.train.tolist(), split.test.tolist()) == ([1, 2, 3], [0])


def test_no_campaign_is_on_both_sides():
    random = np.random.default_rng(0)
    for _ in range(50):
        times, campaign = random.integers(0, 1000, 200).astype(float), random.integers(0, 60, 200)
        split = split_by_time(times.tolist(), campaign)
        assert not set(campaign[split.train]) & set(campaign[split.test])
        assert len(split.train) == 100
        if len(split.test):
            assert times[split.train].max() <= times[split.test].min()


def test_late_copies_of_a_learned_campaign_are_left_out():
    split = split_by_time([1.0, 2.0, 3.0, 4.0], np.array([0, 1, 0, 3]))
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1], [3])


def test_what_another_model_learned_is_not_tested_on():
    times, campaign = [4.0, 1.0, 3.0, 2.0, 5.0], np.arange(5)
    split = split_by_time(times, campaign, test_share=0.6, learned_until=3.0)
    assert (split.train.tolist(), split.test.tolist()) == ([1, 2, 3], [0, 4])
    split = split_by_time(times, campaign, test_share=0.2, learned_until=3.0)
    assert split.test.tolist() == [4]
    assert split_by_time(times, campaign, learned_until=9.0).test.tolist() == []


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_side_without_mail_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_by_time([1.0, 2.0], np.arange(2), test_share=share)


def test_a_campaign_counts_once_a_day_and_label():
    times = [10.0, 20.0, DAY + 5, DAY + 6, 30.0, 40.0]
    campaign = np.array([0, 0, 0, 0, 0, 5])
    is_spam = np.array([True, True, True, True, False, True])
    kept = once_a_day(np.arange(6), times, campaign, is_spam)
    assert kept.tolist() == [0, 2, 4, 5]
    assert once_a_day(np.array([1, 3]), times, campaign, is_spam).tolist() == [1, 3]
