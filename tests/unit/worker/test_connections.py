"""Connections that clients keep: asked to be made anew once in a while, without a failed request, and never slow."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import uvicorn

from reranker_worker.settings import ServeSettings
from reranker_worker.web.asgi import Receive, Scope, Send
from reranker_worker.web.connections import BoundedConnection, ageing
from reranker_worker.web.server import listen, server_config


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
    assert (config.http is not BoundedConnection) is bounded


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


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_without_a_host_clients_come_by_ipv4_and_ipv6(address: str) -> None:
    if ":" in address and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with listen(server_config(echo, ServeSettings(template="t1").host, 0, keep_alive_s=75)) as listener:
        listener.listen()
        with socket.create_connection((address, listener.getsockname()[1]), timeout=5):
            listener.accept()[0].close()


def test_a_machine_without_ipv6_is_reached_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen(server_config(echo, "", 0, keep_alive_s=75)) as listener:
        assert listener.family == socket.AF_INET


LARGE = b"x" * (16 << 20)
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with more than the kernel's buffers hold."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(LARGE))]})
    await send({"type": "http.response.body", "body": LARGE})


class Talker:
    """A client that sends and reads what a test has it do, and no more."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = 0

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.connection, data)

    async def read(self) -> bytes:
        part = await asyncio.get_running_loop().sock_recv(self.connection, 1 << 18)
        self.received += len(part)
        return part

    async def read_to_the_end(self) -> None:
        with suppress(ConnectionResetError):
            while await self.read():
                continue


@pytest.fixture
async def talker() -> AsyncIterator[Talker]:
    """A connection to a server that waits a second for what a client has to do."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(large, "127.0.0.1", 0, keep_alive_s=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.connect(listener.getsockname())
        connection.setblocking(False)
        async with asyncio.timeout(60):
            yield Talker(connection)
    server.should_exit = True
    await serving


async def test_a_client_that_never_asks_is_left(talker: Talker) -> None:
    await talker.read_to_the_end()
    assert talker.received == 0


async def test_a_client_that_never_ends_its_head_is_left_however_it_goes_on(talker: Talker) -> None:
    reading = asyncio.create_task(talker.read_to_the_end())
    with suppress(ConnectionError):
        await talker.send(REQUEST[:-2])
        while not reading.done():
            await talker.send(b"x: y\r\n")
            await asyncio.sleep(0.05)
    await reading
    assert talker.received == 0


async def test_a_client_that_never_reads_is_left_in_the_end(talker: Talker) -> None:
    await talker.send(REQUEST)
    await asyncio.sleep(4)  # the time for its next request, and the one after that
    await talker.read_to_the_end()
    assert 0 < talker.received < len(LARGE)


async def test_a_client_that_reads_slowly_gets_all_of_its_answer(talker: Talker) -> None:
    await talker.send(REQUEST)
    for _ in range(16):  # four times as long as it could do nothing
        await asyncio.sleep(0.25)
        await talker.read()
    await talker.read_to_the_end()
    assert talker.received > len(LARGE)


async def test_requests_in_pieces_and_behind_each_other_are_answered(talker: Talker) -> None:
    for part in (REQUEST[:7], REQUEST[7:20], REQUEST[20:] + REQUEST, REQUEST[:9], REQUEST[9:]):
        await talker.send(part)
        await asyncio.sleep(0.4)
    await talker.read_to_the_end()
    assert talker.received > 3 * len(LARGE)
