"""Asks workers for their state. Read only: nothing on the network changes what a worker serves."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import aiohttp
import structlog

from reranker_operator.names import INTERNAL_PORT
from reranker_operator.state import AdapterReport, ModelReport, Pod, WorkerReport

log = structlog.get_logger(__name__)

TIMEOUT_S = 2.0
MAX_BYTES = 1 << 20
MAX_AT_ONCE = 100


def state_url(ip: str) -> str:
    host = f"[{ip}]" if ":" in ip else ip
    return f"http://{host}:{INTERNAL_PORT}/state"


class WorkerClient:
    """Reads /state of many workers at once."""

    def __init__(self) -> None:
        # One connection per question: a pod's address soon belongs to another pod.
        connector = aiohttp.TCPConnector(limit=MAX_AT_ONCE, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))

    async def close(self) -> None:
        await self._session.close()

    async def reports(self, pods: Iterable[Pod]) -> dict[str, WorkerReport]:
        """What the pods that answer say, by pod name."""
        asked = [pod for pod in pods if pod.ip]
        answers = await asyncio.gather(*(self.report(state_url(pod.ip)) for pod in asked))
        return {pod.name: answer for pod, answer in zip(asked, answers, strict=True) if answer is not None}

    async def report(self, url: str) -> WorkerReport | None:
        """One worker's state; None when it doesn't answer, or not with a state."""
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                content = await response.content.read(MAX_BYTES)
                if response.status != 200:
                    return None
            return worker_report(json.loads(content))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.debug("no state from a worker", url=url, error=str(error) or type(error).__name__)
            return None


def worker_report(document: Any) -> WorkerReport:
    """Parse a state; raises ValueError when it isn't one."""
    try:
        return WorkerReport(
            observed_generation=int(document["observedGeneration"]),
            ready=bool(document["ready"]),
            draining=bool(document["draining"]),
            reason=str(document.get("reason", "")),
            message=str(document.get("message", "")),
            models=tuple(_model(entry) for entry in document["models"]),
            adapters=tuple(_adapter(entry) for entry in document["adapters"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a worker's state: {error!r}") from error


def _model(entry: Any) -> ModelReport:
    return ModelReport(
        revision=str(entry["revision"]),
        phase=str(entry["phase"]),
        admitted=bool(entry["admitted"]),
        serving=bool(entry["serving"]),
        reason=str(entry.get("reason", "")),
        message=str(entry.get("message", "")),
    )


def _adapter(entry: Any) -> AdapterReport:
    return AdapterReport(
        name=str(entry["name"]),
        revision=str(entry["revision"]),
        phase=str(entry["phase"]),
        reason=str(entry.get("reason", "")),
        message=str(entry.get("message", "")),
    )
