"""Clients of TEI, Weaviate, Elasticsearch and vLLM: told by their bodies, answered in what their parsers take."""

from typing import Any

import httpx
import pytest

from reranker_worker.errors import Overloaded, RequestError, RetryableRequestError
from reranker_worker.web.dialects.rerank import RERANK
from reranker_worker.web.dialects.sie import SIE
from reranker_worker.web.dialects.tei import TEI
from reranker_worker.web.dialects.vllm_score import VLLM_SCORE
from reranker_worker.web.dialects.voyage import VOYAGE
from tests.fixtures.client_port import LengthScorer

TEXTS = ["aa", "aaaa", "a"]
TEI_BODY: dict[str, Any] = {"query": "q", "texts": TEXTS}
WEAVIATE_BODY: dict[str, Any] = {"query": "q", "documents": TEXTS, "property": "content"}
RANKS = [{"index": 1, "score": 4.0}, {"index": 0, "score": 2.0}, {"index": 2, "score": 1.0}]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
async def test_texts_are_answered_as_tei_does_by_a_bare_list(path: str, client: httpx.AsyncClient) -> None:
    response = await client.post(path, json=TEI_BODY | {"truncate": True, "truncation_direction": "Right"})
    assert response.status_code == 200
    assert response.json() == RANKS
    assert response.headers["x-reranker-revision"] == "m-1"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({"return_text": True}, [rank | {"text": TEXTS[int(rank["index"])]} for rank in RANKS], id="text"),
        pytest.param({"top_n": 1}, RANKS[:1], id="Elasticsearch 9: top_n"),
    ],
)
async def test_a_rank_holds_these_keys_and_no_others(
    asked: dict[str, Any], expected: list[dict[str, Any]], client: httpx.AsyncClient
) -> None:
    assert (await client.post("/rerank", json=TEI_BODY | asked)).json() == expected


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/rerank", TEI_BODY | {"raw_scores": True}, id="TEI"),
        pytest.param("/rerank", {"query": "q", "documents": TEXTS, "use_activation": False}, id="vLLM rerank"),
        pytest.param("/score", {"text_1": "q", "text_2": TEXTS, "use_activation": False}, id="vLLM score"),
    ],
)
async def test_each_client_has_its_word_for_raw_scores(
    path: str, body: dict[str, Any], client: httpx.AsyncClient, scorer: LengthScorer
) -> None:
    assert (await client.post(path, json=body)).status_code == 200
    assert scorer.asked[-1].raw_scores


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/rerank", TEI_BODY, id="TEI"),
        pytest.param("/score", {"text_1": "q", "text_2": TEXTS}, id="vLLM"),
    ],
)
@pytest.mark.parametrize(
    ("chosen", "status"),
    [
        pytest.param({"adapter": "legal"}, 200, id="by its field"),
        pytest.param({"model": "acme/ranker:legal"}, 200, id="by the model's name"),
        pytest.param({"adapter": "nobody"}, 404, id="unknown"),
    ],
)
async def test_an_adapter_can_be_chosen_and_an_unknown_one_is_an_error(
    path: str, body: dict[str, Any], chosen: dict[str, str], status: int, client: httpx.AsyncClient
) -> None:
    response = await client.post(path, json=body | chosen)
    assert response.status_code == status
    assert response.headers.get("x-reranker-adapter") == ("legal-1" if status == 200 else None)


async def test_weaviate_has_every_document_back_in_its_order(client: httpx.AsyncClient) -> None:
    response = await client.post("/rerank", json=WEAVIATE_BODY)
    assert response.json() == {
        "scores": [
            {"document": "aa", "score": 2.0},
            {"document": "aaaa", "score": 4.0},
            {"document": "a", "score": 1.0},
        ]
    }


@pytest.mark.parametrize("path", ["/.well-known/ready", "/.well-known/live", "/meta"])
async def test_weaviate_finds_what_it_asks_before_the_first_query(path: str, client: httpx.AsyncClient) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert isinstance(response.json(), dict)


