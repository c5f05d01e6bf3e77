"""Which revisions are rejected, for how long, and what serves in their place."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reranker_operator.decisions.plan import plan
from reranker_operator.decisions.rejection import attempt
from reranker_operator.status import conditions
from reranker_operator.status.transitions import events
from reranker_operator.world.facts import Problem
from reranker_operator.world.state import Kind, World
from reranker_operator.world.trials import Failed, Figures, Passed, Undecided
from tests.unit.operator.worlds import (
    LEGAL,
    ONE,
    THREE,
    TWO,
    applied,
    edited,
    empty,
    goal,
    golden_gate,
    late,
    model,
    revision,
    serving_world,
    with_pods,
    without_manifest,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
R1, R2, R3 = revision(ONE), revision(TWO), revision(THREE)
GATED = golden_gate(minNDCG="0.6")
AMISS = Undecided(Problem("GoldenSetInvalid", "line 1"))
UNASKED = Undecided(Problem("GateWaits", "no answer", stalled=False))
FAILED = Failed("GateFailed", "nDCG@10 is 0.5000, at least 0.6 is asked", Figures(ndcg=0.5, p95_ms=12.34))


def rolling(uri: str = TWO, start: World | None = None, **entry: Any) -> World:
    """Two pods serve R1; one of the next revision has been made."""
    world = applied(edited(start or serving_world(), model(uri, **GATED)))
    return with_pods(world, goal(world).template, "c", **entry)


def failing(reason: str) -> World:
    return rolling(phase="Failed", reason=reason, message="as it is")


def refused() -> World:
    return replace(rolling(), judgement=FAILED)


def first() -> World:
    world = applied(empty(model(**GATED)))
    return replace(with_pods(world, goal(world).template, "a"), judgement=FAILED)


def admitted(before: World, after_s: int) -> World:
    """It has passed, long after the Deployment's deadline, and may answer for so long."""
    passed = replace(before, judgement=Passed(Figures(ndcg=1.0)))
    status = conditions.status(passed, goal(passed), NOW)
    world = applied(replace(passed, model=replace(passed.model, status=status), now=NOW + timedelta(seconds=after_s)))
    return late(replace(world, judgement=None))


def without_its_status(world: World) -> World:
    """The status is that of the time before it passed."""
    waiting = replace(rolling(), judgement=AMISS)
    status = conditions.status(waiting, goal(waiting), NOW - timedelta(days=1))
    return replace(world, model=replace(world.model, status=status))


def silent(world: World) -> World:
    return replace(world, reports={pod: said for pod, said in world.reports.items() if pod == "c"})


def told(world: World, by: World, at: datetime = NOW) -> World:
    """The world with the status of another one."""
    return replace(world, model=replace(world.model, status=conditions.status(by, goal(by), at)))


def alone(world: World, pods: tuple[str, ...] = ("c",)) -> World:
    """No pod serves any more what the status tells of: there were none for a while, or they couldn't stay beside."""
    left = tuple(pod for pod in world.pods if pod.name in pods)
    reports = {pod.name: world.reports[pod.name] for pod in left}
    return replace(told(world, serving_world()), pods=left, reports=reports)


def unheard(world: World, for_s: int = 0) -> World:
    """The pod that waits for the gate, long after the deadline, hasn't answered for so long, if it was asked twice."""
    missing = told(replace(late(world), reports=silent_but(world, "c")), world, NOW - timedelta(days=1))
    missing = replace(missing, judgement=None, now=NOW)
    return replace(told(missing, missing), now=NOW + timedelta(seconds=for_s)) if for_s else missing


def silent_but(world: World, pod: str) -> dict[str, Any]:
    return {name: said for name, said in world.reports.items() if name != pod}


