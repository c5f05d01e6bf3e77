"""Voyage AI's rerank API: told from the others' by its body, answered as its reference has it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.fixtures.client_port import http, length_worker

DOCUMENTS = ["aa", "aaaa", "a"]
BODY: dict[str, Any] = {"model": "acme/ranker", "query": "q", "documents": DOCUMENTS}
RANKING = [
    {"index": 1, "relevance_score": 4.0},
    {"index": 0, "relevance_score": 2.0},
    {"index": 2, "relevance_score": 1.0},
]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with http(length_worker()) as client:
        yield client


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
async def test_the_answer_is_a_list_under_data(path: str, client: httpx.AsyncClient) -> None:
    response = await client.post(path, json={**BODY, "top_k": None, "truncation": True})
    assert response.json() == {
        "object": "list",
        "data": RANKING,
        "model": "acme/ranker",
        "usage": {"total_tokens": 42},
    }
    assert response.headers["x-reranker-revision"] == "m-1"


async def test_top_k_cuts_and_documents_come_back_as_texts(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/rerank", json={**BODY, "top_k": 2, "return_documents": True})
    assert response.json()["data"] == [
        {**RANKING[0], "document": "aaaa"},
        {**RANKING[1], "document": "aa"},
    ]


@pytest.mark.parametrize(
    ("members", "key"),
    [
        pytest.param({}, "results", id="a body that any of them could send"),
        pytest.param({"top_n": 2}, "results", id="Cohere's"),
        pytest.param({"top_n": 2, "top_k": 2}, "results", id="both names: the more common one's"),
        pytest.param({"top_k": 2}, "data", id="top_k alone"),
        pytest.param({"truncation": True}, "data", id="truncation alone"),
    ],
)
async def test_it_is_told_by_the_members_that_only_it_has(
    members: dict[str, Any], key: str, client: httpx.AsyncClient
) -> None:
    assert key in (await client.post("/v1/rerank", json=BODY | members)).json()


async def test_a_path_of_its_own_needs_no_telling(client: httpx.AsyncClient) -> None:
    assert (await client.post("/voyage/v1/rerank", json=BODY)).json()["data"] == RANKING


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        pytest.param({"documents": []}, 400, "documents is empty", id="no documents"),
        pytest.param({"documents": [{"text": "a"}]}, 400, "documents.0", id="objects, which its API doesn't know"),
        pytest.param({"top_k": 0}, 400, "top_k", id="top_k of none"),
        pytest.param({"model": "rerank-2.5"}, 404, "there is 'acme/ranker'", id="a model that isn't served"),
    ],
)
async def test_an_error_stands_in_detail(
    change: dict[str, Any], status: int, said: str, client: httpx.AsyncClient
) -> None:
    response = await client.post("/v1/rerank", json={**BODY, "truncation": True, **change})
    assert response.status_code == status
    assert said in response.json()["detail"]
