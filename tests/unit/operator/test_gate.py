"""What the gate tries when, what it measures, and whom it lets pass."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reranker_operator.decisions import gate
from reranker_operator.decisions.golden import golden_set
from reranker_operator.resources.rollout_policy import Gate
from reranker_operator.world.facts import Problem
from reranker_operator.world.state import World
from reranker_operator.world.trials import Answer, Failed, Figures, Judgement, Passed, Trial, Undecided
from tests.unit.operator.worlds import ONE, TWO, applied, edited, empty, goal, golden_gate, model, revision, with_pods
from tests.unit.operator.worlds import serving_world as served

R1, R2 = revision(ONE), revision(TWO)
GATED = golden_gate(minNDCG="0.6")


def gated(**thresholds: Any) -> Gate:
    return Gate.model_validate(golden_gate(**thresholds)["rollout"]["gate"])


def rolling(phase: str = "Loaded", **spec: Any) -> World:
    """Two pods serve R1; one of R2 has come so far."""
    world = applied(edited(served(), model(TWO, **{**GATED, **spec})))
    return with_pods(world, goal(world).template, "c", phase=phase)


def first(phase: str = "Loaded") -> World:
    world = applied(empty(model(**GATED)))
    return with_pods(world, goal(world).template, "a", phase=phase)


def unanswered(world: World) -> World:
    return replace(world, reports={pod: said for pod, said in world.reports.items() if pod == "c"})


def dead(world: World) -> World:
    pods = tuple(replace(pod, ready=pod.ready and pod.name == "c") for pod in world.pods)
    return replace(world, pods=pods)


def seats(trial: Trial | None) -> tuple[str, str | None] | None:
    if trial is None:
        return None
    return trial.candidate.pod, trial.serving.pod if trial.serving else None


TRIALS: dict[str, tuple[Callable[[], World], tuple[str, str | None] | None]] = {
    "nothing has loaded": (lambda: rolling("Loading"), None),
    "the candidate has loaded": (rolling, ("c", "a")),
    "the first revision ever": (first, ("a", None)),
    "it may answer already": (lambda: applied(replace(rolling(), judgement=Passed(Figures()))), None),
    "there is no gate": (lambda: rolling(rollout={}), None),
    "pods answer clients but not the operator: waits": (lambda: unanswered(rolling()), None),
    "no pod answers clients any more: nothing to compare with": (lambda: dead(rolling()), ("c", None)),
    "only the gate's thresholds changed": (lambda: edited(served(model(ONE)), model(ONE, **GATED)), None),
}


@pytest.mark.parametrize(("make", "expected"), TRIALS.values(), ids=TRIALS.keys())
def test_is_tried(make: Callable[[], World], expected: tuple[str, str | None] | None) -> None:
    assert seats(gate.trial(make())) == expected


JUDGEMENTS: dict[str, tuple[Judgement | None, bool]] = {
    "not judged yet": (None, False),
    "being judged": (Undecided(), False),
    "waiting": (Undecided(Problem("GoldenSetInvalid", "line 1")), False),
    "failed": (Failed("GateFailed", "", Figures()), False),
    "passed": (Passed(Figures()), True),
}


@pytest.mark.parametrize(("judgement", "admitted"), JUDGEMENTS.values(), ids=JUDGEMENTS.keys())
def test_only_a_candidate_that_passed_is_admitted(judgement: Judgement | None, admitted: bool) -> None:
    world = replace(rolling(), judgement=judgement)
    assert (R2 in goal(world).manifest.admitted) is admitted
    assert R1 in goal(world).manifest.admitted


QUESTIONS = golden_set('{"query": "q", "documents": ["a", "b", "c"], "relevance": [2, 1, 0]}\n' * 2)


def answers(*scores: float, milliseconds: float = 5) -> list[Answer]:
    return [Answer(scores, milliseconds)] * 2


def test_a_candidate_is_measured_by_itself_and_against_what_serves() -> None:
    measured = gate.figures(gated(), QUESTIONS, answers(3, 2, 1), answers(1, 2, 3))
    assert measured == Figures(ndcg=1.0, rank_correlation=-1.0, p95_ms=5)


def test_without_anything_that_serves_there_is_nothing_to_compare_with() -> None:
    assert gate.figures(gated(), QUESTIONS, answers(3, 2, 1), None).rank_correlation is None


def test_a_score_that_is_no_number_is_measured_as_that_alone() -> None:
    assert gate.figures(gated(), QUESTIONS, answers(3, float("nan"), 1), answers(1, 2, 3)) == Figures(finite=False)


VERDICTS: dict[str, tuple[dict[str, Any], Figures, str]] = {
    "no thresholds": ({}, Figures(ndcg=0.0, rank_correlation=-1.0, p95_ms=9e9), ""),
    "just enough as it is shown": ({"minNDCG": "0.62"}, Figures(ndcg=0.61996), ""),
    "too little gain": ({"minNDCG": "0.62"}, Figures(ndcg=0.5), "nDCG@10 is 0.5000, at least 0.62 is asked"),
    "another k": ({"minNDCG": "1", "k": 3}, Figures(ndcg=0.5), "nDCG@3 is 0.5000, at least 1 is asked"),
    "another order than what serves": (
        {"minRankCorrelation": "0.9"},
        Figures(rank_correlation=-0.1),
        "rank correlation with the serving revision is -0.1000, at least 0.9 is asked",
    ),
    "nothing serves": ({"minRankCorrelation": "0.9"}, Figures(ndcg=1.0), ""),
    "too slow": (
        {"maxP95Milliseconds": 80},
        Figures(p95_ms=80.4),
        "the 95th percentile is 80.4 ms, at most 80 ms are allowed",
    ),
    "not a number": ({}, Figures(finite=False), "isn't a finite number"),
    "several": (
        {"minNDCG": "0.6", "maxP95Milliseconds": 1},
        Figures(ndcg=0.1, p95_ms=2.0),
        "nDCG@10 is 0.1000, at least 0.6 is asked; the 95th percentile is 2.0 ms",
    ),
}


@pytest.mark.parametrize(("thresholds", "measured", "words"), VERDICTS.values(), ids=VERDICTS.keys())
def test_the_verdict_names_every_figure_that_falls_short(
    thresholds: dict[str, Any], measured: Figures, words: str
) -> None:
    match gate.verdict(gated(**thresholds), measured):
        case Passed():
            assert words == ""
        case Failed(reason, message):
            assert words
            assert words in message
            assert reason == ("GateFailed" if measured.finite else "NonFiniteScores")


def test_a_gate_is_another_one_when_a_threshold_or_the_golden_set_is() -> None:
    names = {"configMapRef": {"name": "other"}}
    gates = [None, gated(), gated(k=5), gated(minNDCG="0.1"), gated(goldenSet=names), gated(maxP95Milliseconds=5)]
    assert len({gate.gate_hash(each) for each in gates}) == len(gates)
