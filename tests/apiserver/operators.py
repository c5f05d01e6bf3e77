"""Runs the operator in the test's own event loop, for one namespace."""

import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reranker_operator import api
from reranker_operator.api import Api
from reranker_operator.metrics import Metrics
from reranker_operator.operate import Operator
from reranker_operator.settings import Settings

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


@asynccontextmanager
async def operator(namespace: str, **settings: object) -> AsyncIterator[Running]:
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
    connection = Api(await api.configuration(), metrics)
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
    # A run of kopf that is stopped while it begins leaves its sessions to the garbage collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
