"""A model's whole life against simulated pods and controllers: named scenarios, then edits and accidents at random."""

from typing import Any

import pytest

from tests.unit.operator.simulation.accidents import RECOVERY_S
from tests.unit.operator.simulation.edits import GATE, random_life, specified
from tests.unit.operator.simulation.invariants import at_rest
from tests.unit.operator.simulation.simulation import Simulation
from tests.unit.operator.simulation.sources import GOOD, OTHER, REFUSED, SILENT, SLOW, THIRD, UNLOADABLE, UNREACHABLE

STRATEGIES = ("RollingUpdate", "InPlace", "BlueGreen")
GATED: dict[str, Any] = {"gate": GATE}
NO_SPARE_NODE: dict[str, Any] = {"maxSurge": 0, "maxUnavailable": 1}
#: Long enough for a roll, a trial, a deadline and the way back.
LONG_S = 150


def serving(**rollout: Any) -> Simulation:
    """A model of two pods that has come to serve."""
    return started(specified(**rollout))


def started(spec: dict[str, Any], seconds: int = 40) -> Simulation:
    simulation = Simulation()
    simulation.edit(spec, seconds)
    assert simulation.is_ready(), simulation.trace()
    return simulation


def check(simulation: Simulation, *answering: str) -> None:
    """Assert what the ready pods behind the Service answer with, and that nothing was amiss on the way there."""
    found = simulation.watch.violations
    assert (simulation.answering(), found) == (sorted(answering), []), simulation.trace()


def check_at_rest(simulation: Simulation) -> None:
    assert simulation.goal is not None
    ready, stalled = simulation.is_ready(), simulation.stalled()
    problems = at_rest(
        simulation.cluster, simulation.goal, ready=ready, stalled=stalled, answering=len(simulation.answering())
    )
    found = [*simulation.watch.violations, *problems]
    assert not found, "\n".join([*found, simulation.trace()])


@pytest.mark.parametrize("slept_after_s", [2, 8])
@pytest.mark.parametrize("candidate", [REFUSED, UNLOADABLE])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_model_that_slept_through_a_roll_goes_back_to_what_answered_last(
    strategy: str, candidate: str, slept_after_s: int
) -> None:
    rollout = {**GATED, "strategy": strategy}
    simulation = serving(**rollout)
    simulation.edit(specified(candidate, **rollout), slept_after_s)
    simulation.edit(specified(candidate, replicas=0, **rollout), 60)
    check(simulation)
    simulation.edit(specified(candidate, **rollout), LONG_S)
    check(simulation, GOOD, GOOD)
    check_at_rest(simulation)


@pytest.mark.parametrize("candidate", [REFUSED, UNLOADABLE, UNREACHABLE, SILENT])
def test_a_model_that_was_edited_in_its_sleep_goes_back_to_what_answered_last(candidate: str) -> None:
    simulation = serving(**GATED)
    simulation.edit(specified(GOOD, replicas=0, **GATED), 40)
    simulation.edit(specified(candidate, replicas=0, **GATED), 40)
    simulation.edit(specified(candidate, replicas=1, **GATED), LONG_S)
    check(simulation, GOOD)
    check_at_rest(simulation)


def test_what_answered_last_is_kept_whatever_a_model_dreams_of() -> None:
    simulation = started({**specified(**GATED), "revisionHistoryLimit": 0})
    for name in (GOOD, OTHER, THIRD, REFUSED):
        simulation.edit({**specified(name, replicas=0, **GATED), "revisionHistoryLimit": 0}, 20)
    simulation.edit({**specified(REFUSED, **GATED), "revisionHistoryLimit": 0}, LONG_S)
    check(simulation, GOOD, GOOD)
    check_at_rest(simulation)


@pytest.mark.parametrize("candidate", [REFUSED, UNLOADABLE, UNREACHABLE, SILENT])
def test_a_single_pod_that_made_way_for_its_successor_comes_back(candidate: str) -> None:
    rollout = {**GATED, **NO_SPARE_NODE}
    simulation = started(specified(replicas=1, **rollout))
    simulation.edit(specified(candidate, replicas=1, **rollout), LONG_S)
    check(simulation, GOOD)
    check_at_rest(simulation)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_question_that_is_missed_while_the_golden_set_is_awaited_rejects_nothing(strategy: str) -> None:
    rollout = {**GATED, "strategy": strategy}
    simulation = serving(**rollout)
    simulation.troubles.golden_set = False
    simulation.edit(specified(OTHER, **rollout), 60)
    assert candidate_phase(simulation) == "Gating", simulation.trace()
    miss_a_question(simulation)
    simulation.run(60)
    check(simulation, GOOD, GOOD)
    assert simulation.stalled() == "GoldenSetInvalid", simulation.trace()
    simulation.troubles.golden_set = True
    simulation.run(LONG_S)
    check(simulation, OTHER, OTHER)
    check_at_rest(simulation)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_question_that_is_missed_while_live_queries_are_copied_rejects_nothing(strategy: str) -> None:
    shadow = {"percent": 5, "durationSeconds": 29}
    gate = {**GATE, "minRankCorrelation": "0.5", "shadow": shadow}
    rollout: dict[str, Any] = {"gate": gate, "strategy": strategy}
    simulation = started(specified(**rollout), 70)
    simulation.edit(specified(OTHER, **rollout), 33)
    assert candidate_phase(simulation) == "Gating", simulation.trace()
    miss_a_question(simulation)
    simulation.run(LONG_S)
    check(simulation, OTHER, OTHER)
    check_at_rest(simulation)


def candidate_phase(simulation: Simulation) -> str:
    return str((simulation.cluster.status["revisions"].get("candidate") or {}).get("phase", ""))


def miss_a_question(simulation: Simulation) -> None:
    """Let the pods that have the candidate in memory not answer for a second: in place every pod has."""
    waiting = {pod.name for pod in simulation.cluster.pods if not pod.ready}
    simulation.troubles.muted = frozenset(waiting or {pod.name for pod in simulation.cluster.pods})
    simulation.step()
    simulation.troubles.muted = frozenset()


LOST: dict[str, tuple[str, dict[str, Any], bool, str]] = {
    "and the candidate is slow": (SLOW, {}, True, SLOW),
    "and the candidate can't be loaded": (UNLOADABLE, {}, True, GOOD),
    "and the gate refuses the candidate": (REFUSED, GATED, True, GOOD),
    "and the gate has no golden set": (OTHER, GATED, False, GOOD),
}


@pytest.mark.parametrize(("candidate", "gate", "golden_set", "expected"), LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pods_of_the_old_template_are_lost_in_the_middle_of_a_roll(
    strategy: str, candidate: str, gate: dict[str, Any], golden_set: bool, expected: str
) -> None:
    rollout = {**gate, "strategy": strategy, "progressDeadlineSeconds": 60}
    simulation = serving(**rollout)
    simulation.troubles.golden_set = golden_set
    simulation.edit(specified(candidate, **rollout), 3)
    simulation.watch.excuse(simulation.now + RECOVERY_S)
    simulation.lose([pod for pod in simulation.cluster.pods if pod.ready], unnoticed_s=2)
    simulation.run(12)
    assert simulation.answering(), simulation.trace()
    simulation.run(LONG_S)
    check(simulation, expected, expected)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_clients_are_answered_and_it_comes_to_rest(seed: int) -> None:
    check_at_rest(random_life(seed))
