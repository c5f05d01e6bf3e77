"""The status of every stage of a fleet's life, and the Events between two of them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reranker_operator.objects.merge_patch import merge_patch
from reranker_operator.status import conditions, transitions
from reranker_operator.world.colours import Colour
from reranker_operator.world.facts import Problem
from reranker_operator.world.names import Document
from reranker_operator.world.reports import AdapterReport, ModelReport, WorkerReport
from reranker_operator.world.state import Kind, World
from tests.unit.operator.worlds import (
    LEGAL,
    LEGAL_TWO,
    ONE,
    TWO,
    adapter_revision,
    applied,
    edited,
    empty,
    goal,
    model,
    revision,
    serving_world,
    with_pods,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UNREADABLE = Problem("InvalidSpec", "spec.source: Field required")
R1, R2 = revision(ONE), revision(TWO)


def status(world: World, now: datetime = NOW) -> Document:
    return conditions.status(world, goal(world), now)


def found(document: Document, name: str) -> Document:
    return next((c for c in document["conditions"] if c["type"] == name), {})


def rolling(**entry: Any) -> World:
    """Two pods serve R1, one of R2 has just been made."""
    world = applied(edited(serving_world(), model(TWO)))
    return with_pods(world, goal(world).template, "c", **entry)


def first(**entry: Any) -> World:
    world = applied(empty(model()))
    return with_pods(world, goal(world).template, "a", **entry)


def failing(reason: str, message: str) -> World:
    return rolling(phase="Failed", reason=reason, message=message)


def with_problem(problem: Problem) -> World:
    world = applied(edited(serving_world(), model(TWO)))
    world = with_pods(world, goal(world).template, "c")
    pods = tuple(replace(pod, problem=problem, ip="") if pod.name == "c" else pod for pod in world.pods)
    return replace(world, pods=pods, reports={p: r for p, r in world.reports.items() if p != "c"})


def with_deployment_condition(kind: str, value: str, reason: str, *, observed: int = 1) -> World:
    world = serving_world(pods=("a",))
    deployment = world.children[Kind.DEPLOYMENT]
    entry = {"type": kind, "status": value, "reason": reason, "message": f"{reason}, says the controller"}
    said = {"observedGeneration": observed, "conditions": [entry]}
    live = {**deployment, "metadata": {**deployment["metadata"], "generation": 1}, "status": said}
    return replace(world, children={**world.children, Kind.DEPLOYMENT: live})


def adapter_failing() -> World:
    world = applied(edited(serving_world(model(adapters={"legal": LEGAL})), model(adapters={"legal": LEGAL_TWO})))
    assert world.manifest is not None
    bad = AdapterReport(
        "legal", adapter_revision("legal", LEGAL_TWO), "Failed", "AdapterBaseMismatch", "made for another base"
    )
    old = AdapterReport("legal", adapter_revision("legal", LEGAL), "Loaded")
    newest = world.manifest.generation
    reports = {pod: replace(r, observed_generation=newest, adapters=(bad, old)) for pod, r in world.reports.items()}
    return replace(world, reports=reports)


def scaled_to_zero() -> World:
    return applied(replace(edited(serving_world(), model(replicas=0)), pods=(), reports={}))


def silent() -> World:
    return replace(serving_world(), reports={})


STALLED, RECONCILING, READY = "Stalled", "Reconciling", "Ready"

STATUSES: dict[str, tuple[Callable[[], World], str, str, str, str]] = {
    "nothing is made yet": (lambda: empty(model()), RECONCILING, "StartingPods", "0 of 2 pods", "False"),
    "all pods serve": (serving_world, READY, "Serving", f"all 2 pods serve {R1}", "True"),
    "no replicas are wanted": (scaled_to_zero, READY, "ScaledToZero", "no replicas", "False"),
    "a pod doesn't answer": (
        silent,
        RECONCILING,
        "StartingPods",
        "doesn't answer on http://10.0.0.1:8081/state",
        "True",
    ),
    "the new revision loads": (lambda: rolling(phase="Loading"), RECONCILING, "RollingOut", "1 of 2 pods", "True"),
    "the new revision fails": (
        lambda: failing("PickledWeights", "pytorch_model.bin is a pickle"),
        STALLED,
        "PickledWeights",
        f"{R2} is rejected: on pod c: pytorch_model.bin is a pickle; {R1} serves in its place",
        "True",
    ),
    "an image can't be pulled": (
        lambda: with_problem(Problem("ImagePullBackOff", "pod c, container server: not found")),
        STALLED,
        "ImagePullBackOff",
        "not found",
        "True",
    ),
    "no node has room": (
        lambda: with_problem(Problem("Unschedulable", "pod c: 0/3 nodes", stalled=False)),
        RECONCILING,
        "Unschedulable",
        "0/3 nodes",
        "True",
    ),
    "the progress deadline is over": (
        lambda: with_deployment_condition("Progressing", "False", "ProgressDeadlineExceeded"),
        STALLED,
        "ProgressDeadlineExceeded",
        "says the controller",
        "True",
    ),
    "a quota refuses pods": (
        lambda: with_deployment_condition("ReplicaFailure", "True", "FailedCreate"),
        STALLED,
        "FailedCreate",
        "says the controller",
        "True",
    ),
    "the Deployment's news are from before the last write": (
        lambda: with_deployment_condition("Progressing", "False", "ProgressDeadlineExceeded", observed=0),
        RECONCILING,
        "StartingPods",
        "1 of 2 pods",
        "True",
    ),
    "an adapter fails": (adapter_failing, STALLED, "AdapterBaseMismatch", "made for another base", "True"),
}


@pytest.mark.parametrize(("make", "state", "reason", "message", "available"), STATUSES.values(), ids=STATUSES.keys())
def test_conditions_say_what_is_true(
    make: Callable[[], World], state: str, reason: str, message: str, available: str
) -> None:
    document = status(make())
    ready = found(document, "Ready")
    assert (ready["status"], ready["reason"]) == (str(state == READY), reason)
    assert message in ready["message"]
    assert found(document, "Available")["status"] == available
    absent = {STALLED, RECONCILING} - {state}
    assert not any(found(document, name) for name in absent)
    assert all(c["observedGeneration"] == document["observedGeneration"] for c in document["conditions"])


def test_a_model_that_sleeps_beside_a_rejected_candidate_is_not_one_that_fails_to_serve() -> None:
    rolled = failing("PickledWeights", "pytorch_model.bin is a pickle")
    known = replace(edited(rolled, model(TWO, replicas=0)), pods=(), reports={})
    asleep = status(replace(known, model=replace(known.model, status=status(rolled))))
    said = {each["type"]: each["reason"] for each in asleep["conditions"]}
    assert (said["Ready"], said["Stalled"], said["Available"]) == ("PickledWeights", "PickledWeights", "ScaledToZero")


def test_a_status_stays_the_same_document_while_nothing_changes() -> None:
    world = serving_world(model(adapters={"legal": LEGAL}))
    first = status(world)
    again = replace(world, model=replace(world.model, status=first))
    assert merge_patch(first, status(again, NOW + timedelta(hours=1))) == {}


def test_a_transition_time_moves_only_with_the_status() -> None:
    first = status(rolling(phase="Loading"))
    later = edited(rolling(phase="Loading"), model(TWO, replicas=3))
    later = replace(later, model=replace(later.model, status=first))
    after = status(later, NOW + timedelta(hours=1))
    assert found(after, "Ready")["lastTransitionTime"] == found(first, "Ready")["lastTransitionTime"]
    done = replace(serving_world(), model=replace(serving_world().model, status=first))
    assert found(status(done, NOW + timedelta(hours=1)), "Ready")["lastTransitionTime"] == "2026-01-02T04:04:05Z"


def test_an_ending_pod_of_the_old_revision_that_still_answers_keeps_the_model_from_ready() -> None:
    world = serving_world()
    old = serving_world(model(TWO))
    ending = replace(old.pods[0], name="old", template="t-00000000", terminating=True, ready=False)
    answering = replace(world, pods=(*world.pods, ending), reports={**world.reports, "old": old.reports["a"]})
    silent_pod = replace(world, pods=(*world.pods, ending))
    assert found(status(answering), "Ready")["reason"] == "RollingOut"
    assert found(status(silent_pod), "Ready")["status"] == "True"


CANDIDATES = {
    "loading": (lambda: rolling(phase="Loading"), R1, "Loading"),
    "failed": (lambda: failing("DigestMismatch", "other files"), R1, "Failed"),
    "loaded, so admitted": (rolling, R1, "Admitted"),
}


@pytest.mark.parametrize(("make", "serving", "phase"), CANDIDATES.values(), ids=CANDIDATES.keys())
def test_revisions_say_which_answers_and_which_is_on_its_way(
    make: Callable[[], World], serving: str, phase: str
) -> None:
    revisions = status(make())["revisions"]
    assert revisions["serving"]["name"] == serving
    assert (revisions["candidate"]["name"], revisions["candidate"]["phase"]) == (R2, phase)


def test_the_candidate_is_gone_once_it_serves_everywhere() -> None:
    assert status(serving_world())["revisions"] == {"serving": {"name": R1, "since": "2026-01-02T03:04:05Z"}}


def test_pods_that_answer_probes_but_not_the_operator_change_nothing_in_who_serves() -> None:
    before = status(serving_world())
    world = silent()
    after = status(replace(world, model=replace(world.model, status=before)))
    assert after["revisions"]["serving"] == before["revisions"]["serving"]


def test_a_former_adapter_that_does_not_fit_the_new_model_is_no_failure_while_the_wanted_one_loads() -> None:
    start = serving_world(model(adapters={"legal": LEGAL}))
    world = applied(edited(start, model(TWO, adapters={"legal": LEGAL_TWO})))
    world = with_pods(world, goal(world).template, "c")
    coming = AdapterReport("legal", adapter_revision("legal", LEGAL_TWO), "Downloading")
    former = AdapterReport("legal", adapter_revision("legal", LEGAL), "Failed", "AdapterBaseMismatch", "another base")
    said = replace(world.reports["c"], adapters=(coming, former))
    document = status(replace(world, reports={**world.reports, "c": said}))
    assert "Stalled" not in {c["type"] for c in document["conditions"]}


def test_adapters_are_counted_on_ready_pods() -> None:
    world = adapter_failing()
    document = status(world)
    assert document["adaptersReady"] == "0/1"
    entry = document["adapters"][0]
    assert (entry["ready"], entry["desired"], entry["reason"]) == (0, 2, "AdapterBaseMismatch")
    assert found(document, "AdaptersReady")["status"] == "False"
    assert status(serving_world(model(adapters={"legal": LEGAL})))["adaptersReady"] == "1/1"


def test_a_spec_that_cannot_be_read_is_told_and_what_serves_stays_in_the_status() -> None:
    before = status(serving_world())
    stored = replace(model(generation=2), status=before)
    after = conditions.invalid(stored, serving_world().pods, UNREADABLE, NOW)
    assert found(after, "Stalled")["reason"] == "InvalidSpec"
    assert found(after, "Ready")["status"] == "False"
    assert found(after, "Available") == found(before, "Available")
    assert after["revisions"] == before["revisions"]
    assert after["readyReplicas"] == before["readyReplicas"] == 2


def test_a_model_whose_spec_cannot_be_read_isnt_available_while_no_pod_is_ready() -> None:
    pods = serving_world().pods
    gone = tuple(replace(pod, ready=False) for pod in pods)
    stored = replace(model(generation=2), status=status(serving_world()))
    down = conditions.invalid(stored, gone, UNREADABLE, NOW)
    assert (found(down, "Available")["status"], found(down, "Available")["reason"]) == ("False", "InvalidSpec")
    assert down["readyReplicas"] == 0
    assert conditions.invalid(replace(stored, status=down), gone, UNREADABLE, NOW) == down
    back = conditions.invalid(replace(stored, status=down), pods, UNREADABLE, NOW)
    assert (found(back, "Available")["status"], back["readyReplicas"]) == ("True", 2)


def test_a_model_that_was_down_before_its_spec_could_not_be_read_is_available_once_pods_are_ready() -> None:
    world = serving_world()
    down = replace(world, pods=tuple(replace(pod, ready=False) for pod in world.pods), reports={})
    before = status(down)
    assert found(before, "Available")["reason"] not in ("InvalidSpec", "ScaledToZero")
    after = conditions.invalid(replace(model(generation=2), status=before), world.pods, UNREADABLE, NOW)
    assert (found(after, "Available")["status"], after["readyReplicas"]) == ("True", 2)


@pytest.mark.parametrize("active", [None, Colour.BLUE, Colour.GREEN])
def test_of_a_model_whose_spec_cannot_be_read_only_pods_that_clients_reach_count(active: Colour | None) -> None:
    before = status(serving_world()) | ({"fleet": {"active": active.value}} if active is not None else {})
    stored, here = replace(model(generation=2), status=before), active or Colour.BLUE
    for fleet in Colour:
        pods = tuple(replace(pod, fleet=fleet) for pod in serving_world().pods)
        after = conditions.invalid(stored, pods, UNREADABLE, NOW)
        reached = fleet is here
        assert (found(after, "Available")["status"] == "True", after["readyReplicas"] > 0) == (reached, reached)


def test_a_model_that_sleeps_with_a_spec_that_cannot_be_read_is_asleep_all_the_same() -> None:
    asleep = status(serving_world(model(replicas=0), pods=()))
    assert found(asleep, "Available")["reason"] == "ScaledToZero"
    after = conditions.invalid(replace(model(generation=2), status=asleep), (), UNREADABLE, NOW)
    assert found(after, "Available") == found(asleep, "Available")


def reasons(before: World, after: World) -> list[str]:
    old = status(before)
    renewed = replace(after, model=replace(after.model, status=old))
    return [event.reason for event in transitions.events(old, status(renewed))]


TRANSITIONS: dict[str, tuple[Callable[[], World], Callable[[], World], list[str]]] = {
    "nothing": (serving_world, serving_world, []),
    "a new revision is on its way": (serving_world, lambda: rolling(phase="Loading"), ["RolloutStarted"]),
    "it is admitted": (lambda: rolling(phase="Loading"), rolling, ["RevisionAdmitted"]),
    "it serves everywhere": (rolling, lambda: serving_world(model(TWO)), ["RolloutFinished"]),
    "it fails": (lambda: rolling(phase="Loading"), lambda: failing("RemoteCode", "auto_map"), ["RevisionRejected"]),
    "its files can't be fetched": (
        lambda: rolling(phase="Loading"),
        lambda: failing("SourceNotFound", "no such repository"),
        ["ModelFailed"],
    ),
    "the first one ever fails": (lambda: first(phase="Loading"), lambda: first(phase="Failed"), ["ModelFailed"]),
    "an adapter is ready": (
        lambda: edited(serving_world(), model(adapters={"legal": LEGAL})),
        lambda: serving_world(model(adapters={"legal": LEGAL})),
        ["AdapterReady"],
    ),
    "an adapter fails": (lambda: serving_world(model(adapters={"legal": LEGAL})), adapter_failing, ["AdapterFailed"]),
    "an adapter is removed": (
        lambda: serving_world(model(adapters={"legal": LEGAL})),
        serving_world,
        ["AdapterRemoved"],
    ),
    "no pod answers any more": (serving_world, lambda: replace(serving_world(), pods=(), reports={}), ["Unavailable"]),
    "pods are refused": (
        serving_world,
        lambda: with_deployment_condition("ReplicaFailure", "True", "FailedCreate"),
        ["FailedCreate"],
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), TRANSITIONS.values(), ids=TRANSITIONS.keys())
def test_events_tell_each_change_once(
    before: Callable[[], World], after: Callable[[], World], expected: list[str]
) -> None:
    assert [r for r in reasons(before(), after()) if r != "Serving"] == expected


def test_a_report_of_another_revision_counts_for_nothing() -> None:
    other = WorkerReport(9, ready=True, models=(ModelReport("bge-ffffffff", "Loaded", admitted=True, serving=True),))
    world = replace(serving_world(), reports={"a": other, "b": other})
    document = status(world)
    assert found(document, "Ready")["status"] == "False"
    assert document["revisions"]["serving"]["name"] == "bge-ffffffff"
