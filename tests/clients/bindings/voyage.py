"""Voyage AI's own SDK, sync and async, and LangChain's reranker over it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import voyageai
from langchain_core.documents import Document
from langchain_voyageai import VoyageAIRerank
from voyageai.error import APIError, InvalidRequestError, RateLimitError, ServiceUnavailableError

from tests.clients.client import Ask, Client, NotMet, Raises, Ranking, Refusal, Waits

REFUSALS: Mapping[Refusal, Raises | Waits | NotMet] = {
    "bad request": Raises(InvalidRequestError, "tokens; this model takes at most"),
    "unknown model": Raises(APIError, "there is 'acme/debian-search'"),
    "overload": Raises(RateLimitError, "tokens wait"),
    # It has words of its own for a 503, whatever the answer says.
    "cold start": Raises(ServiceUnavailableError, "not ready yet"),
}


def sync(ask: Ask) -> Ranking:
    client = voyageai.Client(ask.key, base_url=f"{ask.url}/v1")
    return _ranking(ask, client.rerank(ask.query, list(ask.documents), ask.model))


def async_(ask: Ask) -> Ranking:
    async def rank() -> Any:
        client = voyageai.AsyncClient(ask.key, base_url=f"{ask.url}/v1")
        return await client.rerank(ask.query, list(ask.documents), ask.model)

    return _ranking(ask, asyncio.run(rank()))


def langchain(ask: Ask) -> Ranking:
    reranker = VoyageAIRerank(api_key=ask.key, base_url=f"{ask.url}/v1", model=ask.model)
    documents = [Document(page_content=text, metadata={"number": number}) for number, text in enumerate(ask.documents)]
    ranked = reranker.compress_documents(documents, ask.query)
    return [(document.metadata["number"], document.metadata["relevance_score"]) for document in ranked]


def _ranking(ask: Ask, answer: Any) -> Ranking:
    assert answer.total_tokens > 0
    assert [result.document for result in answer.results] == [ask.documents[result.index] for result in answer.results]
    return [(result.index, result.relevance_score) for result in answer.results]


CLIENTS = (
    Client("Client", "voyageai", sync, REFUSALS),
    Client("AsyncClient", "voyageai", async_, REFUSALS),
    Client("VoyageAIRerank", "langchain-voyageai", langchain, REFUSALS),
)
