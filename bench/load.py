"""Asks a server as a workload's clients do, and times the answers."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

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


async def ask(server: Server, workload: Workload, requests: int, turn: int) -> Round:
    """Let each client ask so many requests, one after the other; each `turn` has texts of its own."""
    asked = questions(workload)
    for _ in range(turn * requests * workload.clients):
        next(asked)
    latencies: list[float] = []
    limits = httpx.Limits(max_connections=workload.clients)
    async with httpx.AsyncClient(timeout=_LONGEST_ANSWER_S, limits=limits, headers=HEADERS) as client:
        started = time.perf_counter()
        await asyncio.gather(
            *(_client(client, server, asked, requests, latencies) for _ in range(workload.clients)),
        )
        seconds = time.perf_counter() - started
    return Round(requests * workload.clients * workload.documents, seconds, tuple(latencies))


async def _client(
    client: httpx.AsyncClient, server: Server, asked: Iterator[Question], requests: int, latencies: list[float]
) -> None:
    for _ in range(requests):
        question = next(asked)
        started = time.perf_counter()
        answer = await client.post(server.url, json=server.system.dialect.body(question))
        latencies.append(1000 * (time.perf_counter() - started))
        if answer.status_code != 200:
            raise NotServing(f"it answers {answer.status_code}: {answer.text[:300]}")
        if len(server.system.dialect.scores(answer.json())) != len(question.documents):
            raise NotServing("it leaves documents out")
