"""A model that sleeps, wakes, grows with its load and sleeps again, by the real KEDA and Kubernetes' autoscaler."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from tests.apiserver.fleet import INTERNAL_PORT, Fleet, free_port
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import model, until_ready
from tests.apiserver.operators import MARKS, operator

pytestmark = [*MARKS, pytest.mark.keda]

SERVICE = "bge-internal"


@dataclass
class Demand:
    """Something outside that knows of clients while no worker runs, such as a gateway."""

    port: int
    waiting: int = 0

    async def answer(self, _: web.Request) -> web.Response:
        return web.json_response({"waiting": self.waiting})


@pytest.fixture
async def demand() -> AsyncIterator[Demand]:
    found = Demand(free_port())
    app = web.Application()
    app.router.add_get("/", found.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", found.port).start()
    yield found
    await runner.cleanup()


@contextlib.asynccontextmanager
async def endpoints(kube: Kube, fleet: Fleet) -> AsyncIterator[None]:
    """List the ready workers under the Service, as Kubernetes does; it takes no loopback address but as a name."""
    await kube.create(
        "endpointslices",
        {
            "metadata": {"name": "workers", "labels": {"kubernetes.io/service-name": SERVICE}},
            "addressType": "FQDN",
            "endpoints": [],
            "ports": [{"name": "internal", "port": INTERNAL_PORT, "protocol": "TCP"}],
        },
    )

    async def follow() -> None:
        listed: list[str] | None = None
        while True:
            ready = sorted(worker.ip for worker in fleet.ready())
            if ready != listed:
                found = [{"addresses": [ip], "conditions": {"ready": True}} for ip in ready]
                await kube.patch("endpointslices", "workers", {"endpoints": found})
                listed = ready
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        yield
        following.cancel()


async def until_replicas(kube: Kube, wanted: int) -> None:
    """Wait until an autoscaler has written that number; each of them looks every 10 to 15 seconds."""

    async def written() -> bool:
        live = await kube.get("rerankermodels", "bge")
        assert live is not None
        found: bool = live["spec"]["replicas"] == wanted
        return found

    await eventually(written, within_s=180, what=f"replicas {wanted}")


async def scaled_object(kube: Kube) -> dict[str, Json]:
    """What KEDA says of its object, by type."""
    live = await kube.get("scaledobjects", "bge") or {}
    return {each["type"]: each for each in live.get("status", {}).get("conditions", ())}


async def test_a_model_wakes_grows_and_sleeps_with_what_is_asked_of_it(
    kube: Kube, fleet: Fleet, simulated_port: None, keda_runs: None, demand: Demand
) -> None:
    wakes = {
        "url": f"http://127.0.0.1:{demand.port}/",
        "valueLocation": "waiting",
        "targetValue": "1000",
        "activationTargetValue": "0",
    }
    bounds = {
        "minReplicas": 0,
        "maxReplicas": 3,
        "idleSeconds": 5,
        "triggers": [{"type": "metrics-api", "metadata": wakes}],
    }
    async with operator(kube.namespace), endpoints(kube, fleet):
        await kube.create("rerankermodels", model(replicas=0, autoscaling=bounds))

        async def taken() -> bool:
            return "Ready" in await scaled_object(kube)

        await eventually(taken, within_s=60, what="KEDA has taken the ScaledObject")
        assert not fleet.workers

        demand.waiting = 1
        await until_replicas(kube, 1)
        await until_ready(kube)

        async def ready() -> bool:
            status: str = (await scaled_object(kube))["Ready"]["status"]
            return status == "True"

        await eventually(ready, within_s=60, what="the ScaledObject is Ready")

        fleet.watch_readiness()
        fleet.load.ratio = 1.9  # 1.9 by a target of 0.7: three pods
        await until_replicas(kube, 3)
        await until_ready(kube, within_s=60)
        assert len(fleet.ready()) == 3
        assert fleet.least_ready is not None
        assert fleet.least_ready >= 1

        fleet.load.ratio, demand.waiting = 0.0, 0
        await until_replicas(kube, 0)
        live = await until_ready(kube, within_s=60)
        assert live["status"]["replicas"] == 0

        async def empty() -> bool:
            return not fleet.workers

        await eventually(empty, what="no pod is left")
