"""What sets a model's number of pods, and what stands in the way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reranker_operator.decisions.plan import plan
from reranker_operator.objects import autoscaling
from reranker_operator.objects.autoscaling import CUSTOM_METRICS, KEDA
from reranker_operator.status import conditions
from reranker_operator.status.transitions import events
from reranker_operator.world.actions import Apply, Remove
from reranker_operator.world.colours import Colour
from reranker_operator.world.facts import condition
from reranker_operator.world.state import ACCESSORIES, Kind, World
from tests.unit.operator.worlds import applied, edited, empty, goal, model, serving_world

BOUNDS = {"minReplicas": 2, "maxReplicas": 8}
CRON = {"type": "cron", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 20 * * *"}}
ASLEEP = {"minReplicas": 0, "maxReplicas": 4, "triggers": [CRON]}
CPU = {"requests": {"cpu": "2"}}
GPU = {"limits": {"nvidia.com/gpu": 1, "cpu": "2"}}
WITH_KEDA = [Kind.INTERNAL_SERVICE, Kind.SCALED_OBJECT]

WAYS: dict[str, tuple[dict[str, Any], set[str], list[Kind], tuple[bool, str]]] = {
    "KEDA": ({"autoscaling": BOUNDS}, {KEDA}, WITH_KEDA, (True, "ScaledObject")),
    "KEDA from zero": ({"autoscaling": ASLEEP}, {KEDA}, WITH_KEDA, (True, "ScaledObject")),
    "KEDA beside an adapter for Prometheus": (
        {"autoscaling": BOUNDS},
        {KEDA, CUSTOM_METRICS},
        WITH_KEDA,
        (True, "ScaledObject"),
    ),
    "an adapter for Prometheus": (
        {"autoscaling": BOUNDS},
        {CUSTOM_METRICS},
        [Kind.AUTOSCALER],
        (True, "HorizontalPodAutoscaler"),
    ),
    "CPUs": (
        {"autoscaling": BOUNDS, "resources": CPU},
        set(),
        [Kind.AUTOSCALER],
        (True, "HorizontalPodAutoscaler"),
    ),
    "a GPU without metrics": (
        {"autoscaling": BOUNDS, "resources": GPU},
        set(),
        [Kind.AUTOSCALER],
        (False, "MetricsMissing"),
    ),
    "nothing to go by": ({"autoscaling": BOUNDS}, set(), [Kind.AUTOSCALER], (False, "MetricsMissing")),
    "from zero without KEDA": (
        {"autoscaling": ASLEEP},
        {CUSTOM_METRICS},
        [Kind.AUTOSCALER],
        (False, "KedaMissing"),
    ),
    "asleep": ({"autoscaling": ASLEEP, "replicas": 0}, {KEDA}, WITH_KEDA, (True, "ScaledObject")),
    "asleep, and no longer allowed to": (
        {"autoscaling": {**BOUNDS, "triggers": [CRON]}, "replicas": 0},
        {KEDA},
        WITH_KEDA,
        (False, "SwitchedOff"),
    ),
    "switched off": (
        {"autoscaling": BOUNDS, "replicas": 0},
        {CUSTOM_METRICS},
        [Kind.AUTOSCALER],
        (False, "SwitchedOff"),
    ),
    "a trigger without KEDA": (
        {"autoscaling": {**BOUNDS, "triggers": [CRON]}},
        {CUSTOM_METRICS},
        [Kind.AUTOSCALER],
        (False, "KedaMissing"),
    ),
}


def world_of(spec: dict[str, Any], apis: set[str]) -> World:
    return replace(empty(model(**spec)), apis=frozenset(apis))


@pytest.mark.parametrize(("spec", "apis", "kinds", "said"), WAYS.values(), ids=WAYS.keys())
def test_the_object_is_what_the_cluster_has_and_the_status_says_so(
    spec: dict[str, Any], apis: set[str], kinds: list[Kind], said: tuple[bool, str]
) -> None:
    world = world_of(spec, apis)
    wanted = goal(world)
    assert [kind for kind in wanted.children if kind in ACCESSORIES] == kinds
    found = condition(conditions.status(world, wanted, world.now), "Autoscaling")
    assert (found["status"] == "True", found["reason"]) == said
    assert found["message"]


def test_without_autoscaling_there_is_neither_an_object_nor_a_condition() -> None:
    world = replace(empty(model()), apis=frozenset({KEDA}))
    assert not ACCESSORIES & goal(world).children.keys()
    assert condition(conditions.status(world, goal(world), world.now), "Autoscaling") == {}


def test_an_autoscaler_writes_the_model_s_scale_and_never_a_deployment() -> None:
    horizontal = goal(world_of({"autoscaling": BOUNDS}, {CUSTOM_METRICS})).children[Kind.AUTOSCALER]["spec"]
    scaled = goal(world_of({"autoscaling": BOUNDS}, {KEDA})).children[Kind.SCALED_OBJECT]["spec"]
    target = {"apiVersion": "reranker.dev/v1alpha1", "kind": "RerankerModel", "name": "bge"}
    assert horizontal["scaleTargetRef"] == scaled["scaleTargetRef"] == target
    assert (horizontal["minReplicas"], horizontal["maxReplicas"]) == (2, 8)
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"], scaled["cooldownPeriod"]) == (2, 8, 300)


@pytest.mark.parametrize(("percent", "amount", "number"), [(70, "700m", "0.7"), (100, "1000m", "1")])
def test_the_target_is_a_share_of_what_a_worker_can_score(percent: int, amount: str, number: str) -> None:
    spec = {"autoscaling": {**BOUNDS, "targetLoadPercent": percent}}
    horizontal = goal(world_of(spec, {CUSTOM_METRICS})).children[Kind.AUTOSCALER]["spec"]
    [metric] = horizontal["metrics"]
    assert metric["pods"]["metric"]["name"] == "reranker_load_ratio"
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": amount}
    [trigger] = goal(world_of(spec, {KEDA})).children[Kind.SCALED_OBJECT]["spec"]["triggers"]
    assert trigger["metadata"]["targetValue"] == number
    assert trigger["metadata"]["url"] == "http://bge-internal.search.svc:8081/metrics"


def test_triggers_of_the_spec_stand_beside_the_load() -> None:
    triggers = goal(world_of({"autoscaling": ASLEEP}, {KEDA})).children[Kind.SCALED_OBJECT]["spec"]["triggers"]
    assert [trigger["type"] for trigger in triggers] == ["metrics-api", "cron"]
    assert triggers[1] == CRON


@pytest.mark.parametrize(
    ("replicas", "pods"),
    [(0, 0), (1, 2), (2, 2), (5, 5), (9, 8)],
    ids=["none at all", "below", "least", "within", "above"],
)
def test_the_bounds_hold_whoever_wrote_replicas(replicas: int, pods: int) -> None:
    children = goal(empty(model(replicas=replicas, autoscaling=BOUNDS))).children
    assert children[Kind.DEPLOYMENT]["spec"]["replicas"] == pods


def test_what_is_written_differs_in_nothing_once_it_is_there() -> None:
    world = applied(world_of({"autoscaling": ASLEEP}, {KEDA}))
    assert not [action for action in plan(world, goal(world)) if isinstance(action, Apply | Remove)]


def test_another_autoscaler_takes_the_place_of_the_one_before() -> None:
    world = replace(applied(world_of({"autoscaling": BOUNDS}, {CUSTOM_METRICS})), apis=frozenset({KEDA}))
    found = plan(world, goal(world))
    assert [a.kind for a in found if isinstance(a, Remove)] == [Kind.AUTOSCALER]
    assert [a.kind for a in found if isinstance(a, Apply)] == [Kind.INTERNAL_SERVICE, Kind.SCALED_OBJECT]


def test_switched_off_the_autoscaler_goes_and_the_number_of_pods_stays() -> None:
    world = applied(world_of({"autoscaling": BOUNDS, "replicas": 5}, {KEDA}))
    world = edited(world, model(replicas=5))
    found = plan(world, goal(world))
    assert [a.kind for a in found if isinstance(a, Remove)] == [Kind.INTERNAL_SERVICE, Kind.SCALED_OBJECT]
    assert goal(world).children[Kind.DEPLOYMENT]["spec"]["replicas"] == 5


NO_HPA = ("Ready", "ScaledObjectCheckFailed")
BROKEN = ("Ready", "TriggerError")
NO_LOAD = ("ScalingActive", "FailedGetPodsMetric")
RESTING = ("ScalingActive", "ScalingDisabled")
#: Where, with which pods, what is False at the live object, and the reason that comes of it.
SAID: dict[str, tuple[str, tuple[str, ...], tuple[str, str], tuple[bool, str]]] = {
    "KEDA can't make its autoscaler": (KEDA, (), NO_HPA, (False, "ScaledObjectCheckFailed")),
    "KEDA's triggers fail": (KEDA, ("a",), BROKEN, (False, "TriggerError")),
    "KEDA has no worker to ask": (KEDA, (), BROKEN, (True, "ScaledObject")),
    "KEDA's autoscaler has no metric": (
        KEDA,
        ("a",),
        ("HPAActive", "FailedGetExternalMetric"),
        (False, "FailedGetExternalMetric"),
    ),
    "KEDA looks for no other condition": (KEDA, ("a",), ("Active", "ScalerNotActive"), (True, "ScaledObject")),
    "no metric of pods": (CUSTOM_METRICS, ("a",), NO_LOAD, (False, "FailedGetPodsMetric")),
    "no metric, and no pods": (CUSTOM_METRICS, (), NO_LOAD, (True, "HorizontalPodAutoscaler")),
    "it can't work at all": (CUSTOM_METRICS, (), ("ScalingActive", "InvalidSelector"), (False, "InvalidSelector")),
    "it has just been at 0 pods": (CUSTOM_METRICS, (), RESTING, (True, "HorizontalPodAutoscaler")),
}


def ready_for(world: World, seconds: int) -> World:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return replace(
        world, now=now, pods=tuple(replace(pod, ready_since=now - timedelta(seconds=seconds)) for pod in world.pods)
    )


@pytest.mark.parametrize(("api", "pods", "said", "expected"), SAID.values(), ids=SAID.keys())
def test_the_status_says_what_the_autoscaler_says_of_itself(
    api: str, pods: tuple[str, ...], said: tuple[str, str], expected: tuple[bool, str]
) -> None:
    world = replace(serving_world(model(autoscaling=BOUNDS), pods), apis=frozenset({api}))
    world = ready_for(applied(world), 3600)
    kind = Kind.SCALED_OBJECT if api == KEDA else Kind.AUTOSCALER
    told = {"type": said[0], "status": "False", "reason": said[1], "message": "its own words"}
    live = {**world.children[kind], "status": {"conditions": [told]}}
    found = autoscaling.fact(replace(world, children={**world.children, kind: live}))
    assert found is not None
    assert (found.holds, found.reason) == expected
    assert found.holds or found.message == f"{kind} bge: its own words"


def awake(seconds: int, **pod: Any) -> World:
    """A model that KEDA scales from zero has pods that became ready so long ago."""
    world = replace(serving_world(model(autoscaling=ASLEEP, replicas=2)), apis=frozenset({KEDA}))
    world = ready_for(applied(world), seconds)
    return replace(world, pods=tuple(replace(each, **pod) for each in world.pods))


def asleep() -> World:
    return replace(applied(edited(awake(3600), model(autoscaling=ASLEEP, replicas=0))), pods=(), reports={})


#: A model's days, with what KEDA said last of its triggers; what is told of that at the end of each.
SLEEP: dict[str, tuple[World, bool, list[str]]] = {
    "it serves": (awake(3600), True, ["ScaledObject"]),
    "its pods drain, and KEDA finds none to ask": (awake(3600, terminating=True), False, []),
    "it sleeps": (asleep(), False, []),
    "it wakes": (awake(0, ready=False, ready_since=None), False, []),
    "KEDA looked last before its first pod was ready": (awake(3), False, []),
    "KEDA has looked again": (awake(60), True, []),
    "KEDA can't ask pods that it has had for long": (awake(91), False, ["TriggerError"]),
    "it can again": (awake(3600), True, ["ScaledObject"]),
    "clients reach none of the pods": (awake(3600, fleet=Colour.GREEN), False, []),
}


def test_an_autoscaler_s_complaint_of_the_time_without_pods_is_none_of_the_time_with_them() -> None:
    status: dict[str, Any] = {}
    told: dict[str, list[str]] = {}
    for day, (seen, well, _) in SLEEP.items():
        said = {"type": "Ready", "status": "True" if well else "False", "reason": "" if well else "TriggerError"}
        live = {**seen.children[Kind.SCALED_OBJECT], "status": {"conditions": [said]}}
        children = {**seen.children, Kind.SCALED_OBJECT: live}
        world = replace(seen, children=children, model=replace(seen.model, status=status))
        after = conditions.status(world, goal(world), world.now)
        told[day] = [e.reason for e in events(status, after) if e.reason in ("TriggerError", "ScaledObject")]
        status = after
    assert told == {day: reasons for day, (_, _, reasons) in SLEEP.items()}


@pytest.mark.parametrize("wanted", [True, False], ids=["asked for", "not asked for"])
def test_somebody_else_s_object_of_the_name_is_left_alone_and_holds_up_nothing(wanted: bool) -> None:
    theirs = {"metadata": {"name": "bge", "uid": "uid-theirs", "resourceVersion": "3"}, "spec": {}}
    spec: dict[str, Any] = {"autoscaling": BOUNDS} if wanted else {}
    world = replace(serving_world(model(**spec)), apis=frozenset({CUSTOM_METRICS}), children={Kind.AUTOSCALER: theirs})
    found = plan(world, goal(world))
    assert Kind.AUTOSCALER not in [a.kind for a in found if isinstance(a, Apply | Remove)]
    assert Kind.DEPLOYMENT in [a.kind for a in found if isinstance(a, Apply)]
    fact = autoscaling.fact(world)
    assert (fact is not None and fact.reason == "NameConflict" and not fact.holds) is wanted


def test_each_change_of_who_scales_is_told_once() -> None:
    off, without, with_keda = (
        conditions.status(world, goal(world), world.now)
        for world in (
            empty(model()),
            world_of({"autoscaling": BOUNDS}, set()),
            world_of({"autoscaling": BOUNDS}, {KEDA}),
        )
    )
    told = [
        [(event.type, event.reason) for event in events(before, after)]
        for before, after in ((off, without), (without, without), (without, with_keda), (with_keda, off))
    ]
    assert told == [[("Warning", "MetricsMissing")], [], [("Normal", "ScaledObject")], []]
