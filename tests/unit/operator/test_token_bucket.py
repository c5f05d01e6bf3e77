"""How long a request waits for its token, at ten tokens a second and twenty at once."""

import pytest

from reranker_operator.token_bucket import TokenBucket

#: When tokens are taken, and how long each of them takes to come, both in seconds.
CASES: dict[str, tuple[list[float], list[float]]] = {
    "a burst is free": ([0.0] * 20, [0.0] * 20),
    "beyond the burst each waits for the one before": ([0.0] * 23, [*[0.0] * 20, 0.1, 0.2, 0.3]),
    "tokens come again": ([*[0.0] * 20, 0.3, 0.3, 0.3, 0.3], [*[0.0] * 23, 0.1]),
    "what is waited for is paid before the next": ([*[0.0] * 21, 0.1, 0.1], [*[0.0] * 20, 0.1, 0.1, 0.2]),
    "no more than a burst is saved": ([*[0.0] * 20, *[3600.0] * 22], [*[0.0] * 40, 0.1, 0.2]),
    "a clock that stands still brings none": ([5.0] * 21, [*[0.0] * 20, 0.1]),
}


@pytest.mark.parametrize(("times", "waits"), CASES.values(), ids=CASES.keys())
def test_a_token_takes(times: list[float], waits: list[float]) -> None:
    clock = iter([0.0, *times])
    bucket = TokenBucket(10, 20, lambda: next(clock))
    assert [bucket.take() for _ in times] == pytest.approx(waits)
