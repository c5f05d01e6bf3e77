"""Asks workers for their state and for scores. Nothing on the network changes what a worker serves."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp
import structlog

from reranker_operator.errors import NoScores, cause
from reranker_operator.world.names import INTERNAL_PORT, Document
from reranker_operator.world.reports import AdapterReport, Download, ModelReport, PrefetchReport, WorkerReport
from reranker_operator.world.state import Pod
from reranker_operator.world.trials import Answer, LiveSample, Seat

log = structlog.get_logger(__name__)

TIMEOUT_S = 2.0
#: Of these, for the connection. A packet that is lost is sent again after one second.
CONNECT_TIMEOUT_S = 1.5
#: For the connection to one that didn't come the last time, as on a node that is lost: each reconcile waits for it.
SILENT_CONNECT_TIMEOUT_S = 0.5
#: A question waits its turn behind the clients'.
SCORE_TIMEOUT_S = 60.0
MAX_BYTES = 1 << 20
#: Of a worker's samples: texts of a million characters, escaped, and their scores.
MAX_SAMPLES_BYTES = 16 << 20
#: Of one model's workers: those of another one may all be away, and each is waited for.
MAX_AT_ONCE = 100


def state_url(ip: str) -> str:
    return f"{_internal_url(ip)}/state"


def _internal_url(ip: str) -> str:
    host = f"[{ip}]" if ":" in ip else ip
    return f"http://{host}:{INTERNAL_PORT}"


class WorkerClient:
    """Reads /state of many workers at once; has one score."""

    def __init__(self) -> None:
        #: URLs to which the last connection didn't come: of no more than there are addresses for pods.
        self._silent: set[str] = set()
        # One connection per question: a pod's address soon belongs to another pod.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))

    async def close(self) -> None:
        await self._session.close()

    async def reports(self, pods: Iterable[Pod]) -> dict[str, WorkerReport]:
        """What the pods that answer say, by pod name."""
        asked = [pod for pod in pods if pod.ip]
        turns = asyncio.Semaphore(MAX_AT_ONCE)

        async def answer_of(pod: Pod) -> WorkerReport | None:
            async with turns:  # outside the timeout, which is the worker's
                return await self.report(state_url(pod.ip))

        answers = await asyncio.gather(*map(answer_of, asked))
        return {pod.name: answer for pod, answer in zip(asked, answers, strict=True) if answer is not None}

    async def report(self, url: str) -> WorkerReport | None:
        """One worker's state; None when it doesn't answer, or not with a state."""
        connect_s = SILENT_CONNECT_TIMEOUT_S if url in self._silent else CONNECT_TIMEOUT_S
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=connect_s)
        missed = False
        try:
            async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
                content = await _content(response, MAX_BYTES)
            return worker_report(json.loads(content)) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # Of a worker that is merely slow, the kernel takes the connection.
            missed = isinstance(error, aiohttp.ConnectionTimeoutError)
            log.debug("no state from a worker", url=url, error=cause(error))
            return None
        finally:
            (self._silent.add if missed else self._silent.discard)(url)

    async def samples(self, seat: Seat, after: int) -> list[LiveSample]:
        """What a pod's clients asked beyond that number, and were answered; raises NoScores."""
        url = f"{_internal_url(seat.ip)}/samples?after={after}"
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                status, content = response.status, await _content(response, MAX_SAMPLES_BYTES)
            if status != 200:
                raise _refusal(seat, status, content)
            return [live_sample(entry) for entry in json.loads(content)["samples"]]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise NoScores(f"pod {seat.pod}: {url}: {cause(error)}") from error

    async def score(self, seat: Seat, query: str, documents: Sequence[str], adapter: str | None = None) -> Answer:
        """Score with a revision that a pod has in memory, admitted or not; raises NoScores."""
        url = f"{_internal_url(seat.ip)}/score"
        named = {"adapter": adapter} if adapter is not None else {}
        body = {"revision": seat.revision, "query": query, "documents": list(documents), **named}
        timeout = aiohttp.ClientTimeout(total=SCORE_TIMEOUT_S)
        try:
            async with self._session.post(url, json=body, timeout=timeout, allow_redirects=False) as response:
                status, content = response.status, await _content(response, MAX_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise NoScores(f"pod {seat.pod}: {url}: {cause(error)}") from error
        if status != 200:
            raise _refusal(seat, status, content)
        return _answer(seat, content, len(documents))


async def _content(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body, which comes in as many pieces as the network likes; ValueError where it is too long."""
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > most:
            raise ValueError(f"more than {most} bytes")
    return bytes(content)


def _refusal(seat: Seat, status: int, content: bytes) -> NoScores:
    """The worker's own words, where it is a worker that answers."""
    try:
        error: Document = json.loads(content)["error"]
        return NoScores(f"pod {seat.pod}: {error['message']}", str(error["code"]))
    except (ValueError, KeyError, TypeError):
        return NoScores(f"pod {seat.pod} answers {status}: {content[:200].decode(errors='replace')}")


def _answer(seat: Seat, content: bytes, documents: int) -> Answer:
    try:
        said = json.loads(content)
        answer = Answer(tuple(float(score) for score in said["scores"]), float(said["milliseconds"]))
    except (ValueError, KeyError, TypeError) as error:
        raise NoScores(f"pod {seat.pod} answers no scores: {error!r}") from error
    if said.get("revision") != seat.revision or len(answer.scores) != documents:
        message = f"{len(answer.scores)} scores of {said.get('revision')} for {documents} documents of {seat.revision}"
        raise NoScores(f"pod {seat.pod} answers {message}")
    return answer


def live_sample(entry: Document) -> LiveSample:
    """Parse a sample; raises KeyError, TypeError or ValueError when it isn't one."""
    adapter = entry["adapter"]
    return LiveSample(
        number=int(entry["number"]),
        revision=str(entry["revision"]),
        adapter=str(adapter) if adapter is not None else None,
        query=str(entry["query"]),
        documents=tuple(map(str, entry["documents"])),
        scores=tuple(map(float, entry["scores"])),
    )


def worker_report(document: Any) -> WorkerReport:
    """Parse a state; raises ValueError when it isn't one."""
    try:
        return WorkerReport(
            observed_generation=int(document["observedGeneration"]),
            ready=bool(document["ready"]),
            reason=str(document.get("reason", "")),
            message=str(document.get("message", "")),
            models=tuple(_model(entry) for entry in document["models"]),
            adapters=tuple(_adapter(entry) for entry in document["adapters"]),
            prefetch=tuple(_prefetch(entry) for entry in document.get("prefetch", ())),
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
        adapters=tuple(_adapter(adapter) for adapter in entry.get("adapters", ())),
        download=_download(entry),
    )


def _adapter(entry: Any) -> AdapterReport:
    return AdapterReport(
        name=str(entry["name"]),
        revision=str(entry["revision"]),
        phase=str(entry["phase"]),
        reason=str(entry.get("reason", "")),
        message=str(entry.get("message", "")),
        download=_download(entry),
    )


def _prefetch(entry: Any) -> PrefetchReport:
    return PrefetchReport(str(entry["revision"]), str(entry["phase"]), _download(entry))


def _download(entry: Any) -> Download | None:
    told = entry.get("download")
    if told is None:
        return None
    return Download(int(told["bytes"]), int(told["totalBytes"]), int(told["bytesPerSecond"]))
