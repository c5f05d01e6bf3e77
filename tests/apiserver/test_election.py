"""Several operators, one Lease, a real API server: one acts, and another goes on when it leaves, dies or hangs."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from reranker_operator.api import Api
from reranker_operator.metrics import Metrics
from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import edit, model, until_ready
from tests.apiserver.operators import MARKS, DyingApi, Running, operator

pytestmark = MARKS

#: For operators that are to lose their Lease; the others keep one that a busy machine doesn't make them lose.
SHORT_S, LONG_S = 3, 30


def shared(kube: Kube, lease_s: int) -> dict[str, Any]:
    """Settings of operators that share a Lease."""
    return {"lease": f"{kube.namespace}/reranker-operator", "lease_seconds": lease_s}


@asynccontextmanager
async def candidate(
    kube: Kube, name: str, lease_s: int = LONG_S, connect: Callable[[Any, Metrics], Api] = Api
) -> AsyncIterator[Running]:
    """An operator that calls itself `name`, as a pod does by its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POD_NAME", name)
        async with operator(kube.namespace, connect, **shared(kube, lease_s)) as running:
            yield running


def lease_path(kube: Kube) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{kube.namespace}/leases/reranker-operator"


async def the_lease(kube: Kube) -> Json:
    found: Json = (await kube.request("GET", lease_path(kube)))["spec"]
    return found


def leads(operator: Running) -> bool:
    return operator.metrics.registry.get_sample_value("reranker_operator_leading") == 1


def worked(operator: Running) -> dict[str, float]:
    """Its requests that have nothing to do with the Lease."""
    return {what: count for what, count in operator.requests().items() if "leases" not in what}


async def until_it_leads(operator: Running) -> None:
    async def leading() -> bool:
        return leads(operator)

    await eventually(leading, what="the operator leads")


async def test_one_of_two_acts_and_the_other_goes_on_at_once_when_it_leaves(
    kube: Kube, fleet: Fleet, in_cluster: None
) -> None:
    async with AsyncExitStack() as second_s, AsyncExitStack() as first_s:
        first = await first_s.enter_async_context(candidate(kube, "first"))
        await until_it_leads(first)
        second = await second_s.enter_async_context(candidate(kube, "second"))
        await kube.create("rerankermodels", model())
        await until_ready(kube)
        assert worked(second) == {}
        assert not leads(second)
        await first_s.aclose()
        await edit(kube, replicas=3)
        assert (await until_ready(kube))["status"]["readyReplicas"] == 3
        assert leads(second)
        lease = await the_lease(kube)
        assert lease["holderIdentity"].startswith("second-")
        assert lease["leaseTransitions"] == 1
    assert (await the_lease(kube))["holderIdentity"] == ""


async def test_a_holder_that_gets_no_answers_stops_before_another_begins(
    kube: Kube, fleet: Fleet, in_cluster: None
) -> None:
    hung: list[DyingApi] = []

    def hanging(config: Any, metrics: Metrics) -> Api:
        # Creating the Lease is its first write; its fourth is never answered, and none after it.
        hung.append(DyingApi(config, metrics, dies_at=4))
        return hung[0]

    async with candidate(kube, "first", SHORT_S, hanging) as first:
        await until_it_leads(first)
        async with candidate(kube, "second", SHORT_S) as second:
            led = [(True, False)]
            while led[-1] != (False, True):
                if (now := (leads(first), leads(second))) != led[-1]:
                    led.append(now)
                await asyncio.sleep(0.01)
            assert led == [(True, False), (False, False), (False, True)]
            await kube.create("rerankermodels", model())
            await until_ready(kube)
    assert hung[0].dead.is_set()


async def test_a_holder_goes_on_when_somebody_writes_into_its_lease(kube: Kube, in_cluster: None) -> None:
    async with candidate(kube, "only", SHORT_S) as running:
        await until_it_leads(running)
        before = await the_lease(kube)
        note = {"metadata": {"annotations": {"note": "looked at"}}}
        written = await kube.request("PATCH", lease_path(kube), body=note, content_type="application/merge-patch+json")

        async def renewed() -> bool:
            earlier = max(before["renewTime"], written["spec"]["renewTime"])
            return bool((await the_lease(kube))["renewTime"] > earlier)

        await eventually(renewed, what="the Lease is renewed after that")
        after = await the_lease(kube)
        kept = ("holderIdentity", "acquireTime", "leaseTransitions")
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


async def test_a_lease_that_was_deleted_is_made_again(kube: Kube, fleet: Fleet, in_cluster: None) -> None:
    async with candidate(kube, "only") as running:
        await until_it_leads(running)
        path = lease_path(kube)
        first = (await kube.request("GET", path))["metadata"]["uid"]
        await kube.request("DELETE", path)

        async def another() -> bool:
            leases = await kube.request("GET", path.removesuffix("/reranker-operator"))
            return any(lease["metadata"]["uid"] != first for lease in leases["items"])

        await eventually(another, what="a new Lease")
        await kube.create("rerankermodels", model())
        await until_ready(kube)


@contextmanager
def process(kube: Kube, kubeconfig: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """The operator as a process of its own, which can be killed."""
    variables = {"KUBECONFIG": str(kubeconfig), "POD_NAME": name}
    flags = [f"--{flag.replace('_', '-')}={value}" for flag, value in shared(kube, SHORT_S).items()]
    command = [sys.executable, "-m", "reranker_operator", f"--namespaces={kube.namespace}", "--health-port=0", *flags]
    running = subprocess.Popen(command, env={**os.environ, **variables})
    try:
        yield running
    finally:
        running.kill()
        running.wait()


async def test_another_takes_over_from_an_operator_that_was_killed(kube: Kube, kubeconfig: Path) -> None:
    async def holder_is(name: str) -> bool:
        leases = await kube.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/{kube.namespace}/leases")
        return any(lease["spec"]["holderIdentity"].startswith(f"{name}-") for lease in leases["items"])

    async def replicas_are(number: int) -> bool:
        deployment = await kube.get("deployments", "bge")
        return deployment is not None and deployment["spec"]["replicas"] == number

    with process(kube, kubeconfig, "first") as first:
        await eventually(lambda: holder_is("first"), what="the first operator leads")
        with process(kube, kubeconfig, "second") as second:
            await kube.create("rerankermodels", model(replicas=1))
            await eventually(lambda: replicas_are(1), what="the first operator acts")
            first.send_signal(signal.SIGKILL)
            await edit(kube, replicas=2)
            await eventually(lambda: replicas_are(2), what="the second operator acts")
            assert await holder_is("second")
            second.send_signal(signal.SIGTERM)
            await asyncio.to_thread(second.wait)
            assert second.returncode == 0
            assert (await the_lease(kube))["holderIdentity"] == ""
