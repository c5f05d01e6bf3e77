"""The order of fair sharing: what goes before what, and that nobody ends later than by sharing."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from reranker_worker.scoring.fair_share import FairShare


def test_requests_of_one_size_go_in_the_order_in_which_they_came() -> None:
    share = FairShare()
    first = share.admit(100)
    share.advance(10)
    second = share.admit(100)
    share.advance(10)
    assert first < second < share.admit(100)


def test_a_short_request_goes_before_what_is_left_of_a_long_one() -> None:
    share = FairShare()
    long = share.admit(100_000)
    share.advance(50_000)
    assert share.admit(500) < long


def test_short_requests_that_keep_coming_leave_a_long_one_its_share() -> None:
    share = FairShare()
    long = share.admit(1000)
    for _ in range(10):
        share.admit(100)
        share.advance(200)  # of which the long one would have had half
    assert share.admit(100) > long


def test_an_idle_device_owes_nobody_anything() -> None:
    share = FairShare()
    share.admit(100)
    share.advance(100_000)
    assert share.admit(5) < share.admit(10)


def test_the_share_of_a_request_that_went_away_is_the_others() -> None:
    share = FairShare()
    stays, leaves = share.admit(100), share.admit(100)
    share.withdraw(leaves, 100, 0)
    share.advance(99)
    assert share.admit(2) > stays


def test_what_was_shared_with_a_request_that_went_away_is_the_others() -> None:
    share = FairShare()
    ends, leaves = share.admit(100), share.admit(100)
    share.advance(100)  # all of it for the first one
    share.withdraw(leaves, 100, 0)
    assert share.admit(1) > ends


@dataclass
class Job:
    arrival: int
    tokens: int
    patience: int = 1000


jobs = st.lists(st.builds(Job, st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=8)


def ends_by_sharing(wanted: list[Job]) -> list[float]:
    """Simulate equal shares of one token a unit of time, in small steps."""
    left, ends, now, step = [float(job.tokens) for job in wanted], [0.0] * len(wanted), 0.0, 1 / 16
    while any(rest > 0 for rest in left):
        there = [i for i, job in enumerate(wanted) if job.arrival <= now and left[i] > 0]
        for i in there:
            left[i] -= step / len(there)
            ends[i] = now + step
        now += step
    return ends


def ends_in_its_order(wanted: list[Job]) -> list[float]:
    """Serve token by token whoever is first in the order of fair sharing."""
    share, left, ends = FairShare(), [job.tokens for job in wanted], [0.0] * len(wanted)
    turns: dict[int, float] = {}
    now = 0
    while any(left):
        turns |= {i: share.admit(job.tokens) for i, job in enumerate(wanted) if job.arrival == now}
        there = [i for i in turns if left[i]]
        if there:
            first = min(there, key=lambda i: turns[i])
            left[first] -= 1
            ends[first] = now + 1.0
            share.advance(1)
        now += 1
    return ends


@given(jobs)
def test_none_ends_later_than_by_sharing(wanted: list[Job]) -> None:
    later = [a - b for a, b in zip(ends_in_its_order(wanted), ends_by_sharing(wanted), strict=True)]
    # A token isn't divided, and the simulation of sharing ends a job within a step of where it does.
    assert max(later) <= 1 + 1 / 8


@given(st.lists(st.builds(Job, st.integers(0, 60), st.integers(1, 30), st.integers(0, 100)), min_size=1, max_size=20))
def test_nothing_is_owed_to_requests_that_have_ended(wanted: list[Job]) -> None:
    share, left = FairShare(), [job.tokens for job in wanted]
    turns: dict[int, float] = {}
    for now in range(161):
        turns |= {i: share.admit(job.tokens) for i, job in enumerate(wanted) if job.arrival == now}
        for i in [i for i in turns if left[i] and now - wanted[i].arrival >= wanted[i].patience]:
            share.withdraw(turns.pop(i), wanted[i].tokens, wanted[i].tokens - left[i])
            left[i] = 0
        there = [i for i in turns if left[i]]
        if there:
            left[min(there, key=lambda i: turns[i])] -= 1
            share.advance(1)
    assert not any(left)
    assert [end - share._turn for end in share._ends if end - share._turn > 1e-6] == []
