"""Swaps in place on a real API server: every pod goes on, and takes the new revision when all have it."""

import asyncio

import pytest

from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import condition, edit, events, manifest, model, until_ready
from tests.apiserver.operators import MARKS, Running, killed_at, operator

pytestmark = MARKS

LEGAL = {"name": "legal", "source": {"uri": "pvc://models/legal"}}
IN_PLACE = {"strategy": "InPlace"}


async def served(kube: Kube) -> str:
    name: str = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    return name


async def test_a_revision_is_swapped_without_a_new_pod_there_and_back(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model(rollout=IN_PLACE, adapters=[LEGAL]))
    old = await served(kube)
    before = set(fleet.workers)
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})
    new = await served(kube)
    assert new != old
    assert {worker.answers() for worker in fleet.workers.values()} == {new}

    async def pruned() -> bool:
        found = await manifest(kube)
        return [m["revision"] for m in found["models"]] == [new] and "candidates" not in found

    await eventually(pruned, what="the old revision leaves the manifest")
    await edit(kube, source={"uri": "pvc://models/one"})
    assert await served(kube) == old
    assert set(fleet.workers) == before
    assert fleet.least_ready == 2


async def test_a_candidate_without_memory_is_rejected_and_nothing_else_happens(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    fleet.fails["pvc://models/two"] = ("OutOfMemory", "9 GiB are needed, 2 GiB are free")
    await kube.create("rerankermodels", model(rollout=IN_PLACE))
    old = await served(kube)
    before = set(fleet.workers)
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})

    async def rejected() -> Json:
        live = await kube.get("rerankermodels", "bge")
        assert live is not None
        whole = len((await manifest(kube))["models"]) == 1
        return live if whole and live["status"]["revisions"].get("rejected") else {}

    live = await eventually(rejected, what="the candidate is rejected")
    assert live["status"]["revisions"]["rejected"][0]["reason"] == "OutOfMemory"
    assert condition(live, "Available")["status"] == "True"
    assert fleet.answered == {old}
    assert set(fleet.workers) == before
    assert fleet.least_ready == 2


async def test_a_node_without_room_turns_the_roll_into_a_swap_in_place(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    fallback = {"onUnschedulable": {"afterSeconds": 1, "action": "InPlace"}}
    fleet.room = 2
    await kube.create("rerankermodels", model(rollout=fallback))
    old = await served(kube)
    before = set(fleet.workers)
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})
    assert await served(kube) != old
    assert set(fleet.workers) == before
    assert fleet.least_ready == 2
    assert "NoRoomForPod" in await events(kube)
    await asyncio.sleep(1)
    assert {pod["metadata"]["name"] for pod in await kube.items("pods")} == before


@pytest.mark.parametrize("write", range(1, 9))
async def test_a_swap_in_place_survives_the_operators_death_at_any_write(
    kube: Kube, fleet: Fleet, in_cluster: None, write: int
) -> None:
    async with operator(kube.namespace):
        await kube.create("rerankermodels", model(rollout=IN_PLACE, adapters=[LEGAL]))
        old = await served(kube)
    before = set(fleet.workers)
    fleet.watch_readiness()
    await killed_at(kube, write, edit(kube, source={"uri": "pvc://models/two"}))
    async with operator(kube.namespace):
        new = await served(kube)
    assert fleet.answered == {old, new}
    assert set(fleet.workers) == before
    assert fleet.least_ready == 2
