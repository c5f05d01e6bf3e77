"""Whether a candidate may answer: what is tried on which pods, what it measured, and the verdict. No I/O."""

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from reranker_operator.decisions import ranking
from reranker_operator.decisions.golden import Question
from reranker_operator.decisions.rollout import wanted_model
from reranker_operator.resources.rollout_policy import Gate
from reranker_operator.world import names
from reranker_operator.world.fleet import admitted_before, loaded_pods, reached_pods
from reranker_operator.world.state import World
from reranker_operator.world.trials import Answer, Failed, Figures, Passed, Seat, Trial

P95 = 0.95


def trial(world: World) -> Trial | None:
    """What the gate should try now: the wanted revision once a pod has it in memory; None while there is nothing to.

    While pods answer clients it waits for one of them to compare with. A fleet of which none answers has nothing left
    to compare with, and must not hold back what would replace it.
    """
    gate, wanted = world.model.spec.rollout.gate, awaited(world)
    if gate is None or not wanted:
        return None
    candidate = next((Seat(pod.name, pod.ip, wanted) for pod in loaded_pods(world, wanted)), None)
    witnesses = tuple(_serving_seats(world, wanted))
    serving = next(iter(witnesses), None)
    if candidate is None or (serving is None and reached_pods(world)):
        return None
    return Trial(world.model.key, world.model.uid, gate, gate_hash(gate), candidate, serving, witnesses)


def awaited(world: World) -> str:
    """The revision that may not answer before the gate lets it pass; "" where there is none."""
    wanted = wanted_model(world.model).revision
    return "" if world.model.spec.rollout.gate is None or wanted in admitted_before(world) else wanted


def shadow_percent(world: World) -> int:
    """How many of 100 requests the workers are to copy now: some only while a candidate is being tried."""
    asked = trial(world)
    return asked.gate.shadow.percent if asked is not None and asked.gate.shadow is not None else 0


def gate_hash(gate: Gate | None) -> str:
    """What tells one gate from another, thresholds and golden set's name."""
    return names.hash8(gate.model_dump(by_alias=True, exclude_none=True) if gate is not None else {})


def _serving_seats(world: World, wanted: str) -> list[Seat]:
    return [
        Seat(pod.name, pod.ip, model.revision)
        for pod in reached_pods(world)
        if (report := world.report(pod)) is not None
        for model in report.models
        if model.serving and model.admitted and model.revision != wanted
    ]


def figures(
    gate: Gate, questions: Sequence[Question], candidate: Sequence[Answer], serving: Sequence[Answer] | None
) -> Figures:
    """The measures of a candidate's answers, one for each question; compared with those of what serves, if any."""
    finite = all(math.isfinite(score) for answer in candidate for score in answer.scores)
    if not finite:
        return Figures(finite=False)
    gains = [
        ranking.ndcg_at_k(question.relevance, answer.scores, gate.k)
        for question, answer in zip(questions, candidate, strict=True)
    ]
    taus = [
        tau
        for old, new in zip(serving or (), candidate if serving else (), strict=True)
        if (tau := ranking.tau_b(old.scores, new.scores)) is not None
    ]
    return Figures(
        ndcg=_mean(gains),
        rank_correlation=_mean(taus) if taus else None,
        p95_ms=ranking.percentile([answer.milliseconds for answer in candidate], P95),
    )


def with_live(measured: Figures, taus: Sequence[float]) -> Figures:
    """The figures with what live queries showed; without one, there is nothing to compare on."""
    return replace(measured, live_correlation=_mean(taus) if taus else None, live_queries=len(taus))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def verdict(gate: Gate, measured: Figures) -> Passed | Failed:
    """Whether the figures suffice; a failure names every one that doesn't, and what would have."""
    if not measured.finite:
        return Failed("NonFiniteScores", "a score of the golden set isn't a finite number", measured)
    short = [
        _below(f"nDCG@{gate.k}", measured.ndcg, gate.min_ndcg),
        _below("rank correlation with the serving revision", measured.rank_correlation, gate.min_rank_correlation),
        _below(
            f"rank correlation with it on {measured.live_queries} live queries",
            measured.live_correlation,
            gate.min_rank_correlation,
        ),
        _slow(measured.p95_ms, gate.max_p95_milliseconds),
    ]
    words = [found for found in short if found]
    return Failed("GateFailed", "; ".join(words), measured) if words else Passed(measured)


def _below(name: str, value: float | None, least: str | None) -> str:
    if value is None or least is None or Decimal(shown(value)) >= Decimal(least):
        return ""
    return f"{name} is {shown(value)}, at least {least} is asked"


def _slow(value: float | None, most: int | None) -> str:
    if value is None or most is None or value <= most:
        return ""
    return f"the 95th percentile is {value:.1f} ms, at most {most} ms are allowed"


def shown_figures(figures: Figures) -> dict[str, str | None]:
    """The members of the status for them."""
    p95, live = figures.p95_ms, figures.live_correlation
    return {
        "ndcg": shown(figures.ndcg) if figures.ndcg is not None else None,
        "rank_correlation": shown(figures.rank_correlation) if figures.rank_correlation is not None else None,
        "live_rank_correlation": shown(live) if live is not None else None,
        "p95_milliseconds": f"{p95:.1f}" if p95 is not None else None,
    }


def shown(value: float) -> str:
    """A figure as the status shows it, which is also what is compared: no 0.62 that falls short of 0.62."""
    return f"{value:.4f}"
