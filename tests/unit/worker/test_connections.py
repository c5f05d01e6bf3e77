"""Connections that clients keep: asked to be made anew once in a while, without a failed request, and never slow."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn

from reranker_worker.asgi import Receive, Scope, Send
from reranker_worker.server import ageing, listen, server_config


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the client's port, by which a connection is known."""
    body = str(scope["client"][1]).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def served(config: uvicorn.Config) -> AsyncIterator[httpx.AsyncClient]:
    """One client of a server, with one connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    limits = httpx.Limits(max_connections=1)
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=base, limits=limits, trust_env=False) as client:
        yield client
    server.should_exit = True
    await serving


async def test_an_old_connection_is_closed_after_an_answer_and_the_next_request_has_a_new_one() -> None:
    clock = Clock()
    config = server_config(echo, "127.0.0.1", 0, keep_alive_s=75, connection_age_s=60)
    config.http = ageing(60, clock)
    async with served(config) as client:
        first = await client.get("/")
        clock.now_s += 53  # ages differ by a tenth at most
        young = await client.get("/")
        clock.now_s += 14
        last = await client.get("/")
        after = await client.get("/")
    assert first.text == young.text == last.text != after.text
    assert [answer.headers.get("connection") for answer in (first, young, last, after)] == [None, None, "close", None]


@pytest.mark.parametrize(("age_s", "bounded"), [(0, False), (60, True)], ids=["no bound", "a minute"])
def test_a_bound_of_zero_is_none(age_s: int, bounded: bool) -> None:
    config = server_config(echo, "127.0.0.1", 0, keep_alive_s=75, connection_age_s=age_s)
    assert (config.http != "h11") is bounded


def test_an_answer_never_waits_for_the_client_to_acknowledge_its_head() -> None:
    with (
        listen(server_config(echo, "127.0.0.1", 0, keep_alive_s=75)) as listener,
        socket.socket() as client,
    ):
        listener.listen()
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
