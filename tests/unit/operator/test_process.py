"""The process around the reconciler: health, settings, workers' answers, watches that end and begin again."""

import asyncio
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from reranker_operator import handlers, watching
from reranker_operator.health import Health, HealthServer
from reranker_operator.metrics import Metrics
from reranker_operator.operate import longest_silence_s
from reranker_operator.settings import Settings
from reranker_operator.watching import Watching
from reranker_operator.worker_client import WorkerClient, state_url
from reranker_operator.world.reports import AdapterReport, ModelReport, WorkerReport


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock, silence_s=120)


@pytest.fixture
def server(health: Health) -> Iterator[httpx.Client]:
    running = HealthServer(("127.0.0.1", 0), health, Metrics().registry)
    running.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False) as client:
        yield client
    running.close()


def test_a_loop_that_lags_more_than_ten_seconds_is_not_alive(health: Health, clock: Clock) -> None:
    health.beat()
    clock.now = 10
    assert health.livez()[0]
    clock.now = 10.1
    alive, why = health.livez()
    assert not alive
    assert "event loop" in why


def test_no_news_for_longer_than_is_normal_is_no_life(health: Health, clock: Clock) -> None:
    clock.now = 120
    health.beat()
    assert health.livez()[0]
    clock.now = 121
    health.beat()
    assert not health.livez()[0]
    health.heard()
    assert health.livez()[0]


@pytest.mark.parametrize(
    ("flags", "rounds_s"),
    [
        pytest.param({}, 66 + 60, id="a resync, late by a tenth, whose two requests hang"),
        pytest.param({"resync_seconds": 1}, 2 + 60, id="resyncs that follow one another"),
        pytest.param({"resync_seconds": 300}, 330 + 60, id="seldom resyncs"),
        pytest.param({"lease": "a/b", "lease_seconds": 15}, 66 + 60, id="resyncs of who holds the Lease"),
        pytest.param({"lease": "a/b", "lease_seconds": 3600}, 480 + 60, id="seldom looks at the Lease"),
        pytest.param({"lease_seconds": 3600}, 66 + 60, id="no Lease"),
    ],
)
def test_news_may_be_as_late_as_the_settings_and_an_api_server_that_hangs_make_it(
    clock: Clock, flags: dict[str, Any], rounds_s: int
) -> None:
    health = Health(clock, longest_silence_s(Settings(**flags)))
    clock.now = rounds_s + 0.5
    health.beat()
    assert health.livez()[0]
    clock.now = 3 * rounds_s
    health.beat()
    assert not health.livez()[0]


def test_health_is_told_over_http(server: httpx.Client, health: Health, clock: Clock) -> None:
    assert server.get("/livez").status_code == 200
    assert server.get("/readyz").status_code == 503
    health.listed(answered=True)
    assert server.get("/readyz").text == "ok\n"
    clock.now = 11
    assert server.get("/livez").status_code == 503
    assert server.get("/").status_code == 404
    assert "reranker_operator_queue_depth" in server.get("/metrics").text


def test_settings_come_from_flags_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKER_OPERATOR_NAMESPACES", "a, b")
    monkeypatch.setenv("RERANKER_OPERATOR_WORKER_IMAGE", "from:variable")
    settings = Settings(_cli_parse_args=["--worker-image=from:flag", "--worker-image-pull-secrets", "x,y"])
    assert settings.watched_namespaces == ("a", "b")
    assert settings.worker_image == "from:flag"
    assert settings.pull_secrets == ("x", "y")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reranker_operator", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_wrong_setting_ends_the_command_with_its_name_and_value() -> None:
    done = command("--resync-seconds=soon")
    assert done.returncode == 2
    assert "--resync-seconds" in done.stderr
    assert "'soon'" in done.stderr


