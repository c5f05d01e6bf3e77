"""Which writes a world calls for; above all, when none."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reranker_operator.decisions.plan import plan
from reranker_operator.objects import ownership
from reranker_operator.status import conditions
from reranker_operator.world.actions import Action, Announce, Apply, Record
from reranker_operator.world.facts import condition
from reranker_operator.world.state import Kind, World
from tests.unit.operator.worlds import (
    LEGAL,
    TWO,
    applied,
    edited,
    empty,
    goal,
    model,
    serving_world,
    with_pods,
)


def actions(world: World) -> tuple[Action, ...]:
    return plan(world, goal(world))


def applies(world: World) -> list[Kind]:
    return [action.kind for action in actions(world) if isinstance(action, Apply)]


def told(world: World) -> list[str]:
    return [action.pod for action in actions(world) if isinstance(action, Announce)]


def test_everything_is_made_for_a_new_model() -> None:
    found = actions(empty(model()))
    first = [Kind.CONFIG_MAP, Kind.DEPLOYMENT, Kind.SERVICE, Kind.POD_DISRUPTION_BUDGET]
    assert [a.kind for a in found if isinstance(a, Apply)] == first
    assert all(isinstance(a, Apply | Record) and not a.resource_version for a in found)


def test_nothing_is_written_where_nothing_differs() -> None:
    assert actions(serving_world()) == ()
    assert actions(serving_world(model(adapters={"legal": LEGAL}))) == ()


EDITS: dict[str, tuple[dict[str, Any], list[Kind], bool]] = {
    "an adapter": ({"adapters": {"legal": LEGAL}}, [Kind.CONFIG_MAP], True),
    "the served name": ({"servedName": "mine"}, [Kind.CONFIG_MAP], True),
    "limits of the queue": ({"engine": {"maxQueueTokens": 50000}}, [Kind.CONFIG_MAP], True),
    "the playground": ({"playground": True}, [Kind.CONFIG_MAP], True),
    "drain time": ({"rollout": {"drainSeconds": 5}}, [Kind.CONFIG_MAP], True),
    "the adapters' policy": ({"adapterPolicy": {"maxRank": 8}}, [Kind.CONFIG_MAP], True),
    "the model": ({"uri": TWO}, [Kind.CONFIG_MAP, Kind.DEPLOYMENT], True),
    "lengths": ({"engine": {"maxLength": 128}}, [Kind.CONFIG_MAP, Kind.DEPLOYMENT], True),
    "resources": ({"resources": {"limits": {"cpu": "2"}}}, [Kind.CONFIG_MAP, Kind.DEPLOYMENT], True),
    "replicas": ({"replicas": 3}, [Kind.DEPLOYMENT], False),
    "surge": ({"rollout": {"maxSurge": 2}}, [Kind.DEPLOYMENT], False),
}


@pytest.mark.parametrize(("change", "kinds", "announced"), EDITS.values(), ids=EDITS.keys())
def test_an_edit_writes_only_what_it_changes_and_tells_the_pods(
    change: dict[str, Any], kinds: list[Kind], announced: bool
) -> None:
    world = edited(serving_world(), model(**change))
    assert applies(world) == kinds
    assert told(world) == (["a", "b"] if announced else [])


def test_only_a_change_of_the_pods_template_rolls_them() -> None:
    restarts = {
        name: goal(edited(serving_world(), model(**change))).template != goal(serving_world()).template
        for name, (change, _, _) in EDITS.items()
    }
    assert {name for name, restart in restarts.items() if restart} == {"the model", "lengths", "resources"}


def test_a_write_is_decided_on_the_version_that_was_seen() -> None:
    found = actions(edited(serving_world(), model(replicas=3)))
    assert [a.resource_version for a in found if isinstance(a, Apply)] == ["7"]


def test_a_pod_that_has_not_read_the_manifest_is_told_again_and_one_that_has_is_not() -> None:
    world = serving_world()
    behind = replace(world.reports["a"], observed_generation=world.reports["a"].observed_generation - 1)
    assert told(replace(world, reports={**world.reports, "a": behind})) == ["a"]


def test_a_pod_that_only_starts_is_left_to_read_the_config_map() -> None:
    world = serving_world()
    assert told(replace(world, reports={"b": world.reports["b"]})) == []


def test_a_pod_that_starts_is_told_of_a_change_that_it_may_have_missed() -> None:
    world = edited(serving_world(), model(adapters={"legal": LEGAL}))
    assert told(replace(world, reports={})) == ["a", "b"]


def test_a_pod_that_ends_is_told_nothing() -> None:
    world = edited(serving_world(), model(adapters={"legal": LEGAL}))
    ending = tuple(replace(pod, terminating=pod.name == "a") for pod in world.pods)
    assert told(replace(world, pods=ending)) == ["b"]


def test_an_annotation_that_someone_edited_is_written_again() -> None:
    world = serving_world()
    assert world.manifest is not None
    forged = replace(world.manifest, admitted=("evil-00000000",))
    edited_pods = tuple(replace(pod, manifest=forged if pod.name == "a" else None) for pod in world.pods)
    assert told(replace(world, pods=edited_pods)) == ["a"]


def test_children_of_a_later_generation_are_news_unless_a_former_model_of_the_name_left_them() -> None:
    written = applied(edited(serving_world(), model(TWO)))
    read = replace(written, model=replace(written.model, generation=1))
    assert ownership.stale(read) is not None
    again = replace(read, model=replace(read.model, uid="uid-2"))
    assert ownership.stale(again) is None
    assert actions(again) == ()
    ready = condition(conditions.status(again, goal(again), datetime.now(UTC)), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "WaitingForDeletion")


@pytest.mark.parametrize("owner", [None, {"kind": "Deployment", "name": "other", "uid": "u", "controller": True}])
def test_nothing_is_touched_beside_a_foreign_object(owner: dict[str, Any] | None) -> None:
    world = empty(model())
    foreign = {"metadata": {"name": "bge", "resourceVersion": "1", "ownerReferences": [owner] if owner else []}}
    assert actions(replace(world, children={Kind.SERVICE: foreign})) == ()


@pytest.mark.parametrize(
    ("rollout", "written"),
    [({}, [Kind.DEPLOYMENT]), ({"rollout": {"strategy": "BlueGreen"}}, [])],
    ids=["", "BlueGreen"],
)
def test_another_model_named_like_a_second_fleet_is_in_the_way_of_that_alone(
    rollout: dict[str, Any], written: list[Kind]
) -> None:
    owner = {"kind": "RerankerModel", "name": "bge-green", "uid": "u", "controller": True}
    metadata = {"name": "bge-green", "resourceVersion": "1", "ownerReferences": [owner]}
    foreign = {"metadata": metadata, "spec": {"template": {"metadata": {}}}}
    world = edited(serving_world(), model(replicas=3, **rollout))
    world = replace(world, children={**world.children, Kind.GREEN_DEPLOYMENT: foreign})
    assert [kind for kind in applies(ownership.without_strange_fleet(world)) if kind is Kind.DEPLOYMENT] == written


def test_the_roll_ends_with_nothing_left_to_write() -> None:
    world = applied(edited(serving_world(), model(TWO)))
    world = applied(with_pods(world, goal(world).template, "c"))
    world = with_pods(replace(world, pods=(), reports={}), goal(world).template, "c", "d")
    # The old revision leaves the manifest, and the old template the Deployment's notes.
    assert applies(world) == [Kind.CONFIG_MAP, Kind.DEPLOYMENT]
    world = applied(world)
    world = with_pods(replace(world, pods=(), reports={}), goal(world).template, "c", "d")
    assert actions(world) == ()
