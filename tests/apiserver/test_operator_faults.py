"""The operator is killed at every write of a roll, and the API server goes away: it converges and nobody is hurt."""

import asyncio
import time
from pathlib import Path

import pytest

from hack import cluster
from reranker_operator import api
from reranker_operator.api import Api
from reranker_operator.cluster import Cluster
from reranker_operator.decisions.plan import plan
from reranker_operator.decisions.target import target
from reranker_operator.errors import Conflict
from reranker_operator.judge import Judge
from reranker_operator.metrics import Metrics
from reranker_operator.reconcile import Reconciler
from reranker_operator.settings import Settings
from reranker_operator.worker_client import WorkerClient
from reranker_operator.world.names import Key
from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Kube, eventually
from tests.apiserver.models import edit, manifest, model, until_ready
from tests.apiserver.operators import MARKS, killed_at, operator

pytestmark = MARKS

LEGAL = {"name": "legal", "source": {"uri": "pvc://models/legal"}}


@pytest.mark.parametrize("write", range(1, 13))
async def test_a_roll_survives_the_operators_death_at_any_write(
    kube: Kube, fleet: Fleet, in_cluster: None, write: int
) -> None:
    async with operator(kube.namespace):
        await kube.create("rerankermodels", model(adapters=[LEGAL]))
        old = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    fleet.watch_readiness()
    await killed_at(kube, write, edit(kube, source={"uri": "pvc://models/two"}))
    async with operator(kube.namespace):
        live = await until_ready(kube)
    new = live["status"]["revisions"]["serving"]["name"]
    assert fleet.least_ready == 2
    assert fleet.answered == {old, new}
    assert {worker.answers() for worker in fleet.workers.values()} == {new}
    assert (await manifest(kube))["adapters"][0]["required"]


async def test_an_operator_with_old_news_loses(kube: Kube, fleet: Fleet, in_cluster: None) -> None:
    key = Key(kube.namespace, "bge")
    connection = Api(await api.configuration(), Metrics())
    stale = Cluster(connection, "stale")
    settings = Settings(worker_image="worker:1")
    async with operator(kube.namespace):
        await kube.create("rerankermodels", model(adapters=[LEGAL]))
        await until_ready(kube)
        old = await stale.observe(key)
        assert old is not None
        await edit(kube, adapters=[])
        await until_ready(kube)
        written = await manifest(kube)
        with pytest.raises(Conflict):
            await stale.execute(key, plan(old, target(old, Settings(worker_image="worker:2"))))
        with pytest.raises(Conflict):
            await stale.write_status(key, old.model.resource_version, {"replicas": 9})
        assert await manifest(kube) == written
    workers = WorkerClient()
    judge = Judge(stale, workers, time.monotonic, lambda _: None)
    reconciler = Reconciler(
        stale,
        workers,
        judge,
        settings,
        clock=time.monotonic,
        on_status=lambda *_: None,
        on_adapters=lambda *_: None,
    )
    await reconciler.reconcile(key)
    await workers.close()
    await connection.close()


async def test_models_are_found_when_the_crd_comes_later(kube: Kube, fleet: Fleet, in_cluster: None) -> None:
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    name = "rerankermodels.reranker.dev"
    definition = await kube.request("GET", f"{crd}/{name}")
    await kube.request("DELETE", f"{crd}/{name}")

    async def gone() -> bool:
        return not [d for d in (await kube.request("GET", crd))["items"] if d["metadata"]["name"] == name]

    await eventually(gone)
    async with operator(kube.namespace, resync_seconds=300):
        await asyncio.sleep(1)
        metadata = {"name": name, "annotations": definition["metadata"].get("annotations", {})}
        await kube.request("POST", crd, body={**definition, "metadata": metadata, "status": None})

        async def served() -> bool:
            return bool((await kube.request("GET", f"{crd}/{name}"))["status"].get("acceptedNames", {}).get("plural"))

        await eventually(served)
        await asyncio.sleep(1)
        await kube.create("rerankermodels", model())
        await until_ready(kube, within_s=20)


async def test_the_operator_outlives_the_api_server_and_goes_on_within_fifteen_seconds(
    kube: Kube, fleet: Fleet, kubeconfig: Path, in_cluster: None
) -> None:
    plane = cluster.existing(kubeconfig.parent.name)
    assert plane is not None
    async with operator(kube.namespace, resync_seconds=300):
        await kube.create("rerankermodels", model())
        await until_ready(kube)
        await asyncio.to_thread(cluster.stop, plane, "kube-apiserver")
        await asyncio.sleep(8)
        await asyncio.to_thread(cluster.start, plane, "kube-apiserver")
        began = time.monotonic()
        await edit(kube, adapters=[LEGAL])
        live = await until_ready(kube, within_s=15)
        assert live["status"]["adaptersReady"] == "1/1"
        assert time.monotonic() - began < 15
    assert len(fleet.ready()) == 2
    # The controllers wait up to minutes after such an outage; the next test shouldn't.
    await asyncio.to_thread(cluster.stop, plane, "kube-controller-manager")
    await asyncio.to_thread(cluster.start, plane, "kube-controller-manager")


@pytest.mark.parametrize("write", range(1, 6))
async def test_an_adapters_edit_survives_the_operators_death_at_any_write(
    kube: Kube, fleet: Fleet, in_cluster: None, write: int
) -> None:
    async with operator(kube.namespace):
        await kube.create("rerankermodels", model(adapters=[LEGAL]))
        await until_ready(kube)
    pods = set(fleet.workers)
    fleet.watch_readiness()
    await killed_at(kube, write, edit(kube, adapters=[{"name": "legal", "source": {"uri": "pvc://models/legal-two"}}]))
    async with operator(kube.namespace):
        await until_ready(kube)
    (adapter,) = (await manifest(kube))["adapters"]
    assert (adapter["source"]["uri"], adapter["required"]) == ("pvc://models/legal-two", True)
    assert set(fleet.workers) == pods
    assert fleet.least_ready == 2
