"""The demo's tables, its ranking and its last line say what the history holds."""

import json
import math
from pathlib import Path

import pytest

from hack.demo import history, questions
from hack.demo.questions import Candidate, Question
from hack.stage.history import Request, percentile


def request(
    phase: str = "before", latency_s: float = 0.1, revision: str = "m-1", adapter: str = "", error: str = ""
) -> Request:
    status, revision = (0, "") if error else (200, revision)
    return Request(0.0, phase, "", latency_s, status, revision, adapter, error, (), "new")


def test_a_line_of_the_load_is_read() -> None:
    line = (
        '{"time":1.5,"phase":"after","connection":"kept","asked":"a","latency_s":0.25,"documents":2,"status":200,'
        '"revision":"m-1","adapter":"a-2","error":"","scores":[0.5,0.25]}'
    )
    read = Request.parse(line)
    assert read == Request(1.5, "after", "a", 0.25, 200, "m-1", "a-2", "", (0.5, 0.25), "kept")
    assert read.done == 1.75


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([3.0, 1.0, 2.0], 0.5, 2.0, id="the median of three"),
        pytest.param([1.0, 2.0], 0.5, 1.0, id="the lower one of two"),
        pytest.param([float(n) for n in range(1, 101)], 0.99, 99.0, id="p99 of a hundred"),
        pytest.param([7.0], 0.99, 7.0, id="one value"),
    ],
)
def test_a_percentile_is_the_smallest_value_that_covers_its_share(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 0.5))


def test_the_table_groups_by_revision_and_adapter_in_order_of_appearance() -> None:
    requests = [
        request(latency_s=0.010),
        request(revision="m-2", latency_s=0.020),
        request(revision="m-2", adapter="a-1", latency_s=0.5),
        request(latency_s=0.030),
        request(error="ConnectionRefusedError"),
    ]
    assert history.table(requests, ("revision", "adapter"), history.answered_by).splitlines() == [
        "  revision     adapter  requests  failed     p50     p99",
        "  m-1          -               2       0   10 ms   30 ms",
        "  m-2          -               1       0   20 ms   20 ms",
        "  m-2          a-1             1       0  500 ms  500 ms",
        "  (no answer)  -               1       1       -       -",
    ]


def test_failed_requests_don_t_make_a_phase_look_fast() -> None:
    requests = [request(latency_s=0.4), request(latency_s=0.001, error="refused")]
    assert history.table(requests, ("phase",), history.phase_of).splitlines()[1].split() == [
        *("before", "2", "1", "400", "ms", "400", "ms")
    ]


def test_only_the_first_failures_are_told() -> None:
    requests = [request(phase="swap", error=f"error {number}") for number in range(9)]
    assert history.failures(requests, most=2) == ["swap: error 0", "swap: error 1"]


@pytest.mark.parametrize(
    ("requests", "line"),
    [
        ([request(), request()], "demo: 2 requests, 0 failed, adapter load 0.8 s, model swap 12.3 s"),
        ([request(), request(error="x")], "demo: 2 requests, 1 failed, adapter load 0.8 s, model swap 12.3 s"),
    ],
    ids=["all well", "one failed"],
)
def test_the_last_line(requests: list[Request], line: str) -> None:
    assert history.closing_line(requests, 0.84, 12.34) == line


def question(relevant: str = "beta", count: int = 3) -> Question:
    names = ("alpha", "beta", "gamma", *(f"more{number}" for number in range(20)))[:count]
    candidates = tuple(Candidate(name, f"{name} in short", f"{name} in long words " * 20) for name in names)
    return Question("find beta", "utils", relevant, candidates)


ANSWER = {
    "results": [
        {"index": 1, "relevance_score": 0.9876},
        {"index": 2, "relevance_score": 0.5},
        {"index": 0, "relevance_score": 0.001},
    ]
}


def test_the_ranking_shows_both_orders_and_where_each_came_from() -> None:
    assert questions.rendering(question(), ANSWER).splitlines() == [
        "  query: find beta",
        "  3 candidates, > marks the package that the query describes",
        "",
        "  before: BM25                          after: reranked",
        "     1  alpha                           >  1  0.988  beta                            was 2",
        "  >  2  beta                               2  0.500  gamma                           was 3",
        "     3  gamma                              3  0.001  alpha                           was 1",
        "",
        "  first now: beta: beta in short",
    ]


def test_long_names_don_t_break_the_columns() -> None:
    long = Candidate("x" * 80, "short", "long")
    text = questions.rendering(
        Question("q", "utils", long.name, (long,)), {"results": [{"index": 0, "relevance_score": 1.0}]}
    )
    assert all(len(line) <= 100 for line in text.splitlines() if not line.startswith("  first now"))


def test_quality_compares_the_place_before_with_the_place_after() -> None:
    assert questions.quality([question()], [ANSWER]) == (0.5, 1.0)


def test_an_answer_beyond_the_cutoff_is_worth_nothing() -> None:
    assert questions.reciprocal_rank([*"abcdefghijk"], "k") == 0.0


def test_the_load_asks_for_few_and_short_documents() -> None:
    (body,) = [json.loads(line) for line in questions.load_bodies([question(count=9)]).splitlines()]
    assert body["query"] == "find beta"
    assert [len(document) for document in body["documents"]] == [questions.LOAD_CHARACTERS] * questions.LOAD_DOCUMENTS


QUERIES = Path("examples/debian-search/queries.json")


def test_every_committed_question_has_its_answer_among_its_candidates() -> None:
    asked = questions.parse(QUERIES.read_text())
    assert len(asked) == 36
    for one in asked:
        names = [candidate.name for candidate in one.candidates]
        assert len(set(names)) == 20
        assert one.relevant in names
        assert all(candidate.long for candidate in one.candidates)


def test_the_committed_questions_stay_small_and_name_their_licence() -> None:
    assert QUERIES.stat().st_size < 600_000
    assert "copyright" in json.loads(QUERIES.read_text())["licence"]
