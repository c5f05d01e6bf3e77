"""The load's script against a real HTTP server: its schedule, its connections, what it calls a failure, its end."""

import asyncio
import contextlib
import json
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from hack.cluster.progress import StepError
from hack.stage import traffic as traffic_module
from hack.stage.kubectl import Kubectl
from hack.stage.load import Orders, asked, fault
from hack.stage.traffic import Seen, probe, traffic

SCRIPT = Path("hack/stage/load.py").absolute()
TWO = [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        pytest.param(200, {"results": TWO}, "", id="every document has a score"),
        pytest.param(503, {"error": "draining"}, "HTTP 503", id="refused"),
        pytest.param(200, {"results": TWO[:1]}, "results for documents", id="a document is missing"),
        pytest.param(200, {"results": [TWO[0], TWO[0]]}, "results for documents", id="a document comes twice"),
        pytest.param(200, "text", "results for documents", id="no JSON"),
        pytest.param(
            200, {"results": [TWO[0], {"index": 0, "relevance_score": float("nan")}]}, "isn't finite", id="NaN"
        ),
    ],
)
def test_only_finite_scores_of_all_documents_are_an_answer(status: int, answer: Any, said: str) -> None:
    found = fault(status, answer, documents=2)
    assert said in found
    assert bool(found) == bool(said)


def test_an_order_that_is_not_known_is_an_error() -> None:
    orders = Orders()
    orders.take("phase revision swap\n")
    orders.take("adapters legal news\n")
    assert (orders.phase, orders.adapters) == ("revision swap", ("legal", "news"))
    orders.take("adapters\n")
    assert orders.adapters == ()
    with pytest.raises(ValueError, match="'stop' isn't known"):
        orders.take("stop\n")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param((), {""}, id="none"),
        pytest.param(("a",), {"", "a"}, id="one"),
        pytest.param(("a", "b"), {"", "a", "b"}, id="two"),
    ],
)
def test_adapters_are_asked_for_in_turn_on_new_and_on_kept_connections(
    names: tuple[str, ...], expected: set[str]
) -> None:
    for parity in (0, 1):
        assert {asked(number, names) for number in range(parity, 48, 2)} == expected


