"""Bodies of requests: refused before they cost anything, few enough at once, and never the end of an answer."""

import asyncio
import gc
import socket
import urllib.error
import urllib.request
import weakref
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from pydantic import BaseModel

from reranker_worker.errors import InvalidRequest, Overloaded, TooLarge
from reranker_worker.serving import ScoreRequest, ScoreResult
from reranker_worker.settings import ServeSettings
from reranker_worker.web.app import client_app
from reranker_worker.web.asgi import Refuse
from reranker_worker.web.bodies import BodyBounds
from reranker_worker.web.dialects.calls import Bounds, Incoming
from reranker_worker.web.schemas import RerankBody, ScoreBody, TeiBody, VllmScoreBody
from reranker_worker.web.server import server_config
from reranker_worker.worker import Worker
from tests.fixtures.client_port import SETTINGS, LengthScorer, http

LARGEST = 4 << 20
FEW = Bounds(max_documents=8, max_characters=500)


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        (RerankBody, "documents"),
        (RerankBody, "rank_fields"),
        (TeiBody, "texts"),
        (VllmScoreBody, "text_1"),
        (VllmScoreBody, "documents"),
        (ScoreBody, "items"),
    ],
)
def test_a_list_is_counted_before_its_items_are_looked_at(schema: type[BaseModel], param: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{param} holds 9 entries; at most 8") as refusal:
        FEW.validated(schema, {param: [{}] * 9})
    assert refusal.value.param == param


def test_nothing_is_collected_while_a_body_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    enabled: list[bool] = []

    def loads(_: bytes) -> dict[str, Any]:
        enabled.append(gc.isenabled())
        return {}

    monkeypatch.setattr(orjson, "loads", loads)
    assert Incoming(b"{}").content == {}
    assert (enabled, gc.isenabled()) == ([False], True)


async def test_a_body_is_not_kept_while_it_is_scored(
    worker: Worker, scorer: LengthScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[weakref.ref[Incoming]] = []
    watched = Incoming.__init__

    def watching(self: Incoming, *given: Any, **named: Any) -> None:
        watched(self, *given, **named)
        bodies.append(weakref.ref(self))

    async def score(request: ScoreRequest) -> ScoreResult:
        assert [body() for body in bodies] == [None]
        return ScoreResult([1.0], "m-1", None, 1, 1.0, 1.0, 1.0)

    monkeypatch.setattr(Incoming, "__init__", watching)
    monkeypatch.setattr(scorer, "score", score)
    async with http(worker) as client:
        response = await client.post("/rerank", json={"query": "q", "documents": ["a"]})
    assert response.status_code == 200


def bounded(app: Any) -> BodyBounds:
    return BodyBounds(app, max_bytes=10, timeout_s=5, refuse=Refuse(lambda *_: None))


async def sent(message: MutableMapping[str, Any]) -> None:
    """Take what nobody reads."""


async def test_bodies_at_once_are_bounded_and_an_answer_makes_room() -> None:
    arrived, answer = asyncio.Semaphore(0), asyncio.Event()

    async def app(_: Any, receive: Any, __: Any) -> None:
        await receive()
        arrived.release()
        await answer.wait()

    async def ten_of_many() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 10, "more_body": True}

    bounds = bounded(app)
    scope: dict[str, Any] = {"type": "http", "path": "/rerank", "headers": []}
    requests = [asyncio.create_task(bounds(scope, ten_of_many, sent)) for _ in range(16)]
    for _ in requests:
        await arrived.acquire()
    assert bounds.held_bytes == 160
    with pytest.raises(Overloaded, match="at most 160 bytes are held") as refusal:
        await bounds(scope, ten_of_many, sent)
    assert refusal.value.retry_after_s == 1
    answer.set()
    await asyncio.gather(*requests)
    assert bounds.held_bytes == 0
    await bounds(scope, ten_of_many, sent)


async def test_a_body_that_grows_too_large_holds_nothing_afterwards() -> None:
    async def app(_: Any, receive: Any, __: Any) -> None:
        while True:
            await receive()

    async def ten_of_many() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 10, "more_body": True}

    bounds = bounded(app)
    with pytest.raises(TooLarge):
        await bounds({"type": "http", "path": "/rerank", "headers": []}, ten_of_many, sent)
    assert bounds.held_bytes == 0


@pytest.mark.parametrize(
    ("path", "status", "code"), [("/rerank", 429, "Overloaded"), ("/v1/score/m", 503, "QUEUE_FULL")]
)
async def test_too_many_bodies_are_refused_as_a_full_queue_is(
    path: str, status: int, code: str, worker: Worker
) -> None:
    here, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield b" " * 4000
        here.release()  # what was yielded has been read
        await go_on.wait()

    async with http(worker, body_timeout_s=10) as client:
        held = [asyncio.create_task(client.post("/v1/rerank", content=parts())) for _ in range(16)]
        for _ in held:
            await here.acquire()
        refused = await client.post(path, content=b" " * 100)
        go_on.set()
        await asyncio.gather(*held)
    assert (refused.status_code, refused.headers["retry-after"]) == (status, "1")
    assert refused.json()["error"]["code"] == code


@pytest.fixture
async def url(worker: Worker, tmp_path: Path) -> AsyncIterator[str]:
    """A client port with keys and real connections."""
    (tmp_path / "keys").write_text("known\n")
    settings = ServeSettings(**SETTINGS | {"max_body_bytes": LARGEST}, api_keys_file=tmp_path / "keys")
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(client_app(worker, settings), "127.0.0.1", 0, keep_alive_s=5))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await serving


def post(url: str, body: bytes, key: str) -> tuple[int, bytes]:
    """Ask as Python's own client does: it reads nothing before all is sent, and wants the connection closed."""
    request = urllib.request.Request(url, data=body, headers={"authorization": key})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize(
    ("path", "length", "key", "status"),
    [
        pytest.param("/rerank", LARGEST, "unknown", 401, id="no key"),
        pytest.param("/rerank", LARGEST + 1, "known", 413, id="too large"),
        pytest.param("/rerank", 3 * LARGEST, "known", 413, id="far too large"),
        pytest.param("/nothing", LARGEST, "known", 404, id="no such path"),
        pytest.param("/v1/models", LARGEST, "known", 405, id="no such method"),
    ],
)
async def test_an_answer_before_the_end_of_a_body_arrives(
    path: str, length: int, key: str, status: int, url: str
) -> None:
    for _ in range(4):
        answered, content = await asyncio.to_thread(post, url + path, b"x" * length, key)
        assert answered == status
        assert "error" in orjson.loads(content)


async def test_a_client_that_never_ends_its_body_is_left_in_the_end(worker: Worker) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0)

    async with http(worker, body_timeout_s=5) as client:
        response = await client.post("/nothing", content=endless(), headers={"content-length": "4000"})
    assert response.status_code == 404


async def test_a_connection_whose_body_was_thrown_away_goes_on(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, headers={"authorization": "known"}) as client:
        assert (await client.post("/nothing", content=b"x" * LARGEST)).status_code == 404
        assert (await client.post("/rerank", json={"query": "q", "documents": ["a"]})).status_code == 200
