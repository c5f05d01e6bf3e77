"""Who sets the number of pods: KEDA, Kubernetes' autoscaler, a user's own, a person; and none against another."""

from collections.abc import Iterator

import httpx
import pytest
from kubernetes.client import ApiClient

from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import condition, edit, model, until_event, until_ready, until_reason
from tests.apiserver.operators import MARKS, Running, operator, rested
from tests.apiserver.published import KEDA, KEDA_VERSION, crds, served

pytestmark = MARKS

BOUNDS = {"minReplicas": 1, "maxReplicas": 4}
CRON = {"type": "cron", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 20 * * *"}}


@pytest.fixture
def keda(api: ApiClient) -> Iterator[None]:
    """KEDA's kinds, without KEDA."""
    with served(api, crds(KEDA, KEDA_VERSION, "config/crd/bases/keda.sh_scaledobjects.yaml")):
        yield


async def scale(kube: Kube, replicas: int) -> Json:
    """What `kubectl scale` and autoscalers do."""
    return await kube.patch("rerankermodels", "bge", {"spec": {"replicas": replicas}}, "scale")


async def pods(kube: Kube) -> int:
    deployment = await kube.get("deployments", "bge")
    assert deployment is not None
    found: int = deployment["spec"]["replicas"]
    return found


async def gone(kube: Kube, resource: str, name: str = "bge") -> None:
    async def absent() -> bool:
        return await kube.get(resource, name) is None

    await eventually(absent, what=f"no {resource} {name}")


async def test_an_autoscaler_is_made_changed_put_back_and_removed(kube: Kube, fleet: Fleet, running: Running) -> None:
    created = await kube.create("rerankermodels", model(autoscaling=BOUNDS, resources={"requests": {"cpu": "1"}}))
    await until_ready(kube)
    live = await kube.get("horizontalpodautoscalers", "bge")
    assert live is not None
    [owner] = live["metadata"]["ownerReferences"]
    assert owner["uid"] == created["metadata"]["uid"]
    assert live["spec"]["scaleTargetRef"]["kind"] == "RerankerModel"
    assert live["spec"]["metrics"][0]["containerResource"]["target"]["averageUtilization"] == 70
    await edit(kube, autoscaling={"maxReplicas": 6, "targetLoadPercent": 50})

    async def changed() -> bool:
        live = await kube.get("horizontalpodautoscalers", "bge")
        assert live is not None
        [metric] = live["spec"]["metrics"]
        found: bool = live["spec"]["maxReplicas"] == 6 and metric["containerResource"]["target"] == {
            "type": "Utilization",
            "averageUtilization": 50,
        }
        return found

    await eventually(changed, what="the changed bounds")
    await edit(kube, autoscaling=None)
    await gone(kube, "horizontalpodautoscalers")
    assert condition(await until_ready(kube), "Autoscaling") == {}


async def test_a_model_that_rests_costs_no_write_under_an_autoscaler(
    kube: Kube, fleet: Fleet, running: Running, keda: None
) -> None:
    await kube.create("rerankermodels", model(autoscaling={**BOUNDS, "triggers": [CRON]}))
    await until_reason(kube, "Autoscaling", "ScaledObject")
    await until_ready(kube)
    before = await rested(kube, running)
    assert await rested(kube, running) == before


async def test_without_metrics_the_status_and_an_event_say_what_is_missing(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model(autoscaling=BOUNDS))
    found = await until_reason(kube, "Autoscaling", "MetricsMissing")
    assert found["status"] == "False"
    assert "install KEDA or an adapter for Prometheus" in found["message"]
    live = await kube.get("horizontalpodautoscalers", "bge")
    assert live is not None
    [metric] = live["spec"]["metrics"]
    assert metric["pods"]["target"]["averageValue"] == "700m"
    await until_ready(kube)
    await until_event(kube, "MetricsMissing")


async def test_a_person_s_number_of_pods_stays_and_the_bounds_hold(kube: Kube, fleet: Fleet, running: Running) -> None:
    await kube.create("rerankermodels", model(replicas=1))
    await until_ready(kube)
    assert (await kube.request("GET", kube.path("rerankermodels", "bge") + "/scale"))["status"]["selector"] == (
        "reranker.dev/model=bge,reranker.dev/fleet=blue"
    )
    await scale(kube, 3)
    live = await until_ready(kube)
    assert live["spec"]["replicas"] == live["status"]["readyReplicas"] == await pods(kube) == 3
    await edit(kube, autoscaling={"minReplicas": 2, "maxReplicas": 2})
    await until_ready(kube)
    assert await pods(kube) == 2


async def test_a_user_s_own_autoscaler_sets_the_number_through_the_model(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model(replicas=1))
    await until_ready(kube)
    target = {"apiVersion": "reranker.dev/v1alpha1", "kind": "RerankerModel", "name": "bge"}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    theirs = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "bge"},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": 3,
            "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
    }
    await kube.create("horizontalpodautoscalers", theirs)

    async def lifted() -> bool:
        live = await kube.get("rerankermodels", "bge")
        assert live is not None
        found: bool = live["spec"]["replicas"] == 3
        return found

    # Kubernetes' own controller looks every 15 seconds; its lower bound holds without any metric.
    await eventually(lifted, within_s=60, what="replicas written by the autoscaler")
    await until_ready(kube)
    assert await pods(kube) == 3
    live = await kube.get("horizontalpodautoscalers", "bge")
    assert live is not None
    assert "ownerReferences" not in live["metadata"]
    await edit(kube, autoscaling=BOUNDS)
    assert "belongs to" not in (found := await until_reason(kube, "Autoscaling", "NameConflict"))["message"]
    assert "HorizontalPodAutoscaler bge exists and has no owner" in found["message"]


async def test_keda_s_object_asks_the_workers_themselves(
    kube: Kube, fleet: Fleet, running: Running, keda: None
) -> None:
    await kube.create("rerankermodels", model(autoscaling={"minReplicas": 0, "maxReplicas": 4, "triggers": [CRON]}))
    await until_reason(kube, "Autoscaling", "ScaledObject")
    live, service = await kube.get("scaledobjects", "bge"), await kube.get("services", "bge-internal")
    assert live is not None
    assert service is not None
    assert [trigger["type"] for trigger in live["spec"]["triggers"]] == ["metrics-api", "cron"]
    url = httpx.URL(live["spec"]["triggers"][0]["metadata"]["url"])
    assert url.host == f"{service['metadata']['name']}.{kube.namespace}.svc"
    assert url.port == service["spec"]["ports"][0]["port"] == 8081
    assert service["spec"]["clusterIP"] == "None"
    await edit(kube, autoscaling=None)
    await gone(kube, "scaledobjects")
    await gone(kube, "services", "bge-internal")


async def test_keda_installed_later_takes_over(kube: Kube, fleet: Fleet, in_cluster: None, api: ApiClient) -> None:
    await kube.create("rerankermodels", model(autoscaling=BOUNDS))
    async with operator(kube.namespace):
        await until_reason(kube, "Autoscaling", "MetricsMissing")
    with served(api, crds(KEDA, KEDA_VERSION, "config/crd/bases/keda.sh_scaledobjects.yaml")):
        async with operator(kube.namespace):
            await until_reason(kube, "Autoscaling", "ScaledObject")
            await gone(kube, "horizontalpodautoscalers")
            assert await kube.get("scaledobjects", "bge") is not None
    async with operator(kube.namespace):
        await until_reason(kube, "Autoscaling", "MetricsMissing")
        await gone(kube, "services", "bge-internal")
