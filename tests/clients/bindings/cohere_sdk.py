"""Cohere's own SDK: the first API and the second, sync and async."""

import asyncio
from collections.abc import Mapping
from typing import Any

import cohere
from cohere.errors import BadRequestError, NotFoundError, ServiceUnavailableError, TooManyRequestsError

from tests.clients.client import Ask, Client, NotMet, Raises, Ranking, Refusal, Waits

REFUSALS: Mapping[Refusal, Raises | Waits | NotMet] = {
    "bad request": Raises(BadRequestError, "tokens; this model takes at most"),
    "unknown model": Raises(NotFoundError, "there is 'acme/debian-search'"),
    "overload": Raises(TooManyRequestsError, "tokens wait"),
    "cold start": Raises(ServiceUnavailableError, "isn't ready yet"),
}


def v1(ask: Ask) -> Ranking:
    client = cohere.Client(ask.key, base_url=ask.url)
    # The first API takes objects too, and gives the texts back.
    documents = [{"text": text} for text in ask.documents]
    answer = client.rerank(model=ask.model, query=ask.query, documents=documents, return_documents=True)
    assert [result.document.text for result in answer.results] == [ask.documents[r.index] for r in answer.results]
    return _ranking(answer)


def v2(ask: Ask) -> Ranking:
    client = cohere.ClientV2(ask.key, base_url=ask.url)
    return _ranking(client.rerank(model=ask.model, query=ask.query, documents=ask.documents))


def v1_async(ask: Ask) -> Ranking:
    async def rank() -> Any:
        async with cohere.AsyncClient(ask.key, base_url=ask.url) as client:
            return await client.rerank(model=ask.model, query=ask.query, documents=ask.documents)

    return _ranking(asyncio.run(rank()))


def v2_async(ask: Ask) -> Ranking:
    async def rank() -> Any:
        async with cohere.AsyncClientV2(ask.key, base_url=ask.url) as client:
            return await client.rerank(model=ask.model, query=ask.query, documents=ask.documents)

    return _ranking(asyncio.run(rank()))


def _ranking(answer: Any) -> Ranking:
    return [(result.index, result.relevance_score) for result in answer.results]


CLIENTS = (
    Client("Client", "cohere", v1, REFUSALS),
    Client("ClientV2", "cohere", v2, REFUSALS),
    Client("AsyncClient", "cohere", v1_async, REFUSALS),
    Client("AsyncClientV2", "cohere", v2_async, REFUSALS),
)
