"""Haystack's rankers: Cohere's, Jina's and Text Embeddings Inference's."""

import asyncio
from collections.abc import Mapping
from typing import Any

from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
from haystack_integrations.components.rankers.jina import JinaRanker

from tests.clients.bindings.cohere_sdk import REFUSALS
from tests.clients.client import Ask, Client, NotMet, Raises, Ranking, Refusal, Waits

JINA: Mapping[Refusal, Raises | Waits | NotMet] = {
    "bad request": Raises(RuntimeError, "tokens; this model takes at most"),
    "unknown model": Raises(RuntimeError, "there is 'acme/debian-search'"),
    "overload": Raises(RuntimeError, "tokens wait"),
    "cold start": Raises(RuntimeError, "isn't ready yet"),
}
TEI: Mapping[Refusal, Raises | Waits | NotMet] = {
    "bad request": Raises(RuntimeError, "tokens; this model takes at most"),
    "unknown model": NotMet("it names no model"),
    "overload": Raises(RuntimeError, "tokens wait"),
    "cold start": Raises(RuntimeError, "isn't ready yet"),
}


def cohere(ask: Ask) -> Ranking:
    return _ranking(_cohere(ask).run(query=ask.query, documents=_documents(ask)))


def cohere_async(ask: Ask) -> Ranking:
    return _ranking(asyncio.run(_cohere(ask).run_async(query=ask.query, documents=_documents(ask))))


def jina(ask: Ask) -> Ranking:
    ranker = JinaRanker(ask.model, Secret.from_token(ask.key), base_url=f"{ask.url}/v1/rerank")
    answer = ranker.run(query=ask.query, documents=_documents(ask))
    assert answer["meta"]["usage"]["total_tokens"] > 0
    return _ranking(answer)


def tei(ask: Ask) -> Ranking:
    ranker = HuggingFaceTEIRanker(url=ask.url, token=Secret.from_token(ask.key), max_retries=1)
    return _ranking(ranker.run(query=ask.query, documents=_documents(ask)))


def _cohere(ask: Ask) -> Any:
    return CohereRanker(ask.model, api_key=Secret.from_token(ask.key), api_base_url=ask.url)


def _documents(ask: Ask) -> list[Document]:
    return [Document(id=str(number), content=text) for number, text in enumerate(ask.documents)]


def _ranking(answer: Any) -> Ranking:
    return [(int(document.id), document.score) for document in answer["documents"]]


CLIENTS = (
    Client("CohereRanker", "cohere-haystack", cohere, REFUSALS),
    Client("CohereRanker (async)", "cohere-haystack", cohere_async, REFUSALS),
    Client("JinaRanker", "jina-haystack", jina, JINA),
    Client("HuggingFaceTEIRanker", "huggingface-api-haystack", tei, TEI, sends_model=False),
)