@dataclass
class Worker:
    """A server that scores like a worker and remembers who asked."""

    revision: str = "m-1"
    adapters: set[str] = field(default_factory=set)
    fail_every: int = 0
    close_every: int = 0
    requests: int = 0
    peers: list[tuple[str, int]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def rerank(self, request: web.Request) -> web.Response:
        async with self.news:
            self.requests += 1
            self.news.notify_all()
        assert request.transport is not None
        self.peers.append(request.transport.get_extra_info("peername"))
        body = await request.json()
        if self.fail_every and self.requests % self.fail_every == 0:
            return web.json_response({"error": "no"}, status=503)
        adapter = body.get("adapter", "")
        if adapter and adapter not in self.adapters:
            return web.json_response({"error": f"adapter {adapter} isn't loaded"}, status=404)
        headers = {"x-reranker-revision": self.revision} | ({"x-reranker-adapter": f"{adapter}-1"} if adapter else {})
        if self.close_every and self.requests % self.close_every == 0:
            headers["connection"] = "close"
        results = [{"index": index, "relevance_score": 0.5} for index, _ in enumerate(body["documents"])]
        return web.json_response({"results": results}, headers=headers)


@contextlib.asynccontextmanager
async def served(worker: Worker, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve on loopback and yield the address of its endpoint."""
    app = web.Application()
    app.router.add_post("/v1/rerank", worker.rerank)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        yield f"http://{host}:{runner.addresses[0][1]}/v1/rerank"
    finally:
        await runner.cleanup()


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    path = tmp_path / "bodies.jsonl"
    path.write_text(json.dumps({"query": "q", "documents": ["a", "b"]}) + "\n")
    return path


Drive = Callable[[asyncio.subprocess.Process], Awaitable[None]]


async def run_load(url: str, bodies: Path, drive: Drive, rate: float = 40.0) -> list[dict[str, Any]]:
    """Run the script while `drive` gives orders, and return its rows."""
    arguments = ["load", f"--url={url}", f"--rate={rate}", "--longest=20", f"--bodies={bodies}"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-u", SCRIPT, *arguments, stdin=pipe, stdout=pipe)
    try:
        await drive(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.stdout is not None
        output = await process.stdout.read()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [json.loads(line) for line in output.splitlines()]


async def had(worker: Worker, requests: int) -> None:
    """Wait until a worker has had that many requests."""
    async with asyncio.timeout(15), worker.news:
        await worker.news.wait_for(lambda: worker.requests >= requests)


def until(worker: Worker, requests: int) -> Drive:
    """Return a driver that waits until the worker has had that many requests."""

    async def drive(_process: asyncio.subprocess.Process) -> None:
        await had(worker, requests)

    return drive


async def test_half_of_the_requests_reuse_few_connections(bodies: Path) -> None:
    worker = Worker()
    async with served(worker) as url:
        rows = await run_load(url, bodies, until(worker, 40))
    assert all(row["status"] == 200 and not row["error"] for row in rows)
    kept = sum(row["connection"] == "kept" for row in rows)
    assert abs(2 * kept - len(rows)) <= 1
    assert len(set(worker.peers)) <= len(rows) - kept + 6


async def test_a_closed_connection_is_not_used_again(bodies: Path) -> None:
    worker = Worker(close_every=2)
    async with served(worker) as url:
        rows = await run_load(url, bodies, until(worker, 40))
    assert [row["error"] for row in rows if row["error"]] == []


async def test_a_failure_is_written_down_and_never_retried(bodies: Path) -> None:
    worker = Worker(fail_every=5)
    async with served(worker) as url:
        rows = await run_load(url, bodies, until(worker, 30))
    assert len(rows) == worker.requests
    failed = [row for row in rows if row["error"]]
    assert len(failed) == worker.requests // 5
    assert {row["status"] for row in failed} == {503}


async def test_a_refused_connection_is_a_failure_with_its_reason(bodies: Path) -> None:
    worker = Worker()
    async with served(worker) as url:
        pass  # the port is free again

    async def drive(process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        first = json.loads(await asyncio.wait_for(process.stdout.readline(), 15))
        assert first["status"] == 0
        assert "Connect" in first["error"]

    await run_load(url, bodies, drive)


async def test_an_answer_that_names_no_revision_is_a_failure(bodies: Path) -> None:
    worker = Worker(revision="")
    async with served(worker) as url:
        rows = await run_load(url, bodies, until(worker, 3))
    assert {row["error"] for row in rows} == {"the answer names no revision"}


def kubectl_of_this_machine(folder: Path) -> Kubectl:
    """Return a kubectl whose `exec` runs the command after `--` right here."""
    program = folder / "kubectl"
    program.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Kubectl(program, None, "load")


@pytest.fixture
def kubectl(tmp_path: Path, bodies: Path, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    command = ("exec", "--stdin", "load", "--", sys.executable, "-u", str(SCRIPT))
    monkeypatch.setattr(traffic_module, "PYTHON", command)
    monkeypatch.setattr(traffic_module, "BODIES", f"--bodies={bodies}")
    return kubectl_of_this_machine(tmp_path)


async def test_orders_reach_the_load_and_its_lines_the_history(kubectl: Kubectl, tmp_path: Path) -> None:
    worker = Worker(adapters={"legal"})

    def drive(url: str) -> list[Seen]:
        with traffic(kubectl, url, 40.0, tmp_path) as sent:
            sent.order("phase plain")
            sent.more(10)
            sent.order("phase adapted")
            sent.order("adapters legal")
            sent.wait_for("adapted answers", lambda seen: sum(one.request.adapter == "legal-1" for one in seen) >= 3)
            sent.end()
        return sent.seen

    async with served(worker) as url:
        seen = await asyncio.to_thread(drive, url)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == len(seen) == worker.requests
    phases = [one.request.phase for one in seen]
    assert {"plain", "adapted"} <= set(phases)
    assert not any(one.request.failed for one in seen)
    assert not any(one.request.adapter for one in seen if one.request.phase == "plain")


async def test_the_probe_returns_once_every_pod_scores_with_the_adapter(kubectl: Kubectl, tmp_path: Path) -> None:
    workers = [Worker(), Worker()]

    def drive(pods: list[str]) -> None:
        with probe(kubectl, pods, "legal", tmp_path) as scored_by_every_pod:
            scored_by_every_pod()

    async with contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(served(worker)) for worker in workers]
        probing = asyncio.create_task(asyncio.to_thread(drive, [urlsplit(url).netloc for url in urls]))
        for worker in workers:
            await had(worker, worker.requests + 2)
            assert not probing.done()
            worker.adapters.add("legal")
        await asyncio.wait_for(probing, 15)


async def test_a_probe_that_no_pod_answers_tells_how_many_did(
    kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_module, "WAIT_S", 2.0)

    def drive(pods: list[str]) -> None:
        with probe(kubectl, pods, "legal", tmp_path) as scored_by_every_pod:
            scored_by_every_pod()

    async with served(Worker(adapters={"legal"})) as one, served(Worker()) as other:
        with pytest.raises(StepError, match="answered by 1 of 2 pods"):
            await asyncio.to_thread(drive, [urlsplit(one).netloc, urlsplit(other).netloc])
