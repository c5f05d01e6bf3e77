"""Two revisions in one process: the operator tries one while clients have the other, and what goes is freed."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from reranker_worker.app import client_app, internal_app
from reranker_worker.artifacts import Completion
from reranker_worker.asgi import App
from reranker_worker.cache import ArtifactCache
from reranker_worker.engine import Engine
from reranker_worker.manifest import Manifest, Source
from reranker_worker.manifest_files import Reading
from reranker_worker.metrics import Metrics
from reranker_worker.model_runner import ModelRunner
from reranker_worker.reconciler import Reconciler
from reranker_worker.serving import Limits, ScoreRequest
from reranker_worker.settings import ServeSettings
from reranker_worker.worker import Worker
from tests.fixtures.checkpoints import bert_checkpoint, lora_adapter
from tests.fixtures.manifests import adapter, manifest, model

BODY: dict[str, Any] = {"query": "fast python library", "documents": ["a small tool", "the python compiler"]}
RAW: dict[str, Any] = {"dtype": "float32", "scores": "raw"}
BOTH: dict[str, Any] = {"models": [model("m-1", **RAW), model("m-2", **RAW)], "candidates": {"t1": "m-2"}}
LEGAL = adapter("legal", "legal-1", required=True)


@dataclass
class EditedManifest:
    manifest: Manifest

    def read(self) -> Reading:
        return Reading(self.manifest, self.manifest)


@dataclass
class Pod:
    """A worker without processes: the real engine and reconciler, and both ports."""

    worker: Worker
    engine: Engine
    manifests: EditedManifest
    clients: httpx.AsyncClient
    internal: httpx.AsyncClient

    async def edit(self, generation: int, **members: Any) -> None:
        """Change the manifest and wait until the worker has come as far as it can."""
        self.manifests.manifest = manifest(generation, **BOTH | members)
        await self.until(lambda state: state["observedGeneration"] == generation and _is_settled(state))

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition(self.worker.state().document()):  # noqa: ASYNC110 - another thread's state
                await asyncio.sleep(0.01)

    async def rerank(self, pin: str | None = None, **members: Any) -> httpx.Response:
        headers = {} if pin is None else {"x-reranker-revision": pin}
        return await self.clients.post("/v1/rerank", json=BODY | members, headers=headers)

    async def try_out(self, revision: str | None, **members: Any) -> httpx.Response:
        return await self.internal.post("/score", json=BODY | {"revision": revision} | members)

    def module(self, revision: str) -> "weakref.ref[Any]":
        runner = self.engine.serving.held[revision].model.runner
        assert isinstance(runner, ModelRunner)
        return weakref.ref(runner.module)


def _is_settled(state: dict[str, Any]) -> bool:
    items = [item for model in state["models"] for item in (model, *model["adapters"])]
    return all(item["phase"] in {"Loaded", "Failed"} for item in items)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ArtifactCache:
    """A cache with two models that rank differently, and an adapter for both."""
    folder = tmp_path_factory.mktemp("pod")
    cache = ArtifactCache(folder / "cache", folder / "run")
    base = bert_checkpoint(cache.partial(Source("pvc://models/m-1")), seed=1)
    bert_checkpoint(cache.partial(Source("pvc://models/m-2")), seed=2)
    lora_adapter(cache.partial(Source("pvc://models/legal-1")), base)
    for name in ("m-1", "m-2", "legal-1"):
        source = Source(f"pvc://models/{name}")
        cache.publish(source, Completion(source.uri, None, f"sha256:{name}", {}))
    return cache


@pytest.fixture
async def pod(cache: ArtifactCache) -> AsyncIterator[Pod]:
    engine, manifests = Engine(Limits(), "cpu"), EditedManifest(manifest(**BOTH))
    reconciler = Reconciler(manifests, "t1", cache, engine)
    worker, settings = Worker(engine, reconciler, Metrics()), ServeSettings(template="t1", max_documents=8)
    stop = threading.Event()
    thread = threading.Thread(target=reconciler.run, args=(stop,))
    async with _http(client_app(worker, settings)) as clients, _http(internal_app(worker, settings)) as internal:
        engine.start()
        thread.start()
        pod = Pod(worker, engine, manifests, clients, internal)
        await pod.until(lambda state: len(state["models"]) == 2 and _is_settled(state))
        yield pod
        stop.set()
        thread.join()
        engine.close()


def _http(app: App) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker", timeout=60)


def _scores(response: httpx.Response) -> list[float]:
    """Return a ranking's scores in the order of the documents."""
    assert response.status_code == 200, response.text
    return [item["relevance_score"] for item in sorted(response.json()["results"], key=lambda item: item["index"])]


async def test_a_candidate_is_loaded_beside_and_reported(pod: Pod) -> None:
    await pod.edit(2, adapters=[LEGAL])
    state = pod.worker.state().document()
    assert state["ready"]
    assert [(entry["revision"], entry["phase"], entry["admitted"], entry["serving"]) for entry in state["models"]] == [
        ("m-1", "Loaded", True, True),
        ("m-2", "Loaded", False, False),
    ]
    assert [[item["revision"] for item in entry["adapters"]] for entry in state["models"]] == [["legal-1"]] * 2


