"""A model's whole life against a real API server: children, adapters, swaps, repair, deletion."""

import pytest

from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import condition, edit, events, manifest, model, until_ready
from tests.apiserver.operators import MARKS, Running

pytestmark = MARKS


async def test_a_model_becomes_ready_with_all_its_children(kube: Kube, fleet: Fleet, running: Running) -> None:
    await kube.create("rerankermodels", model())
    live = await until_ready(kube)
    status = live["status"]
    assert status["readyReplicas"] == status["replicas"] == 2
    assert status["endpoint"] == f"http://bge.{kube.namespace}.svc:8080"
    assert set(status["revisions"]) == {"serving"}
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "Ready": "True",
        "Available": "True",
        "AdaptersReady": "True",
    }
    for resource, name in (
        ("deployments", "bge"),
        ("services", "bge"),
        ("configmaps", "bge-serving"),
        ("poddisruptionbudgets", "bge"),
    ):
        child = await kube.get(resource, name)
        assert child is not None
        assert child["metadata"]["ownerReferences"][0]["uid"] == live["metadata"]["uid"]
    assert not live["metadata"].get("finalizers")
    assert not live["metadata"].get("annotations")


async def test_an_adapter_is_loaded_on_every_pod_and_restarts_none(kube: Kube, fleet: Fleet, running: Running) -> None:
    await kube.create("rerankermodels", model())
    await until_ready(kube)
    before = set(fleet.workers)
    await edit(kube, adapters=[{"name": "legal", "source": {"uri": "pvc://models/legal"}}])
    live = await until_ready(kube)
    assert set(fleet.workers) == before
    assert live["status"]["adaptersReady"] == "1/1"
    assert all(worker.state()["adapters"][0]["phase"] == "Loaded" for worker in fleet.workers.values())
    assert [a["required"] for a in (await manifest(kube))["adapters"]] == [True]
    await edit(kube, adapters=[])
    live = await until_ready(kube)
    assert (await manifest(kube))["adapters"] == []
    assert set(fleet.workers) == before
    await eventually(lambda: _has(kube, {"AdapterReady", "AdapterRemoved"}), what="Events about the adapter")


async def _has(kube: Kube, reasons: set[str]) -> bool:
    return reasons <= await events(kube)


async def test_a_bad_adapter_stalls_the_model_and_leaves_the_good_revision_of_it_serving(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    fleet.fails["pvc://models/bad"] = ("AdapterBaseMismatch", "made for another base model")
    await kube.create("rerankermodels", model(adapters=[{"name": "legal", "source": {"uri": "pvc://models/legal"}}]))
    good = (await until_ready(kube))["status"]["adapters"][0]["revision"]
    await edit(kube, adapters=[{"name": "legal", "source": {"uri": "pvc://models/bad"}}])

    async def stalled() -> Json:
        return condition(await kube.get("rerankermodels", "bge"), "Stalled")

    found = await eventually(stalled, what="Stalled")
    assert found["reason"] == "AdapterBaseMismatch"
    assert "made for another base model" in found["message"]
    live = await kube.get("rerankermodels", "bge")
    assert condition(live, "Available")["status"] == "True"
    assert condition(live, "AdaptersReady")["reason"] == "AdapterBaseMismatch"
    kept = [(a["revision"], a["required"]) for a in (await manifest(kube))["adapters"]]
    assert kept[1] == (good, True)
    assert len(fleet.ready()) == 2
    await edit(kube, adapters=[{"name": "legal", "source": {"uri": "pvc://models/legal"}}])
    live = await until_ready(kube)
    assert live["status"]["adapters"][0]["revision"] == good


async def test_a_new_revision_rolls_without_fewer_ready_pods_and_old_names_leave_the_manifest(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model())
    old = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})
    live = await until_ready(kube)
    new = live["status"]["revisions"]["serving"]["name"]
    assert new != old
    assert fleet.least_ready == 2
    assert {worker.answers() for worker in fleet.workers.values()} == {new}

    async def pruned() -> bool:
        found = await manifest(kube)
        return [m["revision"] for m in found["models"]] == found["admitted"] == [new] and len(found["serve"]) == 1

    await eventually(pruned, what="the old revision leaves the manifest")
    wanted = {"RolloutStarted", "RevisionAdmitted", "RolloutFinished"}
    await eventually(lambda: _has(kube, wanted), what="Events about the roll")


