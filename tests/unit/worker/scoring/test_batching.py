"""Which pairs make a batch: a pure choice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_worker.batching import take_batch


@dataclass(frozen=True)
class Request:
    lengths: Sequence[int]
    model_key: int = 1
    taken: int = 0
    shared: int = 0


@pytest.mark.parametrize(
    ("requests", "max_tokens", "expected"),
    [
        pytest.param([], 100, [], id="nothing waits"),
        pytest.param([Request([10, 10, 10])], 100, [3], id="all fit"),
        pytest.param([Request([10] * 20)], 100, [10], id="the budget is used to the last token"),
        pytest.param([Request([60, 60])], 100, [1], id="a pair that doesn't fit waits"),
        pytest.param([Request([500, 10])], 100, [1], id="a pair over the budget goes by itself"),
        pytest.param([Request([10]), Request([500])], 100, [1, 0], id="a pair over the budget waits for its turn"),
        pytest.param([Request([10] * 5), Request([10] * 1000)], 100, [5, 5], id="the first goes whole"),
        pytest.param([Request([10] * 1000), Request([10] * 5)], 100, [10, 0], id="the second waits for the first"),
        pytest.param([Request([10, 99], taken=1), Request([1])], 100, [1, 1], id="what is taken isn't taken again"),
        pytest.param([Request([10] * 9, shared=50)], 100, [5], id="what pairs share counts once"),
        pytest.param([Request([10] * 3, shared=30)] * 2, 100, [3, 1], id="what pairs share counts for each request"),
        pytest.param([Request([10], shared=500)], 100, [1], id="what pairs share may be over the budget"),
        pytest.param([Request([10], 1), Request([10], 2), Request([10], 1)], 100, [1, 0, 1], id="one model a batch"),
    ],
)
def test_the_batch_takes(requests: list[Request], max_tokens: int, expected: list[int]) -> None:
    assert take_batch(requests, max_tokens) == expected


request_lists = st.lists(
    st.builds(Request, st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 2)), min_size=1, max_size=6
)


@given(request_lists, st.integers(1, 200))
def test_a_batch_stays_in_its_budget_and_mixes_no_models(requests: list[Request], max_tokens: int) -> None:
    counts = take_batch(requests, max_tokens)
    taken = [length for request, count in zip(requests, counts, strict=True) for length in request.lengths[:count]]
    assert sum(taken) <= max_tokens or len(taken) == 1
    assert {request.model_key for request, count in zip(requests, counts, strict=True) if count} == {
        requests[0].model_key
    }


@given(request_lists, st.integers(1, 200))
def test_every_pair_is_scored_in_the_end(requests: list[Request], max_tokens: int) -> None:
    waiting, batches = list(requests), 0
    while waiting:
        counts = take_batch(waiting, max_tokens)
        assert any(counts)
        moved = [replace(r, taken=r.taken + count) for r, count in zip(waiting, counts, strict=True)]
        waiting = [request for request in moved if request.taken < len(request.lengths)]
        batches += 1
    assert batches <= sum(len(request.lengths) for request in requests)
