"""The next revision fetched by running pods before pods are made for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reranker_operator.status import conditions
from reranker_operator.status.transitions import events
from reranker_operator.world.fleet import deployed_revision, deployed_template
from reranker_operator.world.names import Document
from reranker_operator.world.reports import PrefetchReport
from reranker_operator.world.state import Kind, Model, World
from tests.unit.operator.worlds import (
    ONE,
    THREE,
    TWO,
    applied,
    edited,
    empty,
    goal,
    model,
    reread,
    revision,
    serving_world,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
R1, R2 = revision(ONE), revision(TWO)


def shared(uri: str = ONE, **spec: Any) -> Model:
    cache = {"type": "PersistentVolumeClaim", "claimName": "models-cache", "prefetch": True}
    return model(uri, cache=cache, **spec)


def asked_for(wanted: Model) -> World:
    """A fleet that serves R1 from a shared cache, and a new spec."""
    return edited(serving_world(shared()), wanted)


def telling(world: World, phase: str) -> World:
    """The world after one pod has told how far it is with R2's files."""
    told = (PrefetchReport(R2, phase),)
    name = world.pods[0].name
    return replace(world, reports={**world.reports, name: replace(world.reports[name], prefetch=told)})


def deployed(world: World) -> tuple[str, str]:
    """Revision and template of the Deployment after the target was written."""
    after = applied(world)
    live = after.children[Kind.DEPLOYMENT]
    return deployed_revision(live), deployed_template(live)


def status(world: World, now: datetime = NOW) -> Document:
    return conditions.status(world, goal(world), now)


def test_while_the_files_are_fetched_the_deployment_stays_and_the_manifest_says_what_to_fetch() -> None:
    world = asked_for(shared(TWO))
    assert deployed(world) == deployed(serving_world(shared()))
    told = reread(goal(world).manifest)
    assert told.prefetch == (R2,)
    assert [each.revision for each in told.models] == [R1, R2]
    assert set(told.serve.values()) == {R1}
    assert told.admitted == (R1,)


@pytest.mark.parametrize("phase", ["Pending", "Downloading"])
def test_pods_are_not_made_while_the_files_are_on_their_way(phase: str) -> None:
    assert deployed(telling(applied(asked_for(shared(TWO))), phase))[0] == R1


@pytest.mark.parametrize("phase", ["Complete", "Failed"])
def test_pods_are_made_once_one_pod_is_done_whatever_came_of_it(phase: str) -> None:
    world = telling(applied(asked_for(shared(TWO))), phase)
    assert deployed(world)[0] == R2
    after = goal(applied(world)).manifest
    assert after.prefetch == ()
    assert R2 in after.serve.values()


def test_the_status_tells_what_the_fleet_waits_for() -> None:
    world = applied(asked_for(shared(TWO)))
    told = status(world)
    assert told["revisions"]["candidate"] == {"name": R2, "phase": "Prefetching", "since": "2026-01-02T03:04:05Z"}
    reconciling = next(each for each in told["conditions"] if each["type"] == "Reconciling")
    assert (reconciling["reason"], R2 in reconciling["message"]) == ("Prefetching", True)
    later = replace(world, model=replace(world.model, status=told))
    assert status(later, NOW + timedelta(seconds=30)) == told
    assert [event.reason for event in events(world.model.status, told)][:1] == ["RolloutStarted"]


def test_pods_that_do_not_know_how_hold_the_roll_up_for_its_deadline_at_most() -> None:
    world = applied(asked_for(shared(TWO)))
    world = replace(world, model=replace(world.model, status=status(world)))
    deadline = timedelta(seconds=world.model.spec.rollout.progress_deadline_seconds)
    assert deployed(replace(world, now=NOW + deadline - timedelta(seconds=1)))[0] == R1
    assert deployed(replace(world, now=NOW + deadline))[0] == R2


def test_an_edit_that_is_taken_back_meanwhile_fetches_nothing_more() -> None:
    world = applied(asked_for(shared(TWO)))
    assert goal(edited(world, shared(ONE))).manifest.prefetch == ()


def test_a_roll_that_is_overtaken_is_not_gone_on_with() -> None:
    rolling = applied(telling(applied(asked_for(shared(TWO))), "Complete"))
    assert deployed_revision(rolling.children[Kind.DEPLOYMENT]) == R2
    assert deployed(edited(rolling, shared(THREE)))[0] == revision(THREE)


AT_ONCE: dict[str, World] = {
    "nothing serves yet": empty(shared(TWO)),
    "prefetch isn't asked for": edited(serving_world(), model(TWO)),
    "the pods change in other ways, too": asked_for(shared(TWO, nodeSelector={"pool": "gpu"})),
    "no pod is ready to do it": replace(
        (world := asked_for(shared(TWO))), pods=tuple(replace(pod, ready=False) for pod in world.pods)
    ),
}


@pytest.mark.parametrize("world", AT_ONCE.values(), ids=AT_ONCE.keys())
def test_pods_are_made_at_once_where(world: World) -> None:
    assert deployed(world)[0] == R2
    assert goal(world).manifest.prefetch == ()
    assert goal(world).prefetched == ""
