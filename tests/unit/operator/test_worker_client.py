"""What the operator makes of workers' answers: whole ones in pieces, too long ones, and none."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from hack.ports import free_port
from reranker_operator import worker_client
from reranker_operator.errors import NoScores
from reranker_operator.worker_client import WorkerClient
from reranker_operator.world.state import Pod
from reranker_operator.world.trials import Seat

SEAT = Seat("a", "127.0.0.1", "bge-1")
SAMPLE = {
    "number": 3,
    "revision": "bge-1",
    "adapter": None,
    "query": "q",
    "documents": ["x", "y"],
    "scores": [0.9, 0.1],
}
ANSWERS: dict[str, Any] = {
    "/samples": {"samples": [SAMPLE]},
    "/score": {"revision": "bge-1", "scores": [0.9, 0.1], "milliseconds": 5.0},
}


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerClient]:
    """A client of a worker whose answers come in two pieces."""

    async def in_pieces(request: web.Request) -> web.StreamResponse:
        content = json.dumps(ANSWERS[request.path]).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[:10])
        await asyncio.sleep(0.05)  # so that the client has read the first piece
        await response.write(content[10:])
        return response

    app = web.Application()
    app.router.add_get("/samples", in_pieces)
    app.router.add_get("/state", in_pieces)
    app.router.add_post("/score", in_pieces)
    runner, port = web.AppRunner(app, access_log=None), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    monkeypatch.setattr(worker_client, "INTERNAL_PORT", port)
    workers = WorkerClient()
    yield workers
    await workers.close()
    await runner.cleanup()


async def test_an_answer_is_read_whole_in_however_many_pieces_it_comes(client: WorkerClient) -> None:
    assert (await client.score(SEAT, "q", ["x", "y"])).scores == (0.9, 0.1)
    (sample,) = await client.samples(SEAT, 2)
    assert (sample.number, sample.documents, sample.scores) == (3, ("x", "y"), (0.9, 0.1))


async def test_an_answer_that_is_too_long_is_none(client: WorkerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_client, "MAX_BYTES", 20)
    monkeypatch.setattr(worker_client, "MAX_SAMPLES_BYTES", 20)
    with pytest.raises(NoScores, match="more than 20 bytes"):
        await client.score(SEAT, "q", ["x", "y"])
    with pytest.raises(NoScores, match=r"/samples.*more than 20 bytes"):
        await client.samples(SEAT, 2)


async def test_a_worker_that_hangs_is_told_by_the_kind_of_the_error(
    client: WorkerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_client, "SCORE_TIMEOUT_S", 0.01)
    with pytest.raises(NoScores, match=r"/score: TimeoutError$"):
        await client.score(SEAT, "q", ["x", "y"])


async def test_workers_of_one_model_that_hang_leave_those_of_another_their_time(
    client: WorkerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = urlsplit(worker_client.state_url("127.0.0.2")).port
    monkeypatch.setattr(worker_client, "MAX_AT_ONCE", 2)
    monkeypatch.setitem(ANSWERS, "/state", {"observedGeneration": 1, "ready": True, "models": [], "adapters": []})
    with socket.create_server(("127.0.0.2", port or 0)):
        stuck = asyncio.create_task(client.reports([Pod(f"stuck-{i}", "t", ip="127.0.0.2") for i in range(6)]))
        await asyncio.sleep(0)
        answered = await client.reports([Pod(f"well-{i}", "t", ip="127.0.0.1") for i in range(6)])
        assert not stuck.done()
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
    assert len(answered) == 6


@contextmanager
def unreachable(address: str) -> Iterator[socket.socket]:
    """A worker to which no further connection comes, as on a node that is lost: its queue of one is full."""
    there = (address, urlsplit(worker_client.state_url(address)).port or 0)
    with socket.create_server(there, backlog=0) as server, socket.create_connection(there):
        yield server


async def seconds_without(client: WorkerClient, address: str) -> float:
    began = time.monotonic()
    assert await client.reports([Pod("a", "t", ip=address)]) == {}
    return time.monotonic() - began


async def test_a_worker_to_which_no_connection_came_is_waited_for_less_until_one_does(
    client: WorkerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_client, "CONNECT_TIMEOUT_S", 0.4)
    monkeypatch.setattr(worker_client, "SILENT_CONNECT_TIMEOUT_S", 0.01)
    with unreachable("127.0.0.2"):
        assert await seconds_without(client, "127.0.0.2") > 0.3
        assert await seconds_without(client, "127.0.0.2") < 0.3
        assert await seconds_without(client, "127.0.0.2") < 0.3
    await seconds_without(client, "127.0.0.2")  # refused, so the node is there
    with unreachable("127.0.0.2"):
        assert await seconds_without(client, "127.0.0.2") > 0.3


async def test_a_worker_that_missed_a_question_for_being_slow_has_the_whole_time_for_the_next(
    client: WorkerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_client, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(worker_client, "SILENT_CONNECT_TIMEOUT_S", 0.01)
    port = urlsplit(worker_client.state_url("127.0.0.2")).port
    with socket.create_server(("127.0.0.2", port or 0)):  # connections come, and nobody answers
        assert await seconds_without(client, "127.0.0.2") > 0.2
        assert await seconds_without(client, "127.0.0.2") > 0.2


async def test_a_worker_that_is_not_there_has_no_samples(client: WorkerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_client, "INTERNAL_PORT", free_port())
    with pytest.raises(NoScores, match="pod a"):
        await client.samples(SEAT, 0)
