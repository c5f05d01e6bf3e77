"""The client port's server: uvicorn without its own signals, and the drain that answers SIGTERM."""

import asyncio
import math
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog
import uvicorn

from reranker_worker.web.asgi import App
from reranker_worker.web.connections import BoundedConnection, ageing
from reranker_worker.worker import Worker

_MAX_HEADER_BYTES = 32 << 10
_BACKLOG = 2048
_DEFAULT_DRAIN_S = 30.0

log = structlog.get_logger("worker")


def server_config(app: App, host: str, port: int, keep_alive_s: int, connection_age_s: int = 0) -> uvicorn.Config:
    """Return uvicorn's settings: h11, since the C parser takes headers of any size. connection_age_s: 0 is no bound."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=ageing(connection_age_s) if connection_age_s else BoundedConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=keep_alive_s,
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
    )


def listen(config: uvicorn.Config) -> socket.socket:
    """Return a bound socket whose connections send at once what they are given; exits where the port is taken.

    Without a host it is of both IPv6 and IPv4, or of IPv4 alone where the machine has no more.
    An answer's head and body are two writes. asyncio sets TCP_NODELAY for sockets that name their protocol, which
    uvicorn's don't; so the body waited until the client acknowledged the head: 40 ms, on each connection kept alive.
    """
    listener = (None if config.host else _dual_stack(config.port)) or config.bind_socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _dual_stack(port: int) -> socket.socket | None:
    if not socket.has_dualstack_ipv6():
        return None
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        listener.bind(("::", port))
    except OSError:  # no IPv6 address, or a port that is taken: IPv4's own try tells
        listener.close()
        return None
    return listener


class ClientServer(uvicorn.Server):
    """Leaves signals to the drain, and ends by itself once the device has failed."""

    def __init__(self, config: uvicorn.Config, worker: Worker) -> None:
        super().__init__(config)
        self.worker = worker

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal: uvicorn would close its listener and idle connections at once."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Tell uvicorn, ten times a second, whether to end."""
        return await super().on_tick(counter) or self.worker.scorer.fatal is not None


async def serve_until_drained(server: ClientServer, listener: socket.socket, delay_s: float) -> None:
    """Serve until SIGTERM or SIGINT, then drain: unready at once, accepting for a while, finishing, done.

    Clients come for `delay_s` more, until every proxy knows that this endpoint is gone; each answer asks for the
    connection to be closed. SIGINT, a person at a terminal, skips that; a second one gives up what is in flight.
    """
    leaving, hurried = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hurry() -> None:
        server.force_exit = hurried.is_set()
        hurried.set()
        leaving.set()

    loop.add_signal_handler(signal.SIGTERM, leaving.set)
    loop.add_signal_handler(signal.SIGINT, hurry)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    signalled = asyncio.create_task(leaving.wait())
    await asyncio.wait({serving, signalled}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if leaving.is_set():
        server.worker.drain()
        log.info("draining", delay_s=delay_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(hurried.wait(), delay_s)
    server.config.timeout_graceful_shutdown = math.ceil(_drain_s(server.worker))
    server.should_exit = True
    await serving


def _drain_s(worker: Worker) -> float:
    manifest = worker.observation.world.manifest
    return manifest.drain_s if manifest is not None else _DEFAULT_DRAIN_S
