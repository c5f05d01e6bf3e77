"""Asks a server as a workload's clients do, and times the answers."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice

import httpx

from bench.servers import NotServing, Server
from bench.systems import HEADERS
from bench.workloads import Question, Workload, questions

_LONGEST_ANSWER_S = 1800.0


@dataclass(frozen=True, slots=True)
class Round:
    """What a round of requests took."""

    pairs: int
    seconds: float
    latencies_ms: tuple[float, ...]


async def ask(server: Server, workload: Workload, turn: int) -> Round:
    """Let each client ask its requests, one after the other; each `turn` has texts of its own.

    A request before them isn't counted: a server that was paused finds its memory in no cache.
    """
    requests = workload.requests * workload.clients
    asked = islice(questions(workload), turn * requests, None)
    limits = httpx.Limits(max_connections=workload.clients)
    async with httpx.AsyncClient(timeout=_LONGEST_ANSWER_S, limits=limits, headers=HEADERS) as client:
        await _answered(client, server, next(questions(workload)))
        started = time.perf_counter()
        latencies = await asyncio.gather(
            *(_client(client, server, islice(asked, workload.requests)) for _ in range(workload.clients)),
        )
        seconds = time.perf_counter() - started
    return Round(requests * workload.documents, seconds, tuple(chain.from_iterable(latencies)))


async def _client(client: httpx.AsyncClient, server: Server, asked: Iterable[Question]) -> list[float]:
    return [await _answered(client, server, question) for question in asked]


async def _answered(client: httpx.AsyncClient, server: Server, question: Question) -> float:
    """Return how long the answer took, in ms; raises NotServing where it isn't one."""
    started = time.perf_counter()
    answer = await client.post(server.url, json=server.system.dialect.body(question))
    latency_ms = 1000 * (time.perf_counter() - started)
    if answer.status_code != 200:
        raise NotServing(f"it answers {answer.status_code}: {answer.text[:300]}")
    if len(server.system.dialect.scores(answer.json())) != len(question.documents):
        raise NotServing("it leaves documents out")
    return latency_ms
