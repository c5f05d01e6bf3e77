"""What the operator makes of the API server's answers, and of what answers in its place."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from reranker_operator import api
from reranker_operator.api import Api
from reranker_operator.errors import Unreachable
from reranker_operator.metrics import Metrics
from reranker_operator.token_bucket import TokenBucket

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answered_by(answer: Answer, bucket: TokenBucket | None = None) -> AsyncIterator[Api]:
    """The way to an API server that answers every request so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        config = Configuration()
        config.host, config.retries = str(server.make_url("")).rstrip("/"), None
        found = Api(config, Metrics(), bucket)
        try:
            yield found
        finally:
            await found.close()


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


def says(text: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text)

    return answer


async def test_an_api_server_that_hangs_is_told_by_the_kind_of_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "REQUEST_TIMEOUT_S", 0.05)
    async with answered_by(hangs) as server:
        with pytest.raises(Unreachable, match=r"^GET /api/v1/pods: TimeoutError$"):
            await server.get("pods", "/api/v1/pods")


async def test_requests_wait_for_their_turn_and_those_of_a_lease_or_urgent_ones_do_not() -> None:
    async with answered_by(says("{}"), TokenBucket(0.001, 1, time.monotonic)) as server:
        await server.get("pods", "/api/v1/pods")
        second = asyncio.create_task(server.get("pods", "/api/v1/pods"))
        async with asyncio.timeout(5):
            assert await server.get("leases", "/apis/coordination.k8s.io/v1/leases") == {}
            assert await server.merge("pods", "/api/v1/namespaces/search/pods/a", {}, urgent=True) == {}
        assert not second.done()
        second.cancel()


@pytest.mark.parametrize("text", ["<html>down for maintenance", "", "[]", '"down"'])
async def test_an_answer_that_is_no_object_is_not_the_api_servers(text: str) -> None:
    async with answered_by(says(text)) as server:
        with pytest.raises(Unreachable, match=r"^GET /api/v1/pods: 200, but no JSON object: ") as caught:
            await server.get("pods", "/api/v1/pods")
    assert text in str(caught.value)
