"""The SIE SDK, sync and async, and its integrations into LangChain and LlamaIndex."""

import asyncio
from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from sie_langchain import SIEReranker
from sie_llamaindex import SIENodePostprocessor
from sie_sdk import RequestError, SIEAsyncClient, SIEClient

from tests.clients.bindings.sie_credentials import key_in_environment
from tests.clients.client import Ask, Client, Lister, NotMet, Raises, Ranking, Refusal, Waits, Where

REFUSALS: Mapping[Refusal, Raises | Waits | NotMet] = {
    "bad request": Raises(RequestError, "tokens; this model takes at most"),
    "unknown model": Raises(RequestError, "there is 'acme/debian-search'"),
    "overload": Waits(),
    "cold start": Waits(),
}


def sync(ask: Ask) -> Ranking:
    with SIEClient(ask.url, api_key=ask.key) as client:
        return _ranking(client.score(ask.model, {"text": ask.query}, _items(ask)))


def async_(ask: Ask) -> Ranking:
    async def rank() -> Any:
        async with SIEAsyncClient(ask.url, api_key=ask.key) as client:
            return await client.score(ask.model, {"text": ask.query}, _items(ask))

    return _ranking(asyncio.run(rank()))


def langchain(ask: Ask) -> Ranking:
    with key_in_environment(ask):
        compressor = SIEReranker(base_url=ask.url, model=ask.model)
        return _compressed(compressor.compress_documents(_documents(ask), ask.query))


def langchain_async(ask: Ask) -> Ranking:
    async def rank() -> Any:
        async with SIEAsyncClient(ask.url, api_key=ask.key) as client:
            compressor = SIEReranker(model=ask.model, async_client=client)
            return await compressor.acompress_documents(_documents(ask), ask.query)

    return _compressed(asyncio.run(rank()))


def llama_index(ask: Ask) -> Ranking:
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(i)), score=0.0) for i, text in enumerate(ask.documents)]
    with key_in_environment(ask):
        ranked = SIENodePostprocessor(ask.url, ask.model).postprocess_nodes(nodes, QueryBundle(ask.query))
    return [(int(node.node_id), node.score) for node in ranked]


def models(where: Where) -> list[str]:
    with SIEClient(where.url, api_key=where.key) as client:
        return [str(model["name"]) for model in client.list_models()]


def _items(ask: Ask) -> Any:
    return [{"text": text} for text in ask.documents]


def _documents(ask: Ask) -> list[Document]:
    return [Document(text, metadata={"number": number}) for number, text in enumerate(ask.documents)]


def _compressed(documents: Any) -> Ranking:
    return [(document.metadata["number"], document.metadata["relevance_score"]) for document in documents]


def _ranking(answer: Any) -> Ranking:
    assert [entry["rank"] for entry in answer["scores"]] == list(range(len(answer["scores"])))
    # An item without an id is given one by its place.
    return [(int(entry["item_id"].removeprefix("item-")), entry["score"]) for entry in answer["scores"]]


CLIENTS = (
    Client("SIEClient", "sie-sdk", sync, REFUSALS),
    Client("SIEAsyncClient", "sie-sdk", async_, REFUSALS),
    Client("SIEReranker", "sie-langchain", langchain, REFUSALS),
    Client("SIEReranker (async)", "sie-langchain", langchain_async, REFUSALS),
    Client("SIENodePostprocessor", "sie-llamaindex", llama_index, REFUSALS),
)
LISTERS = (Lister("SIEClient.list_models", "sie-sdk", models),)
