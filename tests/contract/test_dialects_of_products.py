"""Products that keep their own client: what each sends, and that its own parser reads the answer."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from reranker_worker.serving import Truncation
from tests.fixtures import products
from tests.fixtures.client_port import LengthScorer, http, length_worker
from tests.fixtures.products import Unreadable

DOCUMENTS = ["aa", "aaaa", "a"]
SCORES = {0: 2.0, 1: 4.0, 2: 1.0}
Parser = Callable[[bytes], dict[int, float]]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with http(length_worker()) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "parser"),
    [
        pytest.param(
            "/rerank",
            {"query": "q", "texts": DOCUMENTS},
            products.elasticsearch_hugging_face,
            id="Elasticsearch 9.1 hugging_face",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "texts": DOCUMENTS, "return_text": True, "top_n": 3},
            products.elasticsearch_hugging_face,
            id="Elasticsearch 9.1 hugging_face with its texts",
        ),
        pytest.param(
            "/v1/rerank",
            {"model": "acme/ranker", "query": "q", "documents": DOCUMENTS, "top_n": 3},
            products.elasticsearch_cohere,
            id="Elasticsearch 8.15 cohere",
        ),
        pytest.param(
            "/v1/rerank",
            {"model": "acme/ranker", "query": "q", "documents": DOCUMENTS, "return_documents": True},
            products.elasticsearch_cohere,
            id="Elasticsearch 8.15 cohere with its documents",
        ),
        pytest.param(
            "/v1/rerank",
            {"documents": DOCUMENTS, "query": "q", "model": "acme/ranker", "top_n": 3, "return_documents": True},
            products.opensearch_cohere,
            id="OpenSearch 2.12 connector",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "documents": DOCUMENTS, "property": "content"},
            lambda body: products.weaviate_transformers(body, DOCUMENTS),
            id="Weaviate 1.25 reranker-transformers",
        ),
        pytest.param(
            "/v2/rerank",
            {"documents": DOCUMENTS, "query": "q", "model": "acme/ranker", "return_documents": False},
            products.weaviate_cohere,
            id="Weaviate 1.25 reranker-cohere",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "texts": DOCUMENTS, "truncate": True, "truncation_direction": "Right"},
            products.milvus_tei,
            id="Milvus 2.6 tei",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "documents": DOCUMENTS, "truncate_prompt_tokens": 100},
            products.milvus_vllm,
            id="Milvus 2.6 vllm",
        ),
    ],
)
async def test_a_products_own_parser_reads_every_score(
    path: str, body: dict[str, Any], parser: Parser, client: httpx.AsyncClient
) -> None:
    response = await client.post(path, json=body)
    assert response.status_code == 200
    assert parser(response.content) == SCORES


async def test_dify_keeps_the_best_document_at_its_threshold(client: httpx.AsyncClient) -> None:
    body = {"model": "acme/ranker", "query": "q", "documents": DOCUMENTS, "top_n": None, "return_documents": True}
    response = await client.post("/v1/rerank", json=body)
    assert products.dify(response.content, DOCUMENTS, threshold=0.8) == [(1, "aaaa")]


async def test_open_webui_has_one_score_for_each_document_it_asked_about(client: httpx.AsyncClient) -> None:
    body = {"model": "acme/ranker", "query": "q", "documents": DOCUMENTS, "top_n": len(DOCUMENTS)}
    response = await client.post("/v1/rerank", json=body)
    assert products.open_webui(response.content, asked=len(DOCUMENTS)) == list(SCORES.values())


@pytest.mark.parametrize(
    ("parser", "body"),
    [
        pytest.param(
            products.elasticsearch_hugging_face, b'[{"index": 0, "score": 1.0, "x": 1}]', id="Elasticsearch: extra key"
        ),
        pytest.param(products.elasticsearch_hugging_face, b'{"results": []}', id="Elasticsearch: no bare list"),
        pytest.param(
            products.elasticsearch_cohere,
            b'{"results": [{"index": 0, "relevance_score": 1.0, "document": "text"}]}',
            id="Elasticsearch: a document that is no object",
        ),
        pytest.param(
            products.opensearch_cohere,
            b'{"results": [{"index": 1, "relevance_score": 1.0}]}',
            id="OpenSearch: an index is missing",
        ),
        pytest.param(
            lambda body: products.weaviate_transformers(body, ["a", "b"]),
            b'{"scores": [{"document": "b", "score": 1}, {"document": "a", "score": 0}]}',
            id="Weaviate: another order",
        ),
        pytest.param(products.milvus_tei, b'[{"index": "0", "score": 1.0}]', id="Milvus: an index that is no integer"),
    ],
)
def test_the_parsers_are_as_strict_as_the_products(parser: Parser, body: bytes) -> None:
    with pytest.raises(Unreadable):
        parser(body)


@pytest.mark.parametrize(
    ("path", "body", "read"),
    [
        pytest.param("/rerank", {"query": "q", "texts": []}, lambda e: (e["error"], e["error_type"]), id="TEI's"),
        pytest.param(
            "/rerank", {"query": "q", "documents": [], "property": "p"}, lambda e: (e["error"],), id="Weaviate's"
        ),
        pytest.param("/v1/rerank", {"query": "q", "documents": []}, lambda e: (e["message"],), id="Cohere's"),
        pytest.param("/v1/rerank", {"query": "q", "documents": []}, lambda e: (e["detail"],), id="Jina's"),
        pytest.param("/rerank", {"query": "q", "documents": []}, lambda e: (e["error"]["message"],), id="vLLM's"),
    ],
)
async def test_an_error_is_told_in_strings_where_each_client_looks(
    path: str, body: dict[str, Any], read: Callable[[Any], tuple[object, ...]], client: httpx.AsyncClient
) -> None:
    response = await client.post(path, json=body)
    assert response.status_code == 400
    assert all(isinstance(text, str) and text for text in read(response.json()))


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        pytest.param(
            "/v2/rerank",
            {"query": "q", "documents": DOCUMENTS, "max_tokens_per_doc": 7},
            ("truncation", Truncation(max_tokens=7)),
            id="Cohere's max_tokens_per_doc",
        ),
        pytest.param(
            "/v2/rerank",
            {"query": "q", "documents": DOCUMENTS, "max_tokens_per_doc": None},
            ("truncation", Truncation()),
            id="LangChain's null",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "texts": DOCUMENTS, "truncate": True, "truncation_direction": "Left"},
            ("truncation", Truncation(side="left")),
            id="TEI's truncation_direction",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "texts": DOCUMENTS, "truncate": False},
            ("truncation", Truncation(refused=True)),
            id="TEI's truncate",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "documents": DOCUMENTS, "truncate_prompt_tokens": 100},
            ("truncation", Truncation(pair_tokens=100)),
            id="vLLM's truncate_prompt_tokens",
        ),
        pytest.param(
            "/score",
            {"text_1": "q", "text_2": DOCUMENTS, "truncate_prompt_tokens": 100},
            ("truncation", Truncation(pair_tokens=100)),
            id="vLLM's truncate_prompt_tokens of a score",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "documents": DOCUMENTS, "truncate_prompt_tokens": -1},
            ("truncation", Truncation()),
            id="vLLM's model length",
        ),
        pytest.param(
            "/v1/rerank",
            {"query": "q", "documents": DOCUMENTS, "top_k": None, "truncation": True},
            ("truncation", Truncation()),
            id="Voyage's truncation",
        ),
        pytest.param(
            "/v1/rerank",
            {"query": "q", "documents": DOCUMENTS, "top_k": None, "truncation": False},
            ("truncation", Truncation(refused=True)),
            id="Voyage's truncation, refused",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "documents": DOCUMENTS, "instruction": "Prefer code"},
            ("instruction", "Prefer code"),
            id="vLLM's instruction",
        ),
        pytest.param(
            "/v1/score/m",
            {"query": {"text": "q"}, "items": [{"text": "a"}], "instruction": "Prefer code"},
            ("instruction", "Prefer code"),
            id="the SIE SDK's instruction",
        ),
        pytest.param(
            "/rerank",
            {"query": "q", "documents": DOCUMENTS, "model": "default/not-specified"},
            ("adapter", None),
            id="Infinity's unnamed model",
        ),
    ],
)
async def test_a_field_reaches_the_engine(path: str, body: dict[str, Any], expected: tuple[str, object]) -> None:
    worker = length_worker()
    async with http(worker) as client:
        assert (await client.post(path, json=body)).status_code == 200
    scorer = worker.scorer
    assert isinstance(scorer, LengthScorer)
    name, value = expected
    assert getattr(scorer.asked[-1], name) == value