def test_help_loads_neither_kopf_nor_the_kubernetes_client() -> None:
    code = (
        "import sys; from reranker_operator.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('kopf', 'kubernetes', 'aiohttp')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False).returncode == 0


STATE = {
    "bootId": "b",
    "pod": "p",
    "template": "t-1",
    "observedGeneration": 7,
    "ready": True,
    "draining": False,
    "reason": "",
    "message": "",
    "models": [
        {
            "revision": "bge-1",
            "digest": "",
            "phase": "Loaded",
            "admitted": True,
            "serving": True,
            "reason": "",
            "message": "",
        }
    ],
    "adapters": [
        {"name": "legal", "revision": "legal-1", "digest": "", "phase": "Failed", "reason": "DiskFull", "message": "m"}
    ],
}


async def ask(content: str | bytes, status: int = 200, delay_s: float = 0) -> WorkerReport | None:
    async def state(_: web.Request) -> web.Response:
        await asyncio.sleep(delay_s)
        return web.Response(body=content, status=status)

    app = web.Application()
    app.router.add_get("/state", state)
    workers = WorkerClient()
    async with TestServer(app) as server:
        try:
            return await workers.report(str(server.make_url("/state")))
        finally:
            await workers.close()


async def test_a_workers_state_is_read() -> None:
    assert await ask(json.dumps(STATE)) == WorkerReport(
        observed_generation=7,
        ready=True,
        models=(ModelReport("bge-1", "Loaded", admitted=True, serving=True),),
        adapters=(AdapterReport("legal", "legal-1", "Failed", "DiskFull", "m"),),
    )


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", "<html>", '{"models": 1}', b"\xff\xfe"])
async def test_an_answer_that_is_no_state_is_as_none(content: str | bytes) -> None:
    assert await ask(content) is None


async def test_an_error_or_no_answer_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await ask(json.dumps(STATE), status=503) is None
    monkeypatch.setattr("reranker_operator.worker_client.TIMEOUT_S", 0.05)
    began = time.monotonic()
    assert await ask(json.dumps(STATE), delay_s=1) is None
    assert time.monotonic() - began < 5


def test_ipv6_addresses_are_bracketed() -> None:
    assert state_url("fd00::1") == "http://[fd00::1]:8081/state"


def test_watches_begin_again_when_kopf_ends_and_end_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[dict[str, Any]] = []
    third = threading.Event()

    async def operator(**arguments: Any) -> None:
        runs.append(arguments)
        if len(runs) < 3:
            raise RuntimeError("Error in the watch-stream")
        third.set()
        await arguments["stop_flag"].wait()

    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr(watching, "PAUSE_FIRST_S", 0.01)
    metrics = Metrics()
    watches = Watching(lambda _resource, _key: None, metrics)
    asyncio.run(watches.follow(None))
    asyncio.run(watches.follow(None))
    assert third.wait(5)
    asyncio.run(watches.stop())
    assert len(runs) == 3
    assert metrics.registry.get_sample_value("reranker_operator_watch_restarts_total") == 2
    assert runs[0]["clusterwide"] is True


def test_the_watches_follow_the_namespaces_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: queue.Queue[tuple[bool, tuple[str, ...]]] = queue.Queue()

    async def operator(**arguments: Any) -> None:
        runs.put((arguments["clusterwide"], arguments["namespaces"]))
        await arguments["stop_flag"].wait()

    monkeypatch.setattr(kopf, "operator", operator)
    watches = Watching(lambda _resource, _key: None, Metrics())
    for namespaces in (("a", "b"), ("a",), (), ("a", "b")):
        asyncio.run(watches.follow(namespaces))
        asyncio.run(watches.follow(namespaces))
        if namespaces:
            assert runs.get(timeout=5) == (False, namespaces)
    asyncio.run(watches.stop())
    assert runs.empty()


def test_kopf_is_told_to_write_nothing_and_never_to_kill_the_process() -> None:
    settings = handlers.settings()
    assert settings.posting.enabled is False
    assert settings.peering.standalone is True
    assert settings.process.ultimate_exiting_timeout is None
    backoffs = iter(settings.networking.error_backoffs)  # type: ignore[arg-type]
    assert [next(backoffs) for _ in range(100)][-1] == 2.0
