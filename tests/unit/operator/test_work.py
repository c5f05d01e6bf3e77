"""How much one look at a large fleet takes: it stands on the event loop, before which all other models wait."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pytest

from reranker_operator.decisions.plan import plan
from reranker_operator.decisions.target import target
from reranker_operator.status import conditions
from reranker_operator.world.colours import Colour
from reranker_operator.world.state import World
from tests.unit.operator.worlds import (
    SETTINGS,
    TWO,
    applied,
    edited,
    goal,
    model,
    serving_world,
    with_pods,
    without_manifest,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def spec(pods: int, adapters: int, **more: Any) -> dict[str, Any]:
    sources = {f"a{i}": f"pvc://models/a{i}" for i in range(adapters)}
    return {"replicas": pods, "adapters": sources, "adapterPolicy": {"maxLoaded": 64}, **more}


def serving(pods: int, adapters: int, **more: Any) -> World:
    names = tuple(f"p{i}" for i in range(pods))
    return replace(serving_world(model(**spec(pods, adapters, **more)), names), now=NOW)


def behind(pods: int, adapters: int) -> World:
    """Every pod is to be told of other adapters."""
    wanted = spec(pods, adapters)
    renewed = {name: f"{source}-new" for name, source in wanted["adapters"].items()}
    return edited(serving(pods, adapters), model(**{**wanted, "adapters": renewed}))


def failing(pods: int, adapters: int) -> World:
    """No pod can load any adapter."""
    world = serving(pods, adapters)
    said = {
        name: replace(
            told, adapters=tuple(replace(each, phase="Failed", reason="LoadFailed") for each in told.adapters)
        )
        for name, told in world.reports.items()
    }
    return replace(world, reports=said)


def turned(pods: int, adapters: int) -> World:
    """The Service has just turned, and the fleet that it left is kept."""
    blue_green = spec(pods, adapters, rollout={"strategy": "BlueGreen"})
    blue = serving(pods, adapters, rollout={"strategy": "BlueGreen"})
    world = controlled(applied(edited(blue, model(TWO, **blue_green))), pods)
    for _ in range(3):  # loaded, then admitted, then the Service turns
        found = goal(world)
        old = tuple(pod for pod in world.pods if pod.fleet is Colour.BLUE)
        world = with_pods(replace(world, pods=old), found.template, *(f"q{i}" for i in range(pods)), fleet=Colour.GREEN)
        world = controlled(applied(world), pods)
    assert goal(world).flip.active is Colour.GREEN
    return world


def controlled(world: World, pods: int) -> World:
    """All pods of both fleets are available."""
    children = {
        kind: {**live, "status": {"availableReplicas": pods}} if live["kind"] == "Deployment" else live
        for kind, live in world.children.items()
    }
    return replace(world, children=children)


def lines(world: World) -> int:
    """How many lines of Python run until a world's actions and its status are known; each turn of a loop is one."""
    count = 0

    def trace(_frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = target(world, SETTINGS)
        plan(world, found)
        conditions.status(world, found, NOW)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("lost", [False, True], ids=["", "ConfigMap lost"])
@pytest.mark.parametrize("fleet", [serving, behind, failing, turned])
@pytest.mark.parametrize("larger", [(40, 8), (10, 32)], ids=["pods", "adapters"])
def test_the_work_of_a_look_grows_with_the_pods_and_with_the_adapters_and_no_faster(
    larger: tuple[int, int], fleet: Callable[[int, int], World], lost: bool
) -> None:
    small, large = (without_manifest(each) if lost else each for each in (fleet(10, 8), fleet(*larger)))
    assert lines(large) < 4.5 * lines(small)