async def test_a_model_that_cannot_be_loaded_never_answers_and_the_old_one_goes_on(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    fleet.fails["pvc://models/broken"] = ("PickledWeights", "model.bin is a pickle: convert it to safetensors")
    await kube.create("rerankermodels", model())
    old = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/broken"})

    async def stalled() -> Json:
        return condition(await kube.get("rerankermodels", "bge"), "Stalled")

    found = await eventually(stalled, what="Stalled")
    assert found["reason"] == "PickledWeights"
    assert "convert it to safetensors" in found["message"]
    live = await kube.get("rerankermodels", "bge")
    assert live is not None
    assert condition(live, "Ready")["status"] == "False"
    assert condition(live, "Available")["status"] == "True"
    assert condition(live, "Reconciling") == {}
    assert live["status"]["revisions"]["rejected"][0]["reason"] == "PickledWeights"
    assert fleet.answered == {old}

    async def back() -> bool:
        served = {own["revision"] for w in fleet.workers.values() if (own := w.own())}
        return served == {old} and len((await manifest(kube))["models"]) == 1

    await eventually(back, what="the broken revision's pod is gone")
    await edit(kube, source={"uri": "pvc://models/one"})
    live = await until_ready(kube)
    assert live["status"]["revisions"]["serving"]["name"] == old
    assert "candidate" not in live["status"]["revisions"]
    assert fleet.least_ready == 2


async def test_a_revision_that_is_overtaken_before_it_was_admitted_never_answers(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model())
    old = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    fleet.load_s = 3
    await edit(kube, source={"uri": "pvc://models/two"})

    async def middle() -> str | None:
        served = {own["revision"] for w in fleet.workers.values() if (own := w.own())}
        return next(iter(served - {old}), None)

    overtaken = await eventually(middle, what="a pod of the middle revision")
    fleet.load_s = 0.3
    await edit(kube, source={"uri": "pvc://models/three"})
    live = await until_ready(kube)
    assert live["status"]["revisions"]["serving"]["name"] != overtaken
    assert overtaken not in fleet.answered
    assert len(fleet.answered) == 2


async def test_replicas_change_without_a_new_template_down_to_none_and_back(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model())
    before = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    templates = {worker.template for worker in fleet.workers.values()}
    await edit(kube, replicas=0)
    live = await until_ready(kube)
    assert condition(live, "Ready")["reason"] == condition(live, "Available")["reason"] == "ScaledToZero"
    await edit(kube, replicas=3)
    live = await until_ready(kube)
    assert live["status"]["readyReplicas"] == 3
    assert live["status"]["revisions"]["serving"]["name"] == before
    assert {worker.template for worker in fleet.workers.values()} == templates


async def test_another_image_or_placement_rolls_the_pods_and_keeps_the_revision(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model())
    before = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    pods = set(fleet.workers)
    fleet.watch_readiness()
    await edit(kube, nodeSelector={"pool": "gpu"})
    live = await until_ready(kube)
    assert not pods & set(fleet.workers)
    assert live["status"]["revisions"]["serving"]["name"] == before
    assert fleet.least_ready == 2
    await edit(kube, nodeSelector=None)
    await until_ready(kube)
    deployment = await kube.get("deployments", "bge")
    assert deployment is not None
    assert "nodeSelector" not in deployment["spec"]["template"]["spec"]


async def test_revisions_are_kept_up_to_the_limit_and_put_back_when_deleted(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model(replicas=1, revisionHistoryLimit=1))
    served = []
    for folder in ("one", "two", "three"):
        await edit(kube, source={"uri": f"pvc://models/{folder}"})
        served.append((await until_ready(kube))["status"]["revisions"]["serving"]["name"])

    async def kept() -> dict[str, str]:
        return {r["metadata"]["name"]: r["data"]["source"]["uri"] for r in await kube.items("controllerrevisions")}

    wanted = {served[1]: "pvc://models/two", served[2]: "pvc://models/three"}

    async def settled() -> bool:
        return await kept() == wanted

    await eventually(settled, what="the wanted revision and one before it")
    await kube.delete("controllerrevisions", served[2])
    await eventually(settled, within_s=3, what="the deleted one again")


@pytest.mark.parametrize("strategy", ["RollingUpdate", "InPlace", "BlueGreen"])
async def test_a_model_that_is_deleted_in_the_middle_of_a_swap_leaves_nothing(
    kube: Kube, fleet: Fleet, running: Running, strategy: str
) -> None:
    await kube.create("rerankermodels", model(rollout={"strategy": strategy}))
    await until_ready(kube)
    fleet.load_s = 60
    await edit(kube, source={"uri": "pvc://models/two"})

    async def swapping() -> bool:
        return len((await manifest(kube))["models"]) == 2

    await eventually(swapping, what="the next revision is on its way")
    await kube.delete("rerankermodels", "bge")

    async def gone() -> bool:
        owned = ("deployments", "replicasets", "services", "poddisruptionbudgets", "controllerrevisions", "pods")
        left = [live["metadata"]["name"] for kind in owned for live in await kube.items(kind)]
        configs = [live["metadata"]["name"] for live in await kube.items("configmaps")]
        return not left and "bge-serving" not in configs

    await eventually(gone, within_s=60, what="nothing owned is left")
