"""What clients are answered: each dialect's envelope, its refusals, and the headers that say what scored."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
from pydantic import ValidationError

from reranker_worker.errors import DeadlineExceeded, FlagError, Overloaded, ScoringFailed, WorkerError
from reranker_worker.fetching.artifacts import ArtifactPhase, ArtifactStatus
from reranker_worker.manifest_files import Reading
from reranker_worker.reconciling.world import Beside, Failure, ModelLoad, Served
from reranker_worker.serving import ScoreRequest
from reranker_worker.settings import ServeSettings
from reranker_worker.web.app import client_app, internal_app
from reranker_worker.web.playground import content_security_policy
from reranker_worker.worker import Worker
from tests.fixtures.client_port import MANIFEST, SETTINGS, LengthScorer, http, observation
from tests.fixtures.manifests import manifest, model

BODY: dict[str, Any] = {"query": "q", "documents": ["aa", "aaaa", "a"]}


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
async def test_the_envelope_is_cohere_jina_and_vllm_at_once(path: str, client: httpx.AsyncClient) -> None:
    response = await client.post(path, json=BODY | {"model": "acme/ranker", "unknown": {"x": 1}})
    content = response.json()
    assert response.status_code == 200
    assert content["results"] == [
        {"index": 1, "relevance_score": 4.0},
        {"index": 0, "relevance_score": 2.0},
        {"index": 2, "relevance_score": 1.0},
    ]
    assert content["usage"] == {"prompt_tokens": 42, "total_tokens": 42}
    assert isinstance(content["meta"]["api_version"]["version"], str)
    assert (content["object"], content["model"]) == ("rerank", "acme/ranker")
    assert response.headers["x-reranker-revision"] == "m-1"
    assert "x-reranker-adapter" not in response.headers


async def test_members_that_clients_leave_at_their_own_defaults_mean_what_they_mean_there(
    client: httpx.AsyncClient,
) -> None:
    defaults = {"top_n": 0, "return_documents": None, "raw_scores": None}
    response = await client.post("/rerank", json={"query": "q", "documents": ["b", "a", "cc"], **defaults})
    assert [(each["index"], set(each)) for each in response.json()["results"]] == [
        (2, {"index", "relevance_score"}),
        (0, {"index", "relevance_score"}),
        (1, {"index", "relevance_score"}),
    ]


def counted(worker: Worker) -> dict[str, float]:
    """Return how many requests ended with each status."""
    samples = [sample for metric in worker.metrics.registry.collect() for sample in metric.samples]
    return {sample.labels["code"]: sample.value for sample in samples if sample.name == "reranker_requests_total"}


async def test_a_request_that_breaks_is_counted_as_one(
    worker: Worker, scorer: LengthScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: ScoreRequest) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(scorer, "score", broken)
    async with http(worker) as client:
        assert (await client.post("/rerank", json=BODY)).status_code == 500
    assert counted(worker) == {"500": 1}


async def test_a_client_that_goes_away_while_it_sends_is_no_error_of_the_server(worker: Worker) -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def nobody(_: Any) -> None:
        """Take what nobody reads."""

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/rerank",
        "headers": [],
        "query_string": b"",
        "app": None,
    }
    await client_app(worker, ServeSettings(**SETTINGS))(scope, gone, nobody)
    assert counted(worker) == {"499": 1}


async def test_ties_are_ranked_by_index_and_top_n_cuts(client: httpx.AsyncClient) -> None:
    response = await client.post("/rerank", json={"query": "q", "documents": ["b", "a", "cc", "d"], "top_n": 3})
    assert [item["index"] for item in response.json()["results"]] == [2, 0, 1]


async def test_documents_may_be_objects_and_come_back_as_objects(
    client: httpx.AsyncClient, scorer: LengthScorer
) -> None:
    documents = ["plain", {"text": "x" * 9}, {"text": "zzz", "title": "no"}]
    response = await client.post("/rerank", json={"query": "q", "documents": documents, "return_documents": True})
    assert [item["document"] for item in response.json()["results"]] == [
        {"text": "x" * 9},
        {"text": "plain"},
        {"text": "zzz"},
    ]
    await client.post(
        "/rerank",
        json={"query": "q", "documents": [{"title": "t", "body": "b", "n": 1}], "rank_fields": ["title", "body", "n"]},
    )
    assert scorer.asked[-1].documents == ["t\nb"]


async def test_raw_scores_are_asked_of_the_engine(client: httpx.AsyncClient, scorer: LengthScorer) -> None:
    await client.post("/rerank", json=BODY | {"raw_scores": True})
    assert scorer.asked[-1].raw_scores


@pytest.mark.parametrize(
    ("names", "adapter_asked"),
    [
        pytest.param({}, None, id="no name"),
        pytest.param({"model": "acme/ranker"}, None, id="served name"),
        pytest.param({"model": "m"}, None, id="resource's name"),
        pytest.param({"model": "acme/ranker:legal"}, "legal", id="served name and adapter"),
        pytest.param({"model": "m:legal"}, "legal", id="resource's name and adapter"),
        pytest.param({"adapter": "legal"}, "legal", id="adapter alone"),
        pytest.param({"model": "m:legal", "adapter": "legal"}, "legal", id="adapter said twice"),
    ],
)
async def test_names_that_are_served(
    names: dict[str, str], adapter_asked: str | None, client: httpx.AsyncClient, scorer: LengthScorer
) -> None:
    response = await client.post("/rerank", json=BODY | names)
    assert response.status_code == 200
    assert scorer.asked[-1].adapter == adapter_asked
    assert response.headers.get("x-reranker-adapter") == (adapter_asked and "legal-1")


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        pytest.param({"model": "other"}, 404, "there is 'acme/ranker', 'm'", id="unknown model"),
        pytest.param({"model": "other:legal"}, 404, "there is 'acme/ranker', 'm'", id="unknown model, known adapter"),
        pytest.param({"adapter": "nope"}, 404, "there is 'legal'", id="unknown adapter"),
        pytest.param({"model": "m:"}, 404, "there is 'legal'", id="empty adapter"),
        pytest.param({"adapter": "bad"}, 404, "there is 'legal'", id="failed adapter"),
        pytest.param({"adapter": "late"}, 503, "isn't loaded yet", id="adapter under way"),
        pytest.param({"model": "m:legal", "adapter": "late"}, 400, "another one", id="two adapters"),
        pytest.param({"documents": []}, 400, "documents is empty", id="no documents"),
        pytest.param({"documents": ["a"] * 9}, 400, "at most 8", id="too many documents"),
        pytest.param({"documents": ["a" * 500]}, 400, "at most 500", id="too many characters"),
        pytest.param({"instruction": "i" * 500}, 400, "query, instruction and documents hold 508", id="instruction"),
        pytest.param({"documents": [{"title": "t"}]}, 400, "documents.0: holds no text", id="an object without text"),
        pytest.param({"documents": "text"}, 400, "documents: ", id="not a list"),
        pytest.param({"query": ""}, 400, "query: ", id="empty query"),
        pytest.param({"query": None}, 400, "query: ", id="no query"),
        pytest.param({"top_n": -1}, 400, "top_n: ", id="top_n below 0"),
        pytest.param({"top_n": 10**30}, 400, "top_n: ", id="top_n beyond any integer"),
    ],
)
async def test_refusals(change: dict[str, Any], status: int, said: str, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/rerank", json=BODY | change)
    content = response.json()
    assert response.status_code == status
    assert said in content["message"]
    assert content["message"] == content["detail"] == content["error"]["message"]
    assert set(content["error"]) == {"message", "type", "code", "param"}
    assert ("retry-after" in response.headers) is (status == 503)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b'{"query": "\\ud800", "documents": ["a"]}', id="a lone surrogate"),
        pytest.param(b'{"query":' + b"[" * 3000, id="deeply nested"),
    ],
)
async def test_bodies_that_are_not_what_they_should_be(body: bytes, client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/rerank", content=body)).status_code == 400
    sie = await client.post("/v1/score/m", content=body, headers={"content-type": "application/msgpack"})
    assert (sie.status_code, sie.headers["x-sie-error-code"]) == (400, "INVALID_INPUT")


async def test_a_refusal_never_repeats_what_the_client_sent(client: httpx.AsyncClient) -> None:
    response = await client.post("/rerank", json={"query": {"secret": "hunter2"}, "documents": ["a"], "model": "m"})
    assert response.status_code == 400
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("error", "rerank", "sie"),
    [
        pytest.param(Overloaded("full", retry_after_s=2.2), (429, "3"), (503, "QUEUE_FULL"), id="overload"),
        pytest.param(DeadlineExceeded("late"), (504, None), (504, "INFERENCE_TIMEOUT"), id="deadline"),
        pytest.param(ScoringFailed("NaN"), (500, None), (500, "INTERNAL_ERROR"), id="no finite score"),
    ],
)
async def test_what_the_engine_refuses(
    error: WorkerError,
    rerank: tuple[int, str | None],
    sie: tuple[int, str],
    client: httpx.AsyncClient,
    scorer: LengthScorer,
) -> None:
    scorer.error = error
    response = await client.post("/v1/rerank", json=BODY)
    assert (response.status_code, response.headers.get("retry-after")) == rerank
    response = await client.post("/v1/score/m", json={"query": {"text": "q"}, "items": [{"text": "a"}]})
    assert (response.status_code, response.headers["x-sie-error-code"]) == sie
    assert response.headers.get("retry-after") == rerank[1]


@pytest.mark.parametrize("score", [math.nan, math.inf])
async def test_a_score_that_is_not_finite_is_never_sent(
    score: float, client: httpx.AsyncClient, scorer: LengthScorer
) -> None:
    scorer.scores = [1.0, score, 2.0]
    assert (await client.post("/rerank", json=BODY)).status_code == 500


async def test_an_error_in_the_server_is_told_without_its_details(
    client: httpx.AsyncClient, scorer: LengthScorer
) -> None:
    scorer.error = ZeroDivisionError("secret")  # type: ignore[assignment]
    response = await client.post("/rerank", json=BODY)
    assert response.status_code == 500
    assert response.json()["error"]["message"] == "the request failed in the server"


SIE_BODY: dict[str, Any] = {"query": {"id": "q7", "text": "q"}, "items": [{"text": "a"}, {"id": "long", "text": "aaa"}]}


@pytest.mark.parametrize(
    ("sent", "accept", "answered"),
    [
        pytest.param("application/msgpack", "application/msgpack", "application/msgpack", id="msgpack"),
        pytest.param("application/x-msgpack", "*/*", "application/msgpack", id="its older name"),
        pytest.param("application/json", "application/json", "application/json", id="JSON"),
        pytest.param("application/json", "*/*", "application/msgpack", id="JSON in, msgpack out"),
    ],
)
async def test_the_sie_sdk_is_answered_in_what_it_accepts(
    sent: str, accept: str, answered: str, client: httpx.AsyncClient
) -> None:
    content = msgpack.packb(SIE_BODY) if "msgpack" in sent else json.dumps(SIE_BODY).encode()
    headers = {"content-type": sent, "accept": accept}
    response = await client.post("/v1/score/acme/ranker", content=content, headers=headers)
    assert response.headers["content-type"] == answered
    assert (msgpack.unpackb(response.content) if "msgpack" in answered else response.json()) == {
        "model": "acme/ranker",
        "query_id": "q7",
        "scores": [{"item_id": "long", "score": 3.0, "rank": 0}, {"item_id": "item-0", "score": 1.0, "rank": 1}],
        "usage": {"input_tokens": 42},
    }
    assert float(response.headers["x-queue-time"]) == 1.5
    assert {"x-tokenization-time", "x-inference-time", "x-total-time", "x-reranker-revision"} <= set(response.headers)


async def test_the_sie_sdk_names_an_adapter_by_lora_id(client: httpx.AsyncClient, scorer: LengthScorer) -> None:
    response = await client.post("/v1/score/acme/ranker", json=SIE_BODY | {"options": {"lora_id": "legal", "x": 1}})
    assert scorer.asked[-1].adapter == "legal"
    assert response.headers["x-reranker-adapter"] == "legal-1"
    unknown = await client.post("/v1/score/acme/ranker", json=SIE_BODY | {"options": {"lora_id": "nope"}})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == unknown.headers["x-sie-error-code"] == "MODEL_NOT_FOUND"


async def test_sie_items_must_not_be_empty(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/score/m", json=SIE_BODY | {"items": []})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "INVALID_INPUT")


async def test_while_nothing_is_admitted_nobody_is_answered(client: httpx.AsyncClient, worker: Worker) -> None:
    worker.reconciler.observation = observation(served=Served(None, {}, 7))
    response = await client.post("/v1/rerank", json=BODY)
    assert (response.status_code, "retry-after" in response.headers) == (503, True)
    response = await client.post("/v1/score/m", json=SIE_BODY)
    assert (response.status_code, response.headers["x-sie-error-code"]) == (503, "MODEL_LOADING")
    assert [(await client.get(path)).status_code for path in ("/health", "/readyz", "/ping", "/healthz")] == [
        *(503, 503, 503),
        200,
    ]


async def test_a_model_that_failed_to_load_is_not_worth_waiting_for(client: httpx.AsyncClient, worker: Worker) -> None:
    source = MANIFEST.models[0].source
    worker.reconciler.observation = observation(
        models=set(),
        served=Served(None, {}, 7),
        artifacts={source: ArtifactStatus(ArtifactPhase.COMPLETE, digest="sha256:m")},
        failures={ModelLoad(MANIFEST.models[0], "sha256:m"): Failure("MissingHead", "m-1: no head")},
    )
    response = await client.post("/v1/score/m", json=SIE_BODY)
    assert (response.status_code, response.headers["x-sie-error-code"]) == (502, "MODEL_LOAD_FAILED")
    assert "retry-after" not in response.headers


async def test_a_candidate_that_failed_does_not_make_clients_give_up(client: httpx.AsyncClient, worker: Worker) -> None:
    both = manifest(7, models=[model("m-2"), model("m-1")], candidates={"t1": "m-2"})
    candidate = both.models[0]
    worker.reconciler.observation = observation(
        manifest=both,
        models=set(),
        served=Served(None, {}, 7),
        artifacts={candidate.source: ArtifactStatus(ArtifactPhase.COMPLETE, digest="sha256:m")},
        failures={ModelLoad(candidate, "sha256:m"): Failure("MissingHead", "m-2: no head")},
    )
    response = await client.post("/rerank", json=BODY)
    assert (response.status_code, "retry-after" in response.headers) == (503, True)
    (sie,) = (await client.get("/v1/models")).json()["models"]
    assert (sie["state"], sie["last_error"]) == ("loading", None)


async def test_models_are_listed_for_openai_and_for_sie(client: httpx.AsyncClient) -> None:
    content = (await client.get("/v1/models")).json()
    assert [(entry["id"], entry["parent"]) for entry in content["data"]] == [
        ("acme/ranker", None),
        ("acme/ranker:legal", "acme/ranker"),
    ]
    (sie,) = content["models"]
    assert (sie["name"], sie["outputs"], sie["loaded"], sie["max_sequence_length"]) == (
        "acme/ranker",
        ["score"],
        True,
        512,
    )
    assert (await client.get("/v1/models/acme/ranker:legal")).json()["parent"] == "acme/ranker"
    assert (await client.get("/v1/models/acme/other")).status_code == 404
    assert (await client.get("/info")).json()["revision"] == "m-1"


@pytest.mark.parametrize("raw", [False, True])
async def test_infinity_gets_its_documents_back_as_texts(raw: bool, client: httpx.AsyncClient) -> None:
    asked = BODY | {"return_documents": True, "raw_scores": raw, "model": "default/not-specified"}
    results = (await client.post("/rerank", json=asked)).json()["results"]
    assert [result["document"] for result in results] == ["aaaa", "aa", "a"]


async def test_models_are_listed_for_infinity_with_how_much_waits(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/models")).json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["acme/ranker", "acme/ranker:legal"]
    assert {model["owned_by"] for model in listed["data"]} == {"infinity"}
    assert listed["data"][0]["stats"] == {"queue_fraction": 0.25, "queue_absolute": 3}


async def test_the_revisions_that_can_be_pinned_are_listed(client: httpx.AsyncClient, worker: Worker) -> None:
    others = {"m-0": Beside(admitted=True), "m-2": Beside(admitted=False)}
    worker.reconciler.observation = observation(served=Served("m-1", others=others))
    assert (await client.get("/info")).json()["revisions"] == ["m-1", "m-0"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/rerank", 405)])
async def test_unknown_routes_get_the_error_envelope(
    method: str, path: str, status: int, client: httpx.AsyncClient
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    assert "error" in response.json()


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/rerank", "POST"), ("POST", "/v1/models", "GET")])
async def test_another_method_is_told_which_one_is_known(
    method: str, path: str, allowed: str, client: httpx.AsyncClient
) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)
    assert response.json()["error"]["code"] == "MethodNotAllowed"


@pytest.mark.parametrize("path", ["/v1/rerank/", "//v1/rerank", "/v1//rerank"])
async def test_slashes_too_many_of_a_base_url_change_nothing(path: str, client: httpx.AsyncClient) -> None:
    response = await client.post(f"http://worker{path}", json=BODY, headers={"host": "elsewhere"})
    assert (response.status_code, len(response.json()["results"])) == (200, 3)


@pytest.mark.parametrize("path", ["/docs/", "/playground/"])
async def test_a_page_is_nowhere_but_where_its_links_lead_from(
    path: str, client: httpx.AsyncClient, worker: Worker
) -> None:
    worker.reconciler.observation = observation(manifest=replace(MANIFEST, playground=True))
    assert (await client.get(path)).status_code == 404
    assert (await client.get(path.rstrip("/"))).status_code == 200


async def test_a_host_that_is_none_changes_nothing(client: httpx.AsyncClient) -> None:
    for host in ("[", "a/v1/score/x", "a?b"):
        assert "error" in (await client.post("/v1/rerank", json={}, headers={"host": host})).json()
        assert (await client.get("/v1/models/x", headers={"host": host})).status_code == 404


async def test_a_body_that_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    declared = await client.post("/rerank", content=b"x" * 4001)
    assert (declared.status_code, declared.headers["connection"]) == (413, "close")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * 500

    chunked = await client.post("/rerank", content=chunks())
    assert chunked.status_code == 413
    sie = await client.post("/v1/score/m", content=b"x" * 4001)
    assert (sie.status_code, sie.headers["x-sie-error-code"]) == (400, "INVALID_INPUT")


async def test_a_body_that_does_not_arrive_in_time_is_refused(worker: Worker) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    async with http(worker, body_timeout_s=0.05) as client:
        assert (await client.post("/rerank", content=slow())).status_code == 408


async def test_a_draining_worker_answers_and_asks_for_the_connection_to_be_closed(
    client: httpx.AsyncClient, worker: Worker
) -> None:
    assert "connection" not in (await client.post("/rerank", json=BODY)).headers
    worker.drain()
    response = await client.post("/rerank", json=BODY)
    assert (response.status_code, response.headers["connection"]) == (200, "close")
    assert (await client.get("/readyz")).status_code == 503


@pytest.mark.parametrize(("parked", "closes"), [(["t1"], True), (["t2"], False)], ids=["its own", "another"])
async def test_a_worker_of_a_parked_template_answers_and_asks_for_the_connection_to_be_closed(
    client: httpx.AsyncClient, worker: Worker, parked: list[str], closes: bool
) -> None:
    told = manifest(8, parked=parked)
    worker.reconciler.observation = replace(worker.observation, reading=Reading(told, told))
    response = await client.post("/rerank", json=BODY)
    assert (response.status_code, response.headers.get("connection") == "close") == (200, closes)
    assert (await client.get("/readyz")).status_code == 200


async def test_a_client_that_goes_away_cancels_its_scoring(worker: Worker, scorer: LengthScorer) -> None:
    scorer.hold = asyncio.Event()
    body = json.dumps(BODY).encode()
    messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
    sent = []

    async def receive() -> Any:
        await asyncio.sleep(0.01)
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/rerank", "query_string": b"", "headers": []}
    await asyncio.wait_for(client_app(worker, ServeSettings(**SETTINGS))(scope, receive, send), 5)
    assert scorer.cancelled
    assert sent[0]["status"] == 499


async def test_the_playground_is_off_unless_the_manifest_has_it(client: httpx.AsyncClient, worker: Worker) -> None:
    refused = await client.get("/playground")
    assert refused.status_code == 404
    assert "spec.playground" in refused.json()["message"]
    worker.reconciler.observation = observation(manifest=replace(MANIFEST, playground=True))
    page = await client.get("/playground")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_the_playgrounds_policy_allows_its_own_script_and_style_alone() -> None:
    page = '<style>a</style><script type="module">b</script>'
    policy = dict(part.split(" ", 1) for part in content_security_policy(page).split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'sha256-PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0='"
    assert policy["style-src"] == "'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='"


def test_the_playgrounds_flag_is_refused_where_the_manifest_decides() -> None:
    assert ServeSettings(_cli_parse_args=["--model=m", "--playground"]).playground
    with pytest.raises(ValidationError, match="in Kubernetes the model turns it on by"):
        ServeSettings(_cli_parse_args=["--template=t1", "--playground"])


async def test_with_keys_the_playgrounds_page_alone_is_open(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("first\n")
    worker.reconciler.observation = observation(manifest=replace(MANIFEST, playground=True))
    async with http(worker, api_keys_file=tmp_path / "keys") as client:
        assert (await client.get("/playground")).status_code == 200
        for path in ("/playground/", "/playground/x", "/openapi.json"):
            assert (await client.get(path)).status_code == 401, path


async def test_requests_refused_before_they_are_read_are_counted(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("first\n")
    async with http(worker, api_keys_file=tmp_path / "keys", max_body_bytes=20) as client:
        for key, status in (("rotated", 401), ("first", 413), ("first", 413)):
            answer = await client.post("/rerank", json=BODY, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status
        assert (await client.get("/v1/models")).status_code == 401
    count = worker.metrics.registry.get_sample_value
    assert count("reranker_refusals_total", {"reason": "Unauthorized"}) == 2
    assert count("reranker_refusals_total", {"reason": "TooLarge"}) == 2
    for code, expected in (("401", 1), ("413", 2)):
        labels = {"model": MANIFEST.served_name, "api": "rerank", "code": code, "revision": ""}
        assert count("reranker_requests_total", labels) == expected


async def test_with_keys_every_route_wants_one_and_rotation_needs_no_restart(worker: Worker, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first\n\nsecond\n")
    async with http(worker, api_keys_file=keys) as client:
        for path in ("/rerank", "/v1/score/m", "/v1/models", "/health", "/info", "/nothing"):
            response = await client.post(path, json=BODY)
            assert response.status_code == 401, path
        for value in ("Bearer first", "bearer second", "second"):
            assert (await client.post("/rerank", json=BODY, headers={"authorization": value})).status_code == 200
        for value in ("", "Bearer", "Bearer ", "Bearer fir", "Basic first"):
            assert (await client.post("/rerank", json=BODY, headers={"authorization": value})).status_code == 401
        keys.write_text("third\n")
        assert (await client.post("/rerank", json=BODY, headers={"authorization": "Bearer first"})).status_code == 401
        assert (await client.post("/rerank", json=BODY, headers={"authorization": "Bearer third"})).status_code == 200


async def test_keys_go_on_while_their_file_is_gone(worker: Worker, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first\n")
    async with http(worker, api_keys_file=keys) as client:
        keys.unlink()
        for key, status in (("first", 200), ("other", 401), ("first", 200)):
            answer = await client.post("/rerank", json=BODY, headers={"authorization": key})
            assert answer.status_code == status
        keys.write_text("second\n")
        for key, status in (("first", 401), ("second", 200)):
            answer = await client.post("/rerank", json=BODY, headers={"authorization": key})
            assert answer.status_code == status


def test_a_file_of_keys_that_is_not_there_is_refused_at_the_start(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(FlagError, match=r"--api-keys-file: .*/keys can't be read: No such file"):
        client_app(worker, ServeSettings(**SETTINGS, api_keys_file=tmp_path / "keys"))


async def test_keys_are_bytes_in_whatever_encoding(worker: Worker, tmp_path: Path) -> None:
    utf8, latin1 = "schlüssel".encode(), "schlüssel".encode("latin-1")
    (tmp_path / "keys").write_bytes(utf8 + b"\r\n" + latin1)
    async with http(worker, api_keys_file=tmp_path / "keys") as client:
        for key, status in ((utf8, 200), (latin1, 200), (b"schl", 401)):
            response = await client.post("/rerank", json=BODY, headers={b"authorization": b"Bearer " + key})
            assert response.status_code == status, key


@pytest.fixture
async def internal(worker: Worker) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(internal_app(worker, ServeSettings(**SETTINGS)))
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
        yield client


async def test_the_state_is_the_contracts_document(internal: httpx.AsyncClient) -> None:
    state = (await internal.get("/state")).json()
    assert (state["pod"], state["template"], state["observedGeneration"]) == ("pod-a", "t1", 7)
    assert (state["ready"], state["draining"], state["reason"], state["message"]) == (True, False, "", "")
    assert [(model["revision"], model["phase"], model["admitted"], model["serving"]) for model in state["models"]] == [
        ("m-1", "Loaded", True, True)
    ]
    assert [(entry["name"], entry["phase"], entry["reason"]) for entry in state["adapters"]] == [
        ("legal", "Loaded", ""),
        ("late", "Pending", ""),
        ("bad", "Failed", "InvalidAdapter"),
    ]
    assert len(state["bootId"]) == 32


async def test_an_unready_worker_says_why(internal: httpx.AsyncClient, worker: Worker) -> None:
    worker.reconciler.observation = observation(served=Served(None, {}, 7))
    response = await internal.get("/readyz")
    assert (response.status_code, response.text) == (503, "m-1 isn't admitted yet")
    assert (await internal.get("/livez")).status_code == 200
    worker.drain()
    assert (await internal.get("/readyz")).text == "draining"


async def test_liveness_is_the_device_threads_heartbeat_and_the_device(
    internal: httpx.AsyncClient, scorer: LengthScorer
) -> None:
    scorer.silence_s = 31
    assert (await internal.get("/livez")).status_code == 503
    scorer.silence_s = 0
    scorer.fatal = WorkerError("DeviceLost", "CUDA error: an illegal memory access")
    assert (await internal.get("/livez")).status_code == 503
    assert (await internal.get("/readyz")).status_code == 503
    assert not scorer.asked


@pytest.mark.parametrize("version", ["1.x", "abc", "1..0", ""])
async def test_metrics_come_as_plain_text_where_a_version_is_none(version: str, internal: httpx.AsyncClient) -> None:
    for kind in ("application/openmetrics-text", "text/plain"):
        response = await internal.get("/metrics", headers={"accept": f"{kind}; version={version}; q=x, */*"})
        assert response.status_code == 200
        assert "reranker_queue_pairs" in response.text


async def test_requests_are_counted_by_model_api_and_code(
    client: httpx.AsyncClient, internal: httpx.AsyncClient
) -> None:
    await client.post("/rerank", json=BODY)
    await client.post("/v1/score/m", json=SIE_BODY | {"items": []})
    metrics = (await internal.get("/metrics")).text
    assert 'reranker_requests_total{api="rerank",code="200",model="acme/ranker",revision="m-1"} 1.0' in metrics
    assert 'reranker_requests_total{api="sie",code="400",model="acme/ranker",revision=""} 1.0' in metrics


async def test_documents_that_were_cut_are_counted_by_what_scored_them(
    client: httpx.AsyncClient, internal: httpx.AsyncClient
) -> None:
    for documents in (["short", "long " * 9, "long " * 8], ["short"]):
        await client.post("/rerank", json={"query": "q", "documents": documents})
    await client.post("/rerank", json={"query": "q", "documents": ["short"], "model": "acme/ranker:legal"})
    metrics = (await internal.get("/metrics")).text
    assert 'reranker_answered_pairs_total{adapter="",revision="m-1"} 4.0' in metrics
    assert 'reranker_truncated_documents_total{adapter="",revision="m-1"} 2.0' in metrics
    assert 'reranker_truncated_documents_total{adapter="legal-1",revision="m-1"} 0.0' in metrics
