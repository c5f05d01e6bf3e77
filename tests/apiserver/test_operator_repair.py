"""What the operator does about other hands: edits and deletions of its objects, foreign objects, and none at all."""

import asyncio
import time
from typing import Any

import pytest

from reranker_operator.reconcile import COALESCE_S
from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import condition, edit, manifest, model, until_ready
from tests.apiserver.operators import MARKS, Running, operator, rested

pytestmark = MARKS

CHILDREN = {
    "Deployment": ("deployments", "bge"),
    "Service": ("services", "bge"),
    "serving manifest": ("configmaps", "bge-serving"),
    "PodDisruptionBudget": ("poddisruptionbudgets", "bge"),
}

EDITS: dict[str, tuple[str, Json]] = {
    "replicas": ("Deployment", {"spec": {"replicas": 7}}),
    "strategy": ("Deployment", {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "50%"}}}}),
    "image": ("Deployment", {"spec": {"template": {"spec": {"containers": [{"name": "server", "image": "evil:1"}]}}}}),
    "label": ("Deployment", {"metadata": {"labels": {"reranker.dev/model": None}}}),
    "managed-by label": ("Deployment", {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}),
    "hash of what was applied": ("Deployment", {"metadata": {"annotations": {"reranker.dev/applied": None}}}),
    "selector": ("Service", {"spec": {"selector": {"reranker.dev/model": "other"}}}),
    "port": ("Service", {"spec": {"ports": [{"name": "http", "port": 9090, "targetPort": "http"}]}}),
    "manifest's text": ("serving manifest", {"data": {"manifest.json": "{}"}}),
    "budget": ("PodDisruptionBudget", {"spec": {"maxUnavailable": 0}}),
}


@pytest.mark.parametrize(("child", "change"), EDITS.values(), ids=EDITS.keys())
async def test_an_edited_field_is_put_back_within_two_seconds(
    kube: Kube, fleet: Fleet, running: Running, child: str, change: Json
) -> None:
    resource, name = CHILDREN[child]
    await kube.create("rerankermodels", model(replicas=1))
    await until_ready(kube)
    before = await kube.get(resource, name)
    await kube.patch(resource, name, change)

    async def repaired() -> bool:
        return bool(_owned(await kube.get(resource, name)) == _owned(before))

    await eventually(repaired, within_s=2, what=f"{child} as it was")


def _owned(live: Json | None) -> Any:
    """What the operator writes of an object, without what the API server and controllers add."""
    assert live is not None
    annotations = live["metadata"].get("annotations") or {}
    return (
        live.get("spec"),
        live.get("data"),
        live["metadata"]["labels"],
        {key: value for key, value in annotations.items() if key.startswith("reranker.dev/")},
    )


@pytest.mark.parametrize("child", CHILDREN)
async def test_a_deleted_child_is_made_again_within_two_seconds(
    kube: Kube, fleet: Fleet, running: Running, child: str
) -> None:
    resource, name = CHILDREN[child]
    await kube.create("rerankermodels", model(replicas=1))
    await until_ready(kube)
    before = await kube.get(resource, name)
    assert before is not None
    await kube.delete(resource, name)

    async def again() -> bool:
        live = await kube.get(resource, name)
        return live is not None and live["metadata"]["uid"] != before["metadata"]["uid"]

    await eventually(again, within_s=2, what=f"another {child}")
    await until_ready(kube)


async def test_a_manifest_deleted_during_a_roll_keeps_the_old_revision_serving(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model())
    old = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    fleet.watch_readiness()
    fleet.load_s = 2
    await edit(kube, source={"uri": "pvc://models/two"})

    async def rolling() -> bool:
        return len((await manifest(kube))["models"]) == 2 and len(fleet.workers) == 3

    await eventually(rolling, what="a pod of the new revision")
    told = (await manifest(kube))["generation"]
    await kube.delete("configmaps", "bge-serving")

    async def rewritten() -> bool:
        live = await kube.get("configmaps", "bge-serving")
        return live is not None

    await eventually(rewritten, within_s=2)
    found = await manifest(kube)
    assert {m["revision"] for m in found["models"]} > {old}
    assert found["generation"] >= told
    await until_ready(kube)
    assert fleet.least_ready == 2


async def test_a_foreign_object_of_a_childs_name_is_not_touched_and_is_named_in_the_status(
    kube: Kube, running: Running
) -> None:
    service = {"metadata": {"name": "bge"}, "spec": {"ports": [{"port": 80}]}}
    before = await kube.create("services", service)
    await kube.create("rerankermodels", model())

    async def stalled() -> Json:
        return condition(await kube.get("rerankermodels", "bge"), "Stalled")

    found = await eventually(stalled, what="Stalled")
    assert found["reason"] == "NameConflict"
    assert "Service bge" in found["message"]
    assert await kube.get("services", "bge") == before
    assert await kube.get("deployments", "bge") is None
    await kube.delete("services", "bge")

    async def made() -> bool:
        return await kube.get("deployments", "bge") is not None

    await eventually(made, within_s=10, what="the Deployment, once the name is free")


async def test_an_idle_fleet_costs_no_write(kube: Kube, fleet: Fleet, in_cluster: None) -> None:
    async with operator(kube.namespace, resync_seconds=1) as running:
        adapters = [{"name": "legal", "source": {"uri": "pvc://models/legal"}}]
        resources = {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.5"}}
        await kube.create("rerankermodels", model(adapters=adapters, resources=resources))
        await until_ready(kube)
        writes, reads = await rested(kube, running), running.requests("GET")
        await asyncio.sleep(5)
        assert running.writes() == writes
        assert running.requests("GET") != reads, "no resync took place"


async def test_a_restarted_operator_finds_nothing_to_write(kube: Kube, fleet: Fleet, in_cluster: None) -> None:
    async with operator(kube.namespace) as first:
        await kube.create("rerankermodels", model())
        await until_ready(kube)
        await rested(kube, first)
    async with operator(kube.namespace) as second:
        assert await rested(kube, second) == 0


async def test_edits_in_quick_succession_are_sent_as_the_first_and_the_last(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model())
    await until_ready(kube)
    await asyncio.sleep(1.5)
    first = (await manifest(kube))["generation"]
    began = time.monotonic()
    for number in range(10):
        await edit(kube, rollout={"drainSeconds": 40 + number})
    windows = 1 + int((time.monotonic() - began) / COALESCE_S)

    async def drain(seconds: int) -> bool:
        return bool((await manifest(kube))["drainSeconds"] == seconds)

    await eventually(lambda: drain(49))
    assert (await manifest(kube))["generation"] <= first + 1 + windows


async def test_everything_goes_with_the_model_while_the_operator_is_down(
    kube: Kube, fleet: Fleet, in_cluster: None
) -> None:
    async with operator(kube.namespace):
        await kube.create("rerankermodels", model())
        await until_ready(kube)
    await kube.delete("rerankermodels", "bge")

    async def gone() -> bool:
        left = [await kube.get(resource, name) for resource, name in CHILDREN.values()]
        return not any(left) and not await kube.items("pods")

    await eventually(gone, what="no child and no pod")


async def test_a_model_made_again_under_its_name_takes_over_after_its_predecessor_is_gone(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model())
    first = await until_ready(kube)
    await kube.delete("rerankermodels", "bge")
    await kube.create("rerankermodels", model())
    second = await until_ready(kube)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    for resource, name in CHILDREN.values():
        child = await kube.get(resource, name)
        assert child is not None
        assert child["metadata"]["ownerReferences"][0]["uid"] == second["metadata"]["uid"]
