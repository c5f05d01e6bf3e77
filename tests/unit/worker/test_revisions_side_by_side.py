"""Two revisions in one process: the operator tries one while clients have the other, and what goes is freed."""

import asyncio
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.torch import load_file

from reranker_worker.models import loading, parameters
from reranker_worker.scoring.model_runner import ModelRunner
from reranker_worker.serving import ScoreRequest
from tests.fixtures.checkpoints import bert_checkpoint, lora_adapter
from tests.fixtures.manifests import adapter, manifest, model
from tests.fixtures.worker_threads import WorkerThreads, worker_threads

BODY: dict[str, Any] = {"query": "fast python library", "documents": ["a small tool", "the python compiler"]}
RAW: dict[str, Any] = {"dtype": "float32", "scores": "raw"}
BOTH: dict[str, Any] = {"models": [model("m-1", **RAW), model("m-2", **RAW)], "candidates": {"t1": "m-2"}}
LEGAL = adapter("legal", "legal-1", required=True)


@pytest.fixture(scope="module")
def claim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A claim with two models that rank differently, and an adapter for both."""
    claim = tmp_path_factory.mktemp("claim")
    base = bert_checkpoint(claim / "m-1", seed=1)
    bert_checkpoint(claim / "m-2", seed=2)
    lora_adapter(claim / "legal-1", base)
    return claim


@pytest.fixture
async def pod(claim: Path, tmp_path: Path) -> AsyncIterator[WorkerThreads]:
    async with worker_threads(tmp_path, claim, manifest(**BOTH)) as pod:
        yield pod


async def edit(pod: WorkerThreads, generation: int, **members: Any) -> None:
    """Change the manifest and wait until the worker has come as far as it can."""
    await pod.edit(manifest(generation, **BOTH | members))


async def rerank(pod: WorkerThreads, pin: str | None = None, **members: Any) -> httpx.Response:
    headers = {} if pin is None else {"x-reranker-revision": pin}
    return await pod.clients.post("/v1/rerank", json=BODY | members, headers=headers)


async def try_out(pod: WorkerThreads, revision: str | None, **members: Any) -> httpx.Response:
    return await pod.internal.post("/score", json=BODY | {"revision": revision} | members)


def module_of(pod: WorkerThreads, revision: str) -> "weakref.ref[Any]":
    runner = pod.engine.serving.held[revision].model.runner
    assert isinstance(runner, ModelRunner)
    return weakref.ref(runner.module)


def scores(response: httpx.Response) -> list[float]:
    """Return a ranking's scores in the order of the documents."""
    assert response.status_code == 200, response.text
    return [item["relevance_score"] for item in sorted(response.json()["results"], key=lambda item: item["index"])]


async def test_a_candidate_is_loaded_beside_and_reported(pod: WorkerThreads) -> None:
    await edit(pod, 2, adapters=[LEGAL])
    state = pod.worker.state().document()
    assert state["ready"]
    assert [(entry["revision"], entry["phase"], entry["admitted"], entry["serving"]) for entry in state["models"]] == [
        ("m-1", "Loaded", True, True),
        ("m-2", "Loaded", False, False),
    ]
    assert [[item["revision"] for item in entry["adapters"]] for entry in state["models"]] == [["legal-1"]] * 2


async def test_the_operator_scores_with_any_revision_in_memory(pod: WorkerThreads) -> None:
    await edit(pod, 2, adapters=[LEGAL])
    tried = {revision: (await try_out(pod, revision)).json() for revision in ("m-1", "m-2")}
    assert tried["m-1"]["scores"] == scores(await rerank(pod))
    assert tried["m-1"]["scores"] != tried["m-2"]["scores"]
    for revision, answer in tried.items():
        assert set(answer) == {"revision", "adapterRevision", "scores", "milliseconds"}
        assert (answer["revision"], answer["adapterRevision"]) == (revision, None)
        assert answer["milliseconds"] > 0
    adapted = (await try_out(pod, "m-2", adapter="legal")).json()
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
    pod: WorkerThreads, change: dict[str, Any], status: int, code: str, said: str
) -> None:
    response = await try_out(pod, **{"revision": "m-2"} | change)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert said in response.json()["message"]


