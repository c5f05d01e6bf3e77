"""Pipelines on a real API server: each state of a model as Argo CD and Flux see it, and nothing that drifts."""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from hack.check import chart
from hack.cluster import golang
from hack.gitops.verdicts import health_checks, verdicts
from hack.repository import ROOT
from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import condition, edit, model, until_ready
from tests.apiserver.operators import MARKS, operator
from tests.gitops.states import EXPECTED, seen

pytestmark = MARKS

RECORDED = ROOT / "tests/gitops/recorded"
ARGOCD_CM = ROOT / "examples/gitops/argocd/argocd-cm.yaml"

#: The field managers of Argo CD and of Flux's kustomize-controller.
PIPELINES = ("argocd-controller", "kustomize-controller")


class Watcher:
    """Looks at the model in each state, and keeps what it saw where RECORD=1 asks for new recordings."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._states: dict[str, Json] = {}

    async def note(self, state: str) -> None:
        live = await self._kube.get("rerankermodels", "bge")
        assert live is not None
        self._states[state] = live

    def verdicts(self) -> dict[str, tuple[str, str]]:
        if os.environ.get("RECORD"):
            for state, live in self._states.items():
                metadata = {name: value for name, value in live["metadata"].items() if name != "managedFields"}
                text = json.dumps({**live, "metadata": metadata}, indent=2)
                (RECORDED / f"{state}.json").write_text(f"{text}\n")
        checks = health_checks(yaml.safe_load(ARGOCD_CM.read_text()))
        found = verdicts(checks, [(live, None) for live in self._states.values()])
        return {state: seen(verdict) for state, verdict in zip(self._states, found, strict=True)}


async def until(kube: Kube, kind: str) -> None:
    """Wait for a condition of the model's present generation."""

    async def holds() -> bool:
        live = await kube.get("rerankermodels", "bge")
        assert live is not None
        found = condition(live, kind)
        return bool(found) and found["observedGeneration"] == live["metadata"]["generation"]

    await eventually(holds, what=kind)


async def test_argo_cd_and_kstatus_tell_every_state_of_a_model(kube: Kube, fleet: Fleet, in_cluster: None) -> None:
    watcher = Watcher(kube)
    await kube.create("rerankermodels", {**model(), "metadata": {"name": "bge", "finalizers": ["reranker.dev/test"]}})
    await watcher.note("new")
    fleet.load_s = 2
    fleet.fails["pvc://models/broken"] = ("PickledWeights", "model.bin is a pickle: convert it to safetensors")
    fleet.fails["pvc://models/alien"] = ("AdapterBaseMismatch", "made for another base model")
    async with operator(kube.namespace):
        await until(kube, "Reconciling")
        await watcher.note("loading")
        await until_ready(kube)
        await watcher.note("ready")
        await edit(kube, source={"uri": "pvc://models/two"})
        await until(kube, "Reconciling")
        await watcher.note("rolling")
        await until_ready(kube)
        await edit(kube, source={"uri": "pvc://models/broken"})
        await until(kube, "Stalled")
        await watcher.note("rejected")
        await edit(kube, source={"uri": "pvc://models/two"})
        await until_ready(kube)
        await edit(kube, adapters=[{"name": "legal", "source": {"uri": "pvc://models/alien"}}])
        await until(kube, "Stalled")
        await watcher.note("bad-adapter")
        await edit(kube, adapters=[], replicas=0)
        await until_ready(kube)
        await watcher.note("scaled-to-zero")
    await edit(kube, replicas=2)
    await watcher.note("edited")
    await kube.delete("rerankermodels", "bge")
    await watcher.note("deleted")
    await kube.patch("rerankermodels", "bge", {"metadata": {"finalizers": None}})
    assert watcher.verdicts() == EXPECTED


async def applied(kube: Kube, manifest: Json, manager: str, *, dry_run: bool = False) -> Json:
    """Apply a model as a pipeline does, by server-side apply."""
    path = kube.path("rerankermodels", manifest["metadata"]["name"])
    query = f"?fieldManager={manager}&force=true" + ("&dryRun=All" if dry_run else "")
    return await kube.request("PATCH", path + query, body=manifest, content_type="application/apply-patch+yaml")