FOUND: dict[str, tuple[Callable[[], World], str | None]] = {
    "it loads": (lambda: rolling(phase="Loading"), None),
    "it has loaded and isn't judged": (rolling, None),
    "the gate refuses it": (refused, "GateFailed"),
    "the gate refuses the first revision ever": (first, None),
    "it can't be loaded": (lambda: failing("PickledWeights"), "PickledWeights"),
    "no memory": (lambda: failing("OutOfMemory"), "OutOfMemory"),
    "its source can't be reached, which may pass": (lambda: failing("SourceUnreachable"), None),
    "other files than its digest says, which may be put right": (lambda: failing("DigestMismatch"), None),
    "it can't be loaded, and no pod says that it serves": (lambda: silent(failing("PickledWeights")), None),
    "its pods don't start in time": (lambda: late(rolling(phase="Loading")), "ProgressDeadlineExceeded"),
    "its pods wait for the golden set": (
        lambda: late(replace(rolling(), judgement=AMISS)),
        None,
    ),
    "its trial takes longer than that": (lambda: late(replace(rolling(), judgement=Undecided())), None),
    "its pods don't answer the gate": (
        lambda: late(replace(rolling(), judgement=UNASKED)),
        "ProgressDeadlineExceeded",
    ),
    "it passes after that": (lambda: late(replace(rolling(), judgement=Passed(Figures()))), None),
    "it passed after that, and its pods are becoming ready": (lambda: admitted(rolling(), after_s=5), None),
    "the same, and its status couldn't be written": (lambda: without_its_status(admitted(rolling(), after_s=5)), None),
    "it passed, and its pods get no farther": (lambda: admitted(rolling(), after_s=900), "ProgressDeadlineExceeded"),
    "it can't be loaded where nothing else is left": (lambda: alone(failing("PickledWeights")), "PickledWeights"),
    "the gate refuses it where nothing else is left": (lambda: alone(refused()), "GateFailed"),
    "it doesn't come in time where nothing else is left": (
        lambda: alone(late(rolling(phase="Downloading"))),
        "ProgressDeadlineExceeded",
    ),
    "no node has taken its pod, which another revision's would want for as well": (
        lambda: alone(late(rolling()), pods=()),
        None,
    ),
    "its pod waits for the golden set and misses a question": (
        lambda: unheard(replace(rolling(), judgement=AMISS)),
        None,
    ),
    "its pod, on trial, misses some questions": (lambda: unheard(replace(rolling(), judgement=Undecided()), 60), None),
    "its pod doesn't answer any more": (
        lambda: unheard(replace(rolling(), judgement=AMISS), 900),
        "ProgressDeadlineExceeded",
    ),
    "pods of the same revision don't start in time": (lambda: late(serving_world()), None),
}


@pytest.mark.parametrize(("make", "reason"), FOUND.values(), ids=FOUND.keys())
def test_is_rejected(make: Callable[[], World], reason: str | None) -> None:
    found = goal(make())
    assert [each.reason for each in found.rejections] == ([reason] if reason else [])
    assert (found.rejected is not None) is (reason is not None)


def test_the_fleet_goes_back_to_the_very_template_and_revision_that_serve() -> None:
    before, after = serving_world(), goal(refused())
    assert (after.revision, after.template) == (R1, goal(before).template)
    assert after.manifest.admitted == (R1,)
    template = after.children[Kind.DEPLOYMENT]["spec"]["template"]
    assert template == before.children[Kind.DEPLOYMENT]["spec"]["template"]


def test_a_fleet_that_has_nothing_left_goes_back_to_what_answered_last() -> None:
    before, after = serving_world(), goal(alone(refused()))
    assert (after.revision, after.template) == (R1, goal(before).template)
    assert after.manifest.admitted == (R1,)


def test_a_template_whose_pods_are_lost_stays_known_until_the_next_one_answers() -> None:
    old = goal(serving_world()).template
    lost = alone(rolling())
    assert goal(lost).manifest.serve[old] == R1
    answers = {"revisions": {"serving": {"name": R2}}}
    assert old not in goal(replace(lost, model=replace(lost.model, status=answers))).manifest.serve
    asleep = model(TWO, **GATED, replicas=0)
    assert old not in goal(edited(lost, replace(asleep, status=lost.model.status))).manifest.serve


def recorded(world: World) -> World:
    """The world after the rejection was written and carried out: the candidate's pod is gone."""
    status = conditions.status(world, goal(world), NOW)
    later = applied(replace(world, model=replace(world.model, status=status)))
    pods = tuple(pod for pod in later.pods if pod.name != "c")
    assert later.manifest is not None
    generation = later.manifest.generation
    reports = {pod.name: replace(later.reports[pod.name], observed_generation=generation) for pod in pods}
    return replace(later, pods=pods, reports=reports, judgement=None)


def settled(world: World) -> World:
    return applied(recorded(world))


def respecified(world: World, uri: str = TWO, **spec: Any) -> World:
    return edited(world, model(uri, **{**GATED, **spec}))


