"""The client port's OpenAPI document: every path with the bodies and answers of the clients that use it. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from reranker_worker.web.dialects.calls import JSON
from reranker_worker.web.dialects.sie import MSGPACK
from reranker_worker.web.schemas import RerankBody, ScoreBody, TeiBody, VllmScoreBody, VoyageBody, WeaviateBody

_QUERY = "Which tool edits images?"
_DOCUMENTS = ["GIMP edits images.", "Vim edits text."]
_SCORES = (0.96, 0.02)
_USAGE = {"prompt_tokens": 24, "total_tokens": 24}
_SERVED = "acme/ranker"


@dataclass(frozen=True)
class Exchange:
    """A request of some client and the answer to it, as an example."""

    client: str
    asked: Mapping[str, Any]
    answered: Any


@dataclass(frozen=True)
class Endpoint:
    """Paths that are answered alike."""

    paths: Sequence[str]
    summary: str
    method: str = "get"
    bodies: Sequence[type[BaseModel]] = ()
    exchanges: Sequence[Exchange] = ()
    media_types: Sequence[str] = (JSON,)
    errors: Mapping[str, str] = field(default_factory=dict)


_REFUSALS = {
    "400": "the request is wrong; the message says what, and never repeats what was sent",
    "404": "no model or adapter by that name is served here; the message lists those that are",
    "413": "the body is larger than this worker allows",
    "429": "the queue is full; Retry-After says when there will be room",
    "503": "the model or the adapter isn't ready yet; Retry-After says when to ask again",
}
_SIE_REFUSALS = {
    "400": "INVALID_INPUT",
    "404": "MODEL_NOT_FOUND",
    "502": "MODEL_LOAD_FAILED: waiting doesn't help",
    "503": "MODEL_LOADING or QUEUE_FULL; Retry-After says when to ask again",
}
_ENVELOPE = {"id": "rerank-5f2c", "object": "rerank", "created": 1_700_000_000, "model": _SERVED, "usage": _USAGE}
_RESULTS = [{"index": index, "relevance_score": score} for index, score in enumerate(_SCORES)]
_SCORE_LIST = {
    **_ENVELOPE,
    "object": "list",
    "data": [{"index": index, "object": "score", "score": score} for index, score in enumerate(_SCORES)],
}

ENDPOINTS = (
    Endpoint(
        ("/rerank", "/v1/rerank", "/v2/rerank"),
        "Rank documents for a query. The body tells which client asks, and it is answered in that client's words.",
        "post",
        (RerankBody, VoyageBody, TeiBody, WeaviateBody),
        (
            Exchange(
                "Cohere, Jina, vLLM, Infinity",
                {"model": _SERVED, "query": _QUERY, "documents": _DOCUMENTS, "top_n": 2},
                {**_ENVELOPE, "results": _RESULTS, "meta": {"api_version": {"version": "2"}}},
            ),
            Exchange(
                "with its documents",
                {"query": _QUERY, "documents": [{"text": text} for text in _DOCUMENTS], "return_documents": True},
                {
                    **_ENVELOPE,
                    "results": [
                        {**result, "document": {"text": text}}
                        for result, text in zip(_RESULTS, _DOCUMENTS, strict=True)
                    ],
                    "meta": {"api_version": {"version": "2"}},
                },
            ),
            Exchange(
                "Voyage AI",
                {"model": _SERVED, "query": _QUERY, "documents": _DOCUMENTS, "top_k": 2, "truncation": True},
                {"object": "list", "data": _RESULTS, "model": _SERVED, "usage": {"total_tokens": 24}},
            ),
            Exchange(
                "Text Embeddings Inference, Elasticsearch",
                {"query": _QUERY, "texts": _DOCUMENTS},
                [{"index": index, "score": score} for index, score in enumerate(_SCORES)],
            ),
            Exchange(
                "Weaviate",
                {"query": _QUERY, "documents": _DOCUMENTS, "property": "content"},
                {
                    "scores": [
                        {"document": text, "score": score} for text, score in zip(_DOCUMENTS, _SCORES, strict=True)
                    ]
                },
            ),
        ),
        errors=_REFUSALS,
    ),
    Endpoint(
        ("/voyage/v1/rerank",),
        "Rank documents for those of Voyage's clients that send neither top_k nor truncation.",
        "post",
        (VoyageBody,),
        (
            Exchange(
                "Voyage AI",
                {"model": _SERVED, "query": _QUERY, "documents": _DOCUMENTS},
                {"object": "list", "data": _RESULTS, "model": _SERVED, "usage": {"total_tokens": 24}},
            ),
        ),
        errors=_REFUSALS,
    ),
    Endpoint(
        ("/score", "/v1/score"),
        "Score one text against others, in their order, for vLLM's clients.",
        "post",
        (VllmScoreBody,),
        (
            Exchange(
                "vLLM",
                {"text_1": _QUERY, "text_2": _DOCUMENTS},
                _SCORE_LIST,
            ),
            Exchange(
                "vLLM, texts in parts",
                {
                    "queries": _QUERY,
                    "items": [{"content": [{"type": "text", "text": text}]} for text in _DOCUMENTS],
                },
                _SCORE_LIST,
            ),
        ),
        errors=_REFUSALS,
    ),
    Endpoint(
        ("/v1/score/{model}",),
        "Score items for the SIE SDK; the model's name keeps its slashes.",
        "post",
        (ScoreBody,),
        (
            Exchange(
                "SIE SDK",
                {
                    "query": {"text": _QUERY},
                    "items": [{"id": str(i), "text": text} for i, text in enumerate(_DOCUMENTS)],
                },
                {
                    "model": _SERVED,
                    "query_id": None,
                    "scores": [{"item_id": str(i), "score": score, "rank": i} for i, score in enumerate(_SCORES)],
                    "usage": {"input_tokens": 24},
                },
            ),
        ),
        (JSON, MSGPACK),
        _SIE_REFUSALS,
    ),
    Endpoint(("/v1/models",), "List the model and its adapters, for OpenAI's clients and the SIE SDK's."),
    Endpoint(("/models",), "List them for Infinity's clients, with how much waits."),
    Endpoint(("/v1/models/{name}",), "Describe one model or adapter.", errors={"404": "no model by that name"}),
    Endpoint(("/info", "/meta"), "Say what is served and how long its pairs may be."),
    Endpoint(("/healthz", "/.well-known/live"), "Answer as long as the process does."),
    Endpoint(
        ("/health", "/readyz", "/ping", "/.well-known/ready"),
        "Answer 200 only while requests can be scored here.",
        errors={"503": "not ready; the message says why"},
    ),
)


def openapi_document(version: str) -> dict[str, Any]:
    """Return the whole document, by OpenAPI 3.1."""
    bodies = dict.fromkeys(body for endpoint in ENDPOINTS for body in endpoint.bodies)
    _, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "reranker-worker", "version": version},
        "paths": {
            path: {endpoint.method: _operation(endpoint, path)} for endpoint in ENDPOINTS for path in endpoint.paths
        },
        "components": {"schemas": schemas["$defs"]},
    }


def _operation(endpoint: Endpoint, path: str) -> dict[str, Any]:
    answers = {exchange.client: {"value": exchange.answered} for exchange in endpoint.exchanges}
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "responses": {
            "200": {"description": "done", "content": {kind: {"examples": answers} for kind in endpoint.media_types}},
            **{status: {"description": said} for status, said in endpoint.errors.items()},
        },
    }
    if endpoint.bodies:
        operation["requestBody"] = {"required": True, "content": _content(endpoint)}
    if "{" in path:
        name = path.partition("{")[2].rstrip("}")
        operation["parameters"] = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation


def _content(endpoint: Endpoint) -> dict[str, Any]:
    kinds = [{"$ref": f"#/components/schemas/{body.__name__}"} for body in endpoint.bodies]
    described = {
        "schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds},
        "examples": {exchange.client: {"value": exchange.asked} for exchange in endpoint.exchanges},
    }
    return dict.fromkeys(endpoint.media_types, described)
