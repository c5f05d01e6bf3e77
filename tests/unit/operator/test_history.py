"""Which revisions are kept as ControllerRevisions, and what they are good for."""

from dataclasses import replace
from typing import Any

import pytest

from reranker_operator.decisions.revisions import changes
from reranker_operator.objects.history import past
from reranker_operator.world.actions import Forget, Record
from reranker_operator.world.state import World
from tests.unit.operator.worlds import (
    ONE,
    THREE,
    TWO,
    applied,
    edited,
    goal,
    model,
    revision,
    serving_world,
    with_pods,
    without_manifest,
)

R1, R2, R3 = revision(ONE), revision(TWO), revision(THREE)


def numbers(world: World) -> dict[str, int]:
    return {each.model.revision: each.number for each in world.history}


def rolled(world: World, uri: str, **spec: Any) -> World:
    """The fleet after a whole roll to another revision."""
    world = applied(edited(world, model(uri, **spec)))
    world = applied(with_pods(world, goal(world).template, "c"))
    for _ in range(2):
        world = applied(with_pods(replace(world, pods=(), reports={}), goal(world).template, "d", "e"))
    return world


def test_a_revision_is_kept_from_the_moment_that_it_is_on_its_way() -> None:
    assert numbers(serving_world()) == {R1: 1}
    assert numbers(applied(edited(serving_world(), model(TWO)))) == {R1: 1, R2: 2}


def test_one_that_comes_back_gets_the_highest_number() -> None:
    assert numbers(rolled(rolled(serving_world(), TWO), ONE)) == {R2: 2, R1: 3}


def test_nothing_changes_while_nothing_changes() -> None:
    world = rolled(serving_world(), TWO)
    assert list(changes(world, goal(world))) == []


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_oldest_that_no_pod_serves_go_beyond_the_limit(limit: int) -> None:
    world = serving_world()
    for number in range(5):
        world = rolled(world, f"pvc://models/v{number}", revisionHistoryLimit=limit)
    kept = sorted(numbers(world), key=numbers(world).__getitem__)
    assert kept == [revision(f"pvc://models/v{number}") for number in range(4 - limit, 5)]


def test_one_that_the_manifest_names_stays_whatever_the_limit() -> None:
    world = edited(serving_world(), model(TWO, revisionHistoryLimit=0))
    assert not [change for change in changes(world, goal(world)) if isinstance(change, Forget)]


def test_a_deleted_or_edited_one_is_put_back() -> None:
    world = serving_world()
    lost = list(changes(replace(world, history=()), goal(world)))
    assert [(change.name, change.detail) for change in lost] == [(R1, f"create ControllerRevision {R1}")]
    kept = world.history[0]
    unlabelled = {**kept.live, "metadata": {**kept.live["metadata"], "labels": {}}}
    (change,) = changes(replace(world, history=(replace(kept, live=unlabelled),)), goal(world))
    assert isinstance(change, Record)
    assert change.resource_version == "7"
    assert change.body["revision"] == 1


def test_the_source_of_a_revision_whose_manifest_is_lost_everywhere_is_known_from_it() -> None:
    world = without_manifest(applied(edited(serving_world(), model(TWO))))
    world = replace(world, pods=tuple(replace(pod, manifest=None) for pod in world.pods))
    found = goal(world).manifest
    assert [m.revision for m in found.models] == [R1, R2]
    assert found.models[0].source == {"uri": ONE}
    assert found.admitted == (R1,)
    template = world.pods[0].template
    assert found.serve[template] == R1


def test_another_models_and_rubbish_are_none_of_ours() -> None:
    live = serving_world().history[0].live
    assert past(live, "uid-1") is not None
    assert past(live, "uid-2") is None
    assert past({**live, "data": None}, "uid-1") is None
    assert past({**live, "metadata": {**live["metadata"], "ownerReferences": []}}, "uid-1") is None


def test_what_answered_last_is_kept_for_a_fleet_that_has_no_pod() -> None:
    served = serving_world()
    status = {"revisions": {"serving": {"name": R1}}}
    asleep = edited(replace(served, pods=(), reports={}), model(TWO, replicas=0, revisionHistoryLimit=0))
    known = applied(replace(asleep, model=replace(asleep.model, status=status)))
    assert numbers(applied(known)) == {R1: 1, R2: 2}
    answers = {"revisions": {"serving": {"name": R2}}}
    assert numbers(applied(replace(known, model=replace(known.model, status=answers)))) == {R2: 2}