LATER: dict[str, tuple[Callable[[], World], str]] = {
    "the spec stays": (lambda: settled(refused()), R1),
    "replicas, which don't matter to it": (lambda: respecified(settled(refused()), replicas=3), R1),
    "no replicas, then some": (lambda: replace(settled(refused()), pods=(), reports={}), R1),
    "another gate": (lambda: respecified(settled(refused()), **golden_gate(minNDCG="0.4")), R2),
    "other resources": (lambda: respecified(settled(refused()), resources={"limits": {"memory": "9Gi"}}), R2),
    "another way to it": (
        lambda: respecified(settled(refused()), rollout={**GATED["rollout"], "strategy": "BlueGreen"}),
        R2,
    ),
    "another way out where there is no room": (
        lambda: respecified(settled(refused()), rollout={**GATED["rollout"], "onUnschedulable": {"action": "Abort"}}),
        R2,
    ),
    "smaller batches": (lambda: respecified(settled(refused()), engine={"maxBatchTokens": 1024}), R2),
    "no keys": (lambda: respecified(settled(refused()), apiKeys={"secretRef": {"name": "clients"}}), R2),
    "an adapter, which a roll doesn't wait for": (
        lambda: respecified(settled(refused()), adapters={"legal": LEGAL}),
        R1,
    ),
    "what it is by default, said": (
        lambda: respecified(settled(refused()), rollout={**GATED["rollout"], "strategy": "RollingUpdate"}),
        R1,
    ),
    "another revision": (lambda: respecified(settled(refused()), THREE), R3),
    "what serves": (lambda: respecified(settled(refused()), ONE), R1),
    "the manifest is lost": (lambda: without_manifest(settled(refused())), R1),
    "a second one fails too": (
        lambda: replace(rolling(THREE, settled(refused())), judgement=FAILED),
        R1,
    ),
}


@pytest.mark.parametrize(("make", "expected"), LATER.values(), ids=LATER.keys())
def test_after_a_rejection_the_fleet_serves(make: Callable[[], World], expected: str) -> None:
    assert goal(make()).revision == expected


def test_a_deadline_s_message_says_what_a_pod_waits_for() -> None:
    world = late(rolling(phase="Loading"))
    (rejected,) = goal(world).rejections
    assert rejected.message == "timed out"
    waits = Problem("Unschedulable", "pod c: Insufficient nvidia.com/gpu", stalled=False)
    pods = tuple(replace(pod, problem=waits) if pod.name == "c" else pod for pod in world.pods)
    (rejected,) = goal(replace(world, pods=pods)).rejections
    assert rejected.message == "timed out: pod c: Insufficient nvidia.com/gpu"


def test_what_is_rejected_is_told_and_then_costs_no_write() -> None:
    world = recorded(settled(refused()))
    assert plan(world, goal(world)) == ()
    status = conditions.status(world, goal(world), NOW)
    assert status == world.model.status | {"replicas": 2, "readyReplicas": 2}
    assert status["revisions"]["serving"]["name"] == R1
    assert "candidate" not in status["revisions"]
    entry = status["revisions"]["rejected"][0]
    assert (entry["name"], entry["reason"], entry["ndcg"], entry["p95Milliseconds"]) == (
        R2,
        "GateFailed",
        "0.5000",
        "12.3",
    )
    stalled = next(c for c in status["conditions"] if c["type"] == "Stalled")
    assert stalled["message"].startswith(f"{R2} is rejected: nDCG@10 is 0.5000")


def test_the_last_ten_are_remembered() -> None:
    world = serving_world()
    for number in range(12):
        uri = f"pvc://models/bad-{number}"
        world = settled(replace(rolling(uri, world), judgement=FAILED))
    names = [each.name for each in goal(world).rejections]
    assert names == [revision(f"pvc://models/bad-{number}") for number in range(2, 12)]


def test_a_rejection_is_read_and_written_as_an_earlier_version_wrote_it() -> None:
    status = settled(refused()).model.status
    entry = {"name": R2, "reason": "GateFailed", "message": "m", "gate": attempt(model(TWO, **GATED).spec)}
    written = {**status, "revisions": {**status["revisions"], "rejected": [{**entry, "since": "2026-01-01T00:00:00Z"}]}}
    earlier = settled(refused())
    earlier = replace(earlier, model=replace(earlier.model, status=written))
    after = conditions.status(earlier, goal(earlier), NOW)
    assert goal(earlier).revision == R1
    assert after["revisions"]["rejected"] == written["revisions"]["rejected"]
    assert "RevisionRejected" not in [event.reason for event in events(written, after)]


def test_a_revision_that_passes_in_another_try_is_no_longer_listed() -> None:
    assert goal(respecified(settled(refused()), **golden_gate(minNDCG="0.4"))).rejections == ()
