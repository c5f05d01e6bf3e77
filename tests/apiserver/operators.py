"""Runs the operator in the test's own event loop, for one namespace."""

import asyncio
import gc
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from reranker_operator import api
from reranker_operator.api import Api
from reranker_operator.metrics import Metrics
from reranker_operator.operate import Operator
from reranker_operator.settings import Settings
from tests.apiserver.kube import Json, Kube, eventually

#: A run of kopf that is stopped while it begins leaves its sessions to the garbage collector, whenever that comes.
MARKS = [pytest.mark.apiserver, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

WRITES = ("PATCH", "POST", "PUT", "DELETE")


class Running:
    """A running operator and what it has asked of the API server."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def requests(self, *methods: str) -> dict[str, float]:
        """Requests so far, by method, resource and code; all methods when none is named."""
        samples = [s for family in self.metrics.api_requests.collect() for s in family.samples]
        return {
            " ".join((s.labels["method"], s.labels["resource"], s.labels["code"])): s.value
            for s in samples
            if not methods or s.labels["method"] in methods
        }

    def writes(self) -> float:
        return sum(self.requests(*WRITES).values())


async def rested(kube: Kube, running: Running) -> float:
    """Have the operator look at a model that needs nothing; returns the writes until then.

    A label is news to it and changes nothing that it writes. One model's reconciles follow each other, so one without a
    change comes after all writes that were under way.
    """
    unchanged = running.metrics.reconciles.labels("unchanged")
    before = unchanged._value.get()
    await kube.patch("rerankermodels", "bge", {"metadata": {"labels": {"touched": uuid.uuid4().hex}}})

    async def looked() -> bool:
        found: bool = unchanged._value.get() > before
        return found

    await eventually(looked, what="a reconcile that changes nothing")
    return running.writes()


class DyingApi(Api):
    """The way to the API server of a process that is killed at its n-th write, which arrives."""

    def __init__(self, config: Any, metrics: Metrics, *, dies_at: int) -> None:
        super().__init__(config, metrics)
        self._left = dies_at
        self.dead = asyncio.Event()

    async def _request(self, method: str, resource: str, path: str, **request: Any) -> Json:
        if method in WRITES:
            self._left -= 1
        if self._left > 0:
            return await super()._request(method, resource, path, **request)
        if not self.dead.is_set():
            await super()._request(method, resource, path, **request)
        self.dead.set()
        never: Json = (
            await asyncio.get_running_loop().create_future()
        )  # for ever, as nothing of a killed process goes on
        return never


async def killed_at(kube: Kube, write: int, change: Awaitable[object]) -> None:
    """Run an operator from before a change of the model `bge` until it is killed at its n-th write, which arrives.

    Killed before that it would have left the cluster as after the write before.
    """
    dying: list[DyingApi] = []

    def connect(config: Any, metrics: Metrics) -> Api:
        dying.append(DyingApi(config, metrics, dies_at=write))
        return dying[0]

    async with operator(kube.namespace, connect):
        await change
        async with asyncio.timeout(60):
            await dying[0].dead.wait()


@asynccontextmanager
async def operator(
    namespace: str, connect: Callable[[Any, Metrics], Api] = Api, **settings: object
) -> AsyncIterator[Running]:
    """The operator as the process runs it, without signals; KUBECONFIG must be set."""
    metrics = Metrics()
    chosen = Settings.model_validate(
        {
            "namespaces": namespace,
            "health_port": 0,
            "health_address": "127.0.0.1",
            "worker_image": "worker:1",
            **settings,
        }
    )
    connection = connect(await api.configuration(), metrics)
    stop = asyncio.Event()
    task = asyncio.create_task(Operator(chosen, connection, metrics).run(stop))
    try:
        yield Running(metrics)
    finally:
        stop.set()
        began = time.monotonic()
        await task
        assert time.monotonic() - began < 5, "the operator takes too long to stop"
        await connection.close()
        _collect()


def _collect() -> None:
    # What is left beyond the last test would be nobody's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