def text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"text_1": "q", "text_2": TEXTS}, id="text_1"),
        pytest.param({"text_1": ["q"], "text_2": TEXTS}, id="a list of one"),
        pytest.param({"queries": "q", "documents": TEXTS}, id="queries"),
        pytest.param({"queries": "q", "items": TEXTS}, id="queries and items"),
        pytest.param({"data_1": ["q"], "data_2": TEXTS}, id="data_1"),
        pytest.param({"text_1": {"content": [text_part("q")]}, "text_2": TEXTS}, id="a query in parts"),
        pytest.param(
            {"queries": "q", "items": ["aa", {"content": [text_part("aa"), text_part("a")]}, "a"]}, id="two parts"
        ),
    ],
)
async def test_vllm_has_scores_in_the_order_of_its_texts(
    path: str, body: dict[str, Any], client: httpx.AsyncClient
) -> None:
    content = (await client.post(path, json=body)).json()
    assert content["object"] == "list"
    assert content["data"] == [
        {"index": index, "object": "score", "score": float(len(text))} for index, text in enumerate(TEXTS)
    ]
    assert content["usage"] == {"prompt_tokens": 42, "total_tokens": 42}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"text_1": "q"}, "text_1 and text_2", id="one side"),
        pytest.param({"text_1": "q", "documents": TEXTS}, "text_1 and text_2", id="sides of two kinds"),
        pytest.param({"text_1": ["q", "r"], "text_2": TEXTS}, "text_1 holds 2 texts and text_2 3", id="no pairs"),
        pytest.param({"text_1": [], "text_2": TEXTS}, "text_1 holds 0 texts", id="no query"),
        pytest.param({"text_1": "q", "text_2": []}, "text_2 is empty", id="nothing to score"),
        pytest.param({"queries": "q", "text_2": TEXTS}, "or data_1 and data_2 are needed", id="sides of newer kinds"),
        pytest.param({"text_1": "q", "text_2": {"content": []}}, "text_2.", id="no parts"),
        pytest.param(
            {"text_1": "q", "text_2": {"content": [{"type": "image_url", "image_url": {"url": "x"}}]}},
            "text_2.parts.content.0.type: Input should be 'text'",
            id="an image",
        ),
    ],
)
async def test_vllm_is_told_what_a_score_needs(body: dict[str, Any], said: str, client: httpx.AsyncClient) -> None:
    response = await client.post("/score", json=body)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]


async def test_a_body_of_two_dialects_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/rerank", json=TEI_BODY | {"documents": TEXTS})
    assert response.status_code == 400
    assert "texts and documents" in response.json()["message"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            {"query": "q", "texts": []},
            (400, {"error": "texts is empty; at least one is needed", "error_type": "Validation"}),
            id="TEI",
        ),
        pytest.param(
            WEAVIATE_BODY | {"documents": []},
            (400, {"error": "documents is empty; at least one is needed"}),
            id="Weaviate",
        ),
    ],
)
async def test_a_refusal_has_the_shape_that_the_client_reads(
    body: dict[str, Any], expected: tuple[int, dict[str, Any]], client: httpx.AsyncClient
) -> None:
    response = await client.post("/rerank", json=body)
    assert (response.status_code, response.json()) == expected


async def test_an_overloaded_worker_tells_tei_clients_when_to_come_back(
    client: httpx.AsyncClient, scorer: LengthScorer
) -> None:
    scorer.error = Overloaded("the queue is full", retry_after_s=2)
    response = await client.post("/rerank", json=TEI_BODY)
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert response.json()["error_type"] == "Overloaded"


async def test_vllm_scores_texts_in_pairs_as_one_request(client: httpx.AsyncClient, scorer: LengthScorer) -> None:
    body = {"text_1": ["q", "r", "q"], "text_2": TEXTS}
    response = await client.post("/score", json=body)
    assert [entry["score"] for entry in response.json()["data"]] == [2.0, 4.0, 1.0]
    (asked,) = scorer.asked
    assert [(asked.query_of(i), document) for i, document in enumerate(asked.documents)] == [
        ("q", "aa"),
        ("r", "aaaa"),
        ("q", "a"),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/rerank", TEI_BODY, id="TEI"),
        pytest.param("/voyage/v1/rerank", {"query": "q", "documents": TEXTS}, id="Voyage"),
        pytest.param("/v1/score/m", {"query": {"text": "q"}, "items": [{"text": "a"}]}, id="SIE"),
        pytest.param("/score", {"text_1": "q", "text_2": TEXTS}, id="vLLM"),
        pytest.param("/score", {"text_1": ["q"] * 3, "text_2": TEXTS}, id="vLLM, with each query of a pair"),
    ],
)
async def test_an_instruction_counts_among_the_characters(
    path: str, body: dict[str, Any], client: httpx.AsyncClient
) -> None:
    queries = len(body["text_1"]) if "text_1" in body else 1
    response = await client.post(path, json=body | {"instruction": "i" * (500 // queries)})
    assert response.status_code == 400
    assert "at most 500 are allowed" in response.text


async def test_pairs_of_which_one_is_refused_are_refused(client: httpx.AsyncClient, scorer: LengthScorer) -> None:
    scorer.error = Overloaded("the queue is full", retry_after_s=2)
    response = await client.post("/score", json={"text_1": ["q", "r"], "text_2": TEXTS[:2]})
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")


@pytest.mark.parametrize(
    "kind",
    [each for each in RequestError.__subclasses__() if each.status < 500 and each is not RetryableRequestError],
)
def test_what_is_wrong_with_a_request_is_no_failure_of_the_server_to_any_client(kind: type[RequestError]) -> None:
    error = kind("no such thing")
    replies = [dialect.render_error(error, error.message) for dialect in (RERANK, SIE, TEI, VLLM_SCORE, VOYAGE)]
    assert [reply.status // 100 for reply in replies] == [4] * 5
    for reply in replies:
        said = reply.body.decode().lower()
        assert "internal" not in said
        assert "backend" not in said
