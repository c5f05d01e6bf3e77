"""What is tokenised at a time: never so much that others wait long for their turn."""

import pytest

from reranker_worker.scoring.splitting import has_long_text, turns
from reranker_worker.serving import ScoreRequest

MOST = 65_536

PAIRED = [f"{i:0>30000}" for i in range(5)]


@pytest.mark.parametrize(
    ("request_", "lengths"),
    [
        pytest.param(ScoreRequest("q", ["a"] * 3), [3], id="a short request at once"),
        pytest.param(ScoreRequest("q", ["a"] * 200), [64, 64, 64, 8], id="many documents by 64"),
        pytest.param(ScoreRequest("q", ["a" * 30_000] * 5), [2, 2, 1], id="long documents by their characters"),
        pytest.param(ScoreRequest("q", ["a", "a" * 100_000, "a"]), [1, 1, 1], id="a very long one by itself"),
        pytest.param(ScoreRequest("q" * 30_000, ["a"] * 64), [64], id="a query that all share, once"),
        pytest.param(ScoreRequest(PAIRED[0], ["a"] * 5, paired_queries=PAIRED), [2, 2, 1], id="queries of their own"),
        pytest.param(
            ScoreRequest("q", ["a"] * 5, paired_queries=list("qrstu"), instruction="i" * 30_000),
            [2, 2, 1],
            id="an instruction with each of them",
        ),
    ],
)
def test_turns(request_: ScoreRequest, lengths: list[int]) -> None:
    split = list(turns(request_, range(len(request_.documents))))
    assert [len(turn) for turn in split] == lengths
    assert [document for turn in split for document in turn] == list(range(len(request_.documents)))


@pytest.mark.parametrize(
    ("request_", "long"),
    [
        pytest.param(ScoreRequest("q", ["a" * MOST] * 3), False, id="a turn's length"),
        pytest.param(ScoreRequest("q", ["a", "a" * (MOST + 1)]), True, id="a document"),
        pytest.param(ScoreRequest("q" * (MOST + 1), ["a"]), True, id="the query"),
        pytest.param(ScoreRequest("q", ["a"], instruction="i" * MOST), True, id="the query with its instruction"),
        pytest.param(
            ScoreRequest("q", ["a"] * 2, paired_queries=["q", "q" * (MOST + 1)]), True, id="one of many queries"
        ),
    ],
)
def test_a_text_longer_than_a_turn_is_known(request_: ScoreRequest, long: bool) -> None:
    assert has_long_text(request_) is long