async def test_the_operator_scores_with_any_revision_in_memory(pod: Pod) -> None:
    await pod.edit(2, adapters=[LEGAL])
    tried = {revision: (await pod.try_out(revision)).json() for revision in ("m-1", "m-2")}
    assert tried["m-1"]["scores"] == _scores(await pod.rerank())
    assert tried["m-1"]["scores"] != tried["m-2"]["scores"]
    for revision, answer in tried.items():
        assert set(answer) == {"revision", "adapterRevision", "scores", "milliseconds"}
        assert (answer["revision"], answer["adapterRevision"]) == (revision, None)
        assert answer["milliseconds"] > 0
    adapted = (await pod.try_out("m-2", adapter="legal")).json()
    assert adapted["adapterRevision"] == "legal-1"
    assert adapted["scores"] != tried["m-2"]["scores"]


@pytest.mark.parametrize(
    ("change", "status", "code", "said"),
    [
        pytest.param({"revision": "m-9"}, 404, "NotFound", "there is m-1, m-2", id="not in memory"),
        pytest.param({"revision": None}, 400, "InvalidRequest", "revision: ", id="no revision"),
        pytest.param({"adapter": "legal"}, 404, "NotFound", "adapter", id="no such adapter"),
        pytest.param({"documents": []}, 400, "InvalidRequest", "is empty", id="no documents"),
        pytest.param({"documents": ["a"] * 9}, 400, "InvalidRequest", "at most 8", id="too many documents"),
        pytest.param({"documents": ["a" * 9_000_000]}, 400, "InvalidRequest", "at most", id="too many characters"),
        pytest.param({"documents": [{"text": "a"}]}, 400, "InvalidRequest", "documents.0", id="not texts"),
        pytest.param({"documents": ["a" * 17_000_000]}, 413, "TooLarge", "bytes", id="too large a body"),
    ],
)
async def test_a_trial_that_makes_no_sense_is_refused(
    pod: Pod, change: dict[str, Any], status: int, code: str, said: str
) -> None:
    response = await pod.try_out(**{"revision": "m-2"} | change)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert said in response.json()["message"]


async def test_no_client_reaches_what_is_not_admitted(pod: Pod) -> None:
    refused = await pod.rerank(pin="m-2")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "RevisionUnknown")
    assert "may name m-1" in refused.json()["message"]
    assert (await pod.rerank()).headers["x-reranker-revision"] == "m-1"
    sie = await pod.clients.post(
        "/v1/score/m",
        json={"query": {"text": "q"}, "items": [{"text": "a"}]},
        headers={"x-reranker-revision": "m-2"},
    )
    assert (sie.status_code, sie.headers["x-sie-error-code"]) == (409, "REVISION_UNKNOWN")


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/v1/score/m"])
async def test_a_client_pins_a_revision_until_it_is_gone(pod: Pod, path: str) -> None:
    body = BODY | {"query": {"text": "q"}, "items": [{"text": "a"}]} if "score" in path else BODY

    async def pinned(revision: str) -> httpx.Response:
        return await pod.clients.post(path, json=body, headers={"x-reranker-revision": revision})

    await pod.edit(2, admitted=["m-1", "m-2"])
    for revision in ("m-1", "m-2"):
        assert (await pinned(revision)).headers["x-reranker-revision"] == revision
    await pod.edit(3, serve={"t1": "m-2"}, candidates={"t1": "m-1"}, admitted=["m-1", "m-2"])
    assert (await pinned("m-1")).headers["x-reranker-revision"] == "m-1"
    await pod.edit(4, models=[BOTH["models"][1]], serve={"t1": "m-2"}, candidates={}, admitted=["m-2"])
    gone = await pinned("m-1")
    assert gone.status_code == 410
    assert "may name m-2" in gone.text
    assert (await pinned("m-2")).status_code == 200


async def test_a_pinned_revision_has_the_adapters_that_it_has(pod: Pod) -> None:
    await pod.edit(2, admitted=["m-1", "m-2"], adapters=[LEGAL])
    pinned = await pod.rerank(pin="m-2", adapter="legal")
    assert (pinned.headers["x-reranker-revision"], pinned.headers["x-reranker-adapter"]) == ("m-2", "legal-1")
    assert _scores(pinned) == (await pod.try_out("m-2", adapter="legal")).json()["scores"]
    assert (await pod.rerank(pin="m-2", adapter="nope")).status_code == 404


async def test_the_flip_is_between_two_requests_and_the_old_model_is_freed_after_its_last_one(pod: Pod) -> None:
    expected = {revision: (await pod.try_out(revision)).json()["scores"] for revision in ("m-1", "m-2")}
    module = pod.module("m-1")
    long = asyncio.create_task(pod.engine.score(ScoreRequest("web", ["fast small python library " * 30] * 1000)))
    await asyncio.sleep(0)
    alone: dict[str, Any] = {"models": [BOTH["models"][1]], "serve": {"t1": "m-2"}, "candidates": {}}
    running = True

    async def client() -> set[str]:
        seen = set()
        while running:
            response = await pod.rerank()
            revision = response.headers["x-reranker-revision"]
            assert _scores(response) == pytest.approx(expected[revision], abs=1e-5)
            seen.add(revision)
        return seen

    clients = [asyncio.create_task(client()) for _ in range(3)]
    await asyncio.sleep(0.05)
    await pod.edit(2, serve={"t1": "m-2"}, candidates={}, admitted=["m-1", "m-2"])
    await pod.edit(3, **alone, admitted=["m-2"])
    assert not long.done()
    assert module() is not None
    running = False
    assert [await task for task in clients] == [{"m-1", "m-2"}] * 3
    assert (await long).revision == "m-1"
    del long
    await pod.rerank()  # the device thread has turned to something else
    assert module() is None
