"""Live queries that a candidate scores too: which are compared, for how long, and what comes of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from reranker_operator import shadow
from reranker_operator.decisions import gate
from reranker_operator.errors import NoScores
from reranker_operator.resources.rollout_policy import Gate
from reranker_operator.status import conditions
from reranker_operator.worker_client import WorkerClient
from reranker_operator.world.state import LONG_AGO, World
from reranker_operator.world.trials import Answer, Failed, Figures, LiveSample, Passed, Seat, Trial, Undecided
from tests.unit.operator.worlds import (
    KEY,
    ONE,
    TWO,
    applied,
    edited,
    goal,
    golden_gate,
    model,
    reread,
    revision,
    serving_world,
    with_pods,
)

R1, R2 = revision(ONE), revision(TWO)
SHADOW = golden_gate(minRankCorrelation="0.8", shadow={"percent": 20, "durationSeconds": 6})
GATE = Gate.model_validate(SHADOW["rollout"]["gate"])
CANDIDATE = Seat("c", "10.0.0.3", R2)
WITNESSES = (Seat("a", "10.0.0.1", R1), Seat("b", "10.0.0.2", R1))


def sample(number: int, scores: Sequence[float] = (0.9, 0.5, 0.1), **members: Any) -> LiveSample:
    plain = LiveSample(number, R1, None, "q", ("x", "y", "z"), tuple(scores))
    return replace(plain, **members)


@dataclass
class Workers:
    """Pods that have kept samples, and a candidate that ranks documents as they are listed."""

    kept: dict[str, list[LiveSample]]
    refuses: Mapping[str | None, NoScores] = field(default_factory=dict)
    asked: list[LiveSample] = field(default_factory=list)
    fetches: int = 0

    async def samples(self, seat: Seat, after: int) -> list[LiveSample]:
        self.fetches += 1
        if seat.pod not in self.kept:
            raise NoScores(f"pod {seat.pod} is gone")
        return [each for each in self.kept[seat.pod] if each.number > after]

    async def score(self, seat: Seat, query: str, documents: Sequence[str], adapter: str | None = None) -> Answer:
        assert seat == CANDIDATE
        if adapter in self.refuses:
            raise self.refuses[adapter]
        self.asked.append(sample(0, adapter=adapter, query=query, documents=tuple(documents)))
        return Answer(tuple(1.0 - place / 10 for place in range(len(documents))), 5.0)


def seconds(count: int) -> Callable[[], float]:
    """A clock by which each look is a second later; the last one stays."""
    times: Iterator[int] = iter(range(count))
    last = float(count)
    return lambda: float(next(times, last))


async def correlations(workers: Workers, witnesses: tuple[Seat, ...] = WITNESSES) -> list[float]:
    trial = Trial(KEY, "uid-1", GATE, "g", CANDIDATE, WITNESSES[0], witnesses)
    return await shadow.correlations(cast("WorkerClient", workers), trial, seconds(12))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "PULL_S", 0.0)


async def test_every_sample_of_every_pod_is_compared_once() -> None:
    workers = Workers({"a": [sample(1), sample(2, (0.1, 0.5, 0.9))], "b": [sample(7)]})
    assert sorted(await correlations(workers)) == [-1.0, 1.0, 1.0]
    assert workers.fetches > len(WITNESSES)


async def test_a_sample_is_scored_with_the_adapter_that_its_client_asked_for() -> None:
    workers = Workers({"a": [sample(1, adapter="legal", query="who?")]})
    await correlations(workers)
    assert [(each.query, each.documents, each.adapter) for each in workers.asked] == [
        ("who?", ("x", "y", "z"), "legal")
    ]


async def test_a_pod_that_is_gone_leaves_the_others_and_no_pod_is_no_traffic() -> None:
    assert await correlations(Workers({"b": [sample(1)]})) == [1.0]
    assert await correlations(Workers({})) == []
    nobody = Workers({})
    assert (await correlations(nobody, ()), nobody.fetches) == ([], 0)


PASSED_OVER = {
    "of the candidate itself": sample(1, revision=R2),
    "whose scores were no numbers": sample(1, (float("nan"), 0.5, 0.1)),
    "whose scores told no document apart": sample(1, (0.5, 0.5, 0.5)),
    "whose adapter the candidate lacks": sample(1, adapter="missing"),
    "for which the candidate is too busy": sample(1, adapter="busy"),
}


@pytest.mark.parametrize("other", PASSED_OVER.values(), ids=PASSED_OVER.keys())
async def test_a_sample_is_passed_over(other: LiveSample) -> None:
    refuses: dict[str | None, NoScores] = {
        "missing": NoScores("no such adapter", "NotFound"),
        "busy": NoScores("later", "Overloaded"),
    }
    assert await correlations(Workers({"a": [other, sample(2)]}, refuses)) == [1.0]


@pytest.mark.parametrize("code", ["ScoringFailed", ""], ids=["scores are no numbers", "it doesn't answer"])
async def test_a_candidate_that_can_not_score_a_live_query_is_not_passed_over(code: str) -> None:
    with pytest.raises(NoScores):
        await correlations(Workers({"a": [sample(1)]}, {None: NoScores("broken", code)}))


def test_live_queries_are_judged_by_the_same_threshold_as_the_golden_set() -> None:
    golden = Figures(ndcg=1.0, rank_correlation=1.0, p95_ms=5.0)
    assert isinstance(gate.verdict(GATE, gate.with_live(golden, [0.9, 0.7])), Passed)
    failed = gate.verdict(GATE, gate.with_live(golden, [0.9, 0.5]))
    assert isinstance(failed, Failed)
    assert failed.message == "rank correlation with it on 2 live queries is 0.7000, at least 0.8 is asked"
    assert gate.shown_figures(failed.figures)["live_rank_correlation"] == "0.7000"


def test_without_live_queries_the_golden_set_alone_decides() -> None:
    golden = Figures(ndcg=1.0, rank_correlation=1.0, p95_ms=5.0)
    assert gate.verdict(GATE, gate.with_live(golden, [])) == Passed(golden)


def rolling(**entry: Any) -> World:
    world = applied(edited(serving_world(), model(TWO, **SHADOW)))
    return replace(with_pods(world, goal(world).template, "c", **entry), judgement=Undecided())


def test_workers_copy_requests_only_while_a_candidate_is_tried() -> None:
    loading, tried = rolling(phase="Loading"), rolling()
    assert (goal(loading).manifest.shadow_percent, goal(tried).manifest.shadow_percent) == (0, 20)
    assert reread(goal(tried).manifest) == goal(tried).manifest
    admitted = applied(replace(tried, judgement=Passed(Figures())))
    assert goal(admitted).manifest.shadow_percent == 0
    failed = replace(tried, judgement=Failed("GateFailed", "bad", Figures()))
    assert goal(failed).manifest.shadow_percent == 0


def test_all_pods_that_serve_are_witnesses() -> None:
    found = gate.trial(rolling())
    assert found is not None
    assert [(seat.pod, seat.revision) for seat in found.witnesses] == [("a", R1), ("b", R1)]


def test_the_status_says_what_the_candidate_waits_for() -> None:
    world = rolling()
    status = conditions.status(world, goal(world), LONG_AGO)
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert ready["message"].endswith("is being tried on the golden set and on live queries")