async def test_no_client_reaches_what_is_not_admitted(pod: WorkerThreads) -> None:
    refused = await rerank(pod, pin="m-2")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "RevisionUnknown")
    assert "may name m-1" in refused.json()["message"]
    assert (await rerank(pod)).headers["x-reranker-revision"] == "m-1"
    sie = await pod.clients.post(
        "/v1/score/m",
        json={"query": {"text": "q"}, "items": [{"text": "a"}]},
        headers={"x-reranker-revision": "m-2"},
    )
    assert (sie.status_code, sie.headers["x-sie-error-code"]) == (409, "REVISION_UNKNOWN")


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/v1/score/m"])
async def test_a_client_pins_a_revision_until_it_is_gone(pod: WorkerThreads, path: str) -> None:
    body = BODY | {"query": {"text": "q"}, "items": [{"text": "a"}]} if "score" in path else BODY

    async def pinned(revision: str) -> httpx.Response:
        return await pod.clients.post(path, json=body, headers={"x-reranker-revision": revision})

    await edit(pod, 2, admitted=["m-1", "m-2"])
    for revision in ("m-1", "m-2"):
        assert (await pinned(revision)).headers["x-reranker-revision"] == revision
    await edit(pod, 3, serve={"t1": "m-2"}, candidates={"t1": "m-1"}, admitted=["m-1", "m-2"])
    assert (await pinned("m-1")).headers["x-reranker-revision"] == "m-1"
    await edit(pod, 4, models=[BOTH["models"][1]], serve={"t1": "m-2"}, candidates={}, admitted=["m-2"])
    gone = await pinned("m-1")
    assert gone.status_code == 410
    assert "may name m-2" in gone.text
    assert (await pinned("m-2")).status_code == 200


async def test_a_pinned_revision_has_the_adapters_that_it_has(pod: WorkerThreads) -> None:
    await edit(pod, 2, admitted=["m-1", "m-2"], adapters=[LEGAL])
    pinned = await rerank(pod, pin="m-2", adapter="legal")
    assert (pinned.headers["x-reranker-revision"], pinned.headers["x-reranker-adapter"]) == ("m-2", "legal-1")
    assert scores(pinned) == (await try_out(pod, "m-2", adapter="legal")).json()["scores"]
    assert (await rerank(pod, pin="m-2", adapter="nope")).status_code == 404


async def test_the_flip_is_between_two_requests_and_the_old_model_goes_with_its_last_one(
    pod: WorkerThreads,
) -> None:
    expected = {revision: (await try_out(pod, revision)).json()["scores"] for revision in ("m-1", "m-2")}
    module = module_of(pod, "m-1")
    long = asyncio.create_task(pod.engine.score(ScoreRequest("web", ["fast small python library " * 30] * 1000)))
    await asyncio.sleep(0)
    alone: dict[str, Any] = {"models": [BOTH["models"][1]], "serve": {"t1": "m-2"}, "candidates": {}}
    answered = [asyncio.Event() for _ in range(3)]

    async def client(first: asyncio.Event) -> None:
        seen: set[str] = set()
        while seen != {"m-1", "m-2"}:
            response = await rerank(pod)
            revision = response.headers["x-reranker-revision"]
            assert scores(response) == pytest.approx(expected[revision], abs=1e-5)
            seen.add(revision)
            first.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as clients:
        for first in answered:
            clients.create_task(client(first))
        for first in answered:
            await first.wait()
        await edit(pod, 2, serve={"t1": "m-2"}, candidates={}, admitted=["m-1", "m-2"])
        await edit(pod, 3, **alone, admitted=["m-2"])
    assert not long.done()
    assert module() is not None
    assert (await long).revision == "m-1"
    del long
    await rerank(pod)  # the device thread has turned to something else
    assert module() is None


async def test_a_candidate_without_room_is_refused_before_it_is_read(
    claim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker_threads(tmp_path, claim, manifest()) as pod:
        weights = sum(tensor.nbytes for tensor in load_file(claim / "m-2" / "model.safetensors").values())
        monkeypatch.setattr(loading, "free_bytes", lambda _: weights + 1000)  # room for the weights, none for a batch
        monkeypatch.setattr(parameters, "read", None)
        await edit(pod, 2)
        first, second = pod.state()["models"]
        assert (first["phase"], second["phase"], second["reason"]) == ("Loaded", "Failed", "OutOfMemory")
        assert f"the weights need {weights} bytes and a batch" in second["message"]
        assert pod.state()["ready"]
        assert (await rerank(pod)).headers["x-reranker-revision"] == "m-1"