def example(name: str) -> Json:
    """The example model, in the test's namespace and from a claim: nothing is downloaded here."""
    manifest: Json = yaml.safe_load((ROOT / "examples/gitops/models/bge-v2-m3.yaml").read_text())
    del manifest["metadata"]["namespace"]
    manifest["metadata"]["name"] = name
    del manifest["spec"]["rollout"]
    return manifest


@pytest.mark.parametrize("manager", PIPELINES)
async def test_applying_the_same_model_again_changes_nothing_and_nothing_differs_from_it(
    kube: Kube, fleet: Fleet, in_cluster: None, manager: str
) -> None:
    manifest = example("bge")
    first = await applied(kube, manifest, manager)
    async with operator(kube.namespace):
        live = await until_ready(kube)
        again = await applied(kube, manifest, manager)
        assert again == live
        assert await applied(kube, manifest, manager, dry_run=True) == live
    assert live["metadata"]["generation"] == first["metadata"]["generation"] == 1
    (verdict,) = verdicts({}, [(live, manifest)])
    assert not verdict.out_of_sync
    changed = {**manifest, "spec": {**manifest["spec"], "replicas": 3}}
    (verdict,) = verdicts({}, [(live, changed)])
    assert verdict.out_of_sync


async def test_a_pipeline_that_leaves_the_replicas_out_leaves_them_to_whoever_scales(
    kube: Kube, fleet: Fleet, in_cluster: None
) -> None:
    manifest = example("bge")
    del manifest["spec"]["replicas"]
    await applied(kube, manifest, PIPELINES[0])
    async with operator(kube.namespace):
        await until_ready(kube)
        await kube.request(
            "PATCH",
            kube.path("rerankermodels", "bge") + "/scale",
            body={"spec": {"replicas": 3}},
            content_type="application/merge-patch+json",
        )
        assert (await until_ready(kube))["status"]["readyReplicas"] == 3
        again = await applied(kube, manifest, PIPELINES[0])
    assert again["spec"]["replicas"] == 3


@pytest.fixture
async def chart_objects(kube: Kube) -> AsyncIterator[str]:
    """The chart's objects as a pipeline renders them for the namespace; the cluster's own go afterwards."""
    values = ("--set", f"fullnameOverride={kube.namespace}", "--set", "crds.install=false")
    text = chart.rendered(*values, "--values", str(chart.CHART / "values-eks.yaml"), namespace=kube.namespace)
    objects = [each for each in yaml.safe_load_all(text) if each]
    # A hook is for Helm alone.
    yield yaml.safe_dump_all([each for each in objects if "annotations" not in each["metadata"]])
    for plural in ("clusterroles", "clusterrolebindings"):
        await kube.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{plural}/{kube.namespace}")


@pytest.mark.parametrize("manager", PIPELINES)
async def test_the_chart_s_own_objects_do_not_drift(
    kube: Kube, kubeconfig: Path, chart_objects: str, manager: str
) -> None:
    def kubectl(verb: str, objects: str) -> str:
        arguments = [f"--kubeconfig={kubeconfig}", "--server-side", f"--field-manager={manager}", "--filename=-"]
        program = golang.build(golang.KUBECTL)
        done = subprocess.run([program, verb, *arguments], input=objects, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout

    async def deployment() -> Json:
        (only,) = await kube.items("deployments")
        return only

    async def controlled() -> bool:
        live = await deployment()
        return bool(live.get("status", {}).get("observedGeneration") == live["metadata"]["generation"])

    kubectl("apply", chart_objects)
    await eventually(controlled, what="the Deployment's controller has written its status")
    before = (await deployment())["spec"]
    assert kubectl("diff", chart_objects) == ""
    kubectl("apply", chart_objects)
    assert (await deployment())["metadata"]["generation"] == 1
    assert (await deployment())["spec"] == before
    assert "replicas: 3" in kubectl("diff", chart_objects.replace("replicas: 2", "replicas: 3"))
