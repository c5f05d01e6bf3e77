"""Which pairs make a batch: a pure choice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_worker.scoring.batching import WaitingPair, take_batch


@dataclass(frozen=True)
class Request:
    lengths: Sequence[int]  # ascending
    model_key: int = 1
    shared: int = 0

    @property
    def waiting(self) -> list[WaitingPair]:
        return [WaitingPair(length, position) for position, length in enumerate(self.lengths)]


@pytest.mark.parametrize(
    ("requests", "max_tokens", "expected"),
    [
        pytest.param([], 100, [], id="nothing waits"),
        pytest.param([Request([10, 10, 10])], 100, [[10] * 3], id="all fit"),
        pytest.param([Request([10] * 20)], 100, [[10] * 10], id="the budget is used to the last token"),
        pytest.param([Request([60, 60])], 100, [[60]], id="a pair that doesn't fit waits"),
        pytest.param(
            [Request([20, 30, 40, 70])], 100, [[70, 30]], id="the longest that fits, then what fits beside it"
        ),
        pytest.param([Request([10, 500])], 100, [[10]], id="a pair over the budget waits for those that fit"),
        pytest.param([Request([500, 600])], 100, [[500]], id="a pair over the budget goes by itself"),
        pytest.param([Request([10]), Request([500])], 100, [[10], []], id="a pair over the budget waits for its turn"),
        pytest.param([Request([10] * 5), Request([10] * 1000)], 100, [[10] * 5] * 2, id="the first goes whole"),
        pytest.param([Request([60] * 2), Request([10] * 5)], 100, [[60], []], id="the second waits for the first"),
        pytest.param([Request([10] * 9, shared=50)], 100, [[10] * 5], id="what pairs share counts once"),
        pytest.param([Request([10] * 3, shared=30)] * 2, 100, [[10] * 3, [10]], id="it counts for each request"),
        pytest.param(
            [Request([10] * 3, shared=30), Request([10], shared=90)], 100, [[10] * 3, []], id="and has to fit"
        ),
        pytest.param([Request([10], shared=500)], 100, [[10]], id="what pairs share may be over the budget"),
        pytest.param([Request([9], 1), Request([9], 2), Request([9], 1)], 100, [[9], [], [9]], id="one model a batch"),
    ],
)
def test_the_batch_takes(requests: list[Request], max_tokens: int, expected: list[list[int]]) -> None:
    assert lengths_taken(requests, take_batch(requests, max_tokens)) == expected


request_lists = st.lists(
    st.builds(
        Request,
        st.lists(st.integers(1, 60), min_size=1, max_size=12).map(sorted),
        st.integers(1, 2),
        st.integers(0, 20),
    ),
    min_size=1,
    max_size=6,
)


@given(request_lists, st.integers(1, 200))
def test_a_batch_stays_in_its_budget_and_mixes_no_models(requests: list[Request], max_tokens: int) -> None:
    taken = lengths_taken(requests, take_batch(requests, max_tokens))
    computed = sum(sum(lengths) + request.shared for request, lengths in zip(requests, taken, strict=True) if lengths)
    assert computed <= max_tokens or sum(map(len, taken)) == 1
    assert {request.model_key for request, lengths in zip(requests, taken, strict=True) if lengths} == {
        requests[0].model_key
    }


@given(request_lists, st.integers(1, 200))
def test_a_batch_leaves_no_room_for_a_pair_of_a_request_that_it_splits(
    requests: list[Request], max_tokens: int
) -> None:
    taken = take_batch(requests, max_tokens)
    for request, places in zip(requests, taken, strict=True):
        if 0 < len(places) < len(request.lengths):
            free = max_tokens - sum(
                sum(lengths) + other.shared
                for other, lengths in zip(requests, lengths_taken(requests, taken), strict=True)
                if lengths
            )
            assert free < min(length for place, length in enumerate(request.lengths) if place not in places)


@given(request_lists, st.integers(1, 200))
def test_every_pair_is_scored_in_the_end(requests: list[Request], max_tokens: int) -> None:
    waiting, batches = list(requests), 0
    while waiting:
        taken = take_batch(waiting, max_tokens)
        assert any(taken)
        assert all(places == sorted(set(places), reverse=True) for places in taken)
        waiting = [left for request, places in zip(waiting, taken, strict=True) if (left := without(request, places))]
        batches += 1
    assert batches <= sum(len(request.lengths) for request in requests)


def lengths_taken(requests: Sequence[Request], taken: Sequence[Sequence[int]]) -> list[list[int]]:
    return [[request.lengths[place] for place in places] for request, places in zip(requests, taken, strict=True)]


def without(request: Request, places: Sequence[int]) -> Request | None:
    left = [length for place, length in enumerate(request.lengths) if place not in places]
    return replace(request, lengths=left) if left else None
