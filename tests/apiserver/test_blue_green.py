"""Two fleets on a real API server: the Service turns once, and turns back without a new pod while it can."""

from datetime import timedelta

import pytest

from reranker_operator.status import progress
from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import condition, edit, events, manifest, model, until_ready
from tests.apiserver.operators import MARKS, Running, killed_at, operator, rested

pytestmark = MARKS

LEGAL = {"name": "legal", "source": {"uri": "pvc://models/legal"}}


@pytest.fixture(autouse=True)
def near_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No node's proxy has to hear of a Service here."""
    monkeypatch.setattr(progress, "PROPAGATION", timedelta(seconds=0.2))


def blue_green(keep_s: int = 300, **others: object) -> Json:
    return {"strategy": "BlueGreen", "blueGreen": {"keepSeconds": keep_s}, **others}


async def served(kube: Kube) -> str:
    name: str = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    return name


async def deployments(kube: Kube) -> set[str]:
    return {live["metadata"]["name"] for live in await kube.items("deployments")}


async def pods(kube: Kube, count: int) -> set[str]:
    """The names of the pods, once there are so many and none is ending."""

    async def settled() -> set[str]:
        found = await kube.items("pods")
        names = {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}
        return names if len(found) == len(names) == count else set()

    return await eventually(settled, what=f"{count} pods")


async def test_a_revision_takes_over_by_one_flip_and_back_without_a_new_pod(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model(rollout=blue_green(), adapters=[LEGAL]))
    old = await served(kube)
    first = await pods(kube, 2)
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})
    new = await served(kube)
    both = await pods(kube, 4)
    assert first < both
    assert {worker.pod for worker in fleet.reached()} == both - first
    assert (await manifest(kube))["parked"] == [fleet.workers[min(first)].template]
    live = await kube.get("rerankermodels", "bge")
    assert live is not None
    assert (live["status"]["fleet"]["active"], live["status"]["fleet"]["kept"]) == ("green", old)
    assert (live["status"]["replicas"], live["status"]["readyReplicas"]) == (2, 2)

    await edit(kube, source={"uri": "pvc://models/one"})
    assert await served(kube) == old
    assert {worker.pod for worker in fleet.reached()} == first
    assert await pods(kube, 4) == both
    assert fleet.answered == {old, new}
    assert fleet.least_ready == 2
    assert {"ServiceFlipped", "RolloutFinished"} <= await events(kube)


async def test_the_old_fleet_goes_when_its_time_is_over_and_nothing_is_written_after(
    kube: Kube, fleet: Fleet, in_cluster: None
) -> None:
    async with operator(kube.namespace) as first:
        await kube.create("rerankermodels", model(rollout=blue_green(keep_s=7)))
        await served(kube)
        fleet.watch_readiness()
        await edit(kube, source={"uri": "pvc://models/two"})
        new = await served(kube)
        assert await deployments(kube) == {"bge", "bge-green"}

        async def whole() -> bool:
            found = await manifest(kube)
            return len(await kube.items("pods")) == 2 and [m["revision"] for m in found["models"]] == [new]

        await eventually(whole, what="the old fleet is gone")
        await until_ready(kube)
        assert await deployments(kube) == {"bge-green"}
        assert fleet.least_ready == 2
        assert "FleetRemoved" in await events(kube)
        await rested(kube, first)
    async with operator(kube.namespace, resync_seconds=1) as second:

        async def looked() -> bool:
            return second.requests("GET").get("GET services 200", 0) > 3

        await eventually(looked, what="some reconciles")
        assert second.writes() == 0


async def test_of_edits_in_quick_succession_the_middle_revision_never_answers(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model(rollout=blue_green()))
    old = await served(kube)
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})
    await pods(kube, 4)
    await edit(kube, source={"uri": "pvc://models/three"})
    new = await served(kube)
    assert fleet.answered == {old, new}
    assert await pods(kube, 4)
    assert fleet.least_ready == 2


async def test_a_fleet_that_can_not_load_goes_and_the_old_one_serves_on(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    fleet.fails["pvc://models/two"] = ("MissingHead", "no classifier")
    await kube.create("rerankermodels", model(rollout=blue_green()))
    old = await served(kube)
    first = await pods(kube, 2)
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})

    async def rejected() -> bool:
        live = await kube.get("rerankermodels", "bge")
        return bool(live and live["status"]["revisions"].get("rejected")) and await deployments(kube) == {"bge"}

    await eventually(rejected, what="the candidate's fleet is gone")
    assert await pods(kube, 2) == first
    live = await kube.get("rerankermodels", "bge")
    assert condition(live, "Stalled")["reason"] == "MissingHead"
    assert condition(live, "Available")["status"] == "True"
    assert fleet.answered == {old}
    assert fleet.least_ready == 2


async def test_no_room_for_a_second_fleet_becomes_a_swap_in_place(kube: Kube, fleet: Fleet, running: Running) -> None:
    fleet.room = 3
    fallback = {"afterSeconds": 1, "action": "InPlace"}
    await kube.create("rerankermodels", model(rollout=blue_green(onUnschedulable=fallback)))
    old = await served(kube)
    first = await pods(kube, 2)
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})
    assert await served(kube) != old
    assert await pods(kube, 2) == first
    assert await deployments(kube) == {"bge"}
    assert "NoRoomForPod" in await events(kube)
    assert fleet.least_ready == 2


async def test_both_fleets_are_scaled_and_the_strategy_may_change(kube: Kube, fleet: Fleet, running: Running) -> None:
    await kube.create("rerankermodels", model(rollout=blue_green()))
    await served(kube)
    await edit(kube, source={"uri": "pvc://models/two"})
    await served(kube)
    fleet.watch_readiness()
    await edit(kube, replicas=1)
    await pods(kube, 2)
    await until_ready(kube)
    await edit(kube, rollout={"strategy": "RollingUpdate"})
    await pods(kube, 1)
    await edit(kube, source={"uri": "pvc://models/three"})
    await until_ready(kube)
    await pods(kube, 1)
    assert await deployments(kube) == {"bge-green"}
    assert fleet.least_ready == 1


@pytest.mark.parametrize("deleted", [("services", "bge"), ("deployments", "bge-green"), ("deployments", "bge")])
async def test_a_child_that_is_deleted_while_two_fleets_are_there_leads_nobody_astray(
    kube: Kube, fleet: Fleet, running: Running, deleted: tuple[str, str]
) -> None:
    await kube.create("rerankermodels", model(rollout=blue_green()))
    old = await served(kube)
    await edit(kube, source={"uri": "pvc://models/two"})
    new = await served(kube)
    fleet.answered.clear()
    await kube.delete(*deleted)
    resource, name = deleted

    async def mended() -> bool:
        live = await kube.get("rerankermodels", "bge")
        made = await kube.get(resource, name) is not None or name == "bge"
        ready = condition(live, "Ready").get("status") == "True" and len(fleet.ready()) == 2
        return made and ready and bool(fleet.answered)

    await eventually(mended, what=f"{name} is made again, or isn't needed")
    assert fleet.answered == {new} != {old}


@pytest.mark.parametrize("write", range(1, 15))
async def test_two_fleets_survive_the_operators_death_at_any_write(
    kube: Kube, fleet: Fleet, in_cluster: None, write: int
) -> None:
    async with operator(kube.namespace):
        await kube.create("rerankermodels", model(rollout=blue_green(keep_s=1), adapters=[LEGAL]))
        old = await served(kube)
    fleet.watch_readiness()
    await killed_at(kube, write, edit(kube, source={"uri": "pvc://models/two"}))
    async with operator(kube.namespace):
        new = await served(kube)
        await pods(kube, 2)
    assert fleet.answered == {old, new}
    assert {worker.answers() for worker in fleet.ready()} == {new}
    assert fleet.least_ready == 2
