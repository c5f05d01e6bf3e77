"""Infinity's generated client, sync and async."""

import asyncio
from collections.abc import Mapping
from typing import Any

from infinity_client import AuthenticatedClient
from infinity_client.api.default import models, rerank
from infinity_client.errors import UnexpectedStatus
from infinity_client.models import RerankInput

from tests.clients.client import Ask, Client, Lister, NotMet, Raises, Ranking, Refusal, Waits, Where

REFUSALS: Mapping[Refusal, Raises | Waits | NotMet] = {
    "bad request": Raises(UnexpectedStatus, "tokens; this model takes at most"),
    "unknown model": Raises(UnexpectedStatus, "there is 'acme/debian-search'"),
    "overload": Raises(UnexpectedStatus, "tokens wait"),
    "cold start": Raises(UnexpectedStatus, "isn't ready yet"),
}


def sync(ask: Ask) -> Ranking:
    answer = rerank.sync(client=_client(ask), body=_body(ask, model=ask.model, return_documents=True))
    assert [result.document for result in answer.results] == [ask.documents[r.index] for r in answer.results]
    return _ranking(answer)


def unnamed(ask: Ask) -> Ranking:
    # Its default for the model is a name, "default/not-specified".
    return _ranking(rerank.sync(client=_client(ask), body=_body(ask)))


def async_(ask: Ask) -> Ranking:
    async def rank() -> Any:
        return await rerank.asyncio(client=_client(ask), body=_body(ask, model=ask.model))

    return _ranking(asyncio.run(rank()))


def names(where: Where) -> list[str]:
    listed = models.sync(client=_client(where))
    assert all(model.stats["queue_fraction"] <= 1 for model in listed.data)
    return [model.id for model in listed.data]


def _client(of: Ask | Where) -> Any:
    return AuthenticatedClient(base_url=of.url, token=of.key, raise_on_unexpected_status=True)


def _body(ask: Ask, **members: str | bool) -> Any:
    return RerankInput(query=ask.query, documents=list(ask.documents), **members)


def _ranking(answer: Any) -> Ranking:
    assert answer.usage.total_tokens >= answer.usage.prompt_tokens > 0
    return [(result.index, result.relevance_score) for result in answer.results]


CLIENTS = (
    Client("rerank.sync", "infinity-client", sync, REFUSALS),
    Client(
        "rerank.sync without a model",
        "infinity-client",
        unnamed,
        {**REFUSALS, "unknown model": NotMet("it names no model")},
        sends_model=False,
    ),
    Client("rerank.asyncio", "infinity-client", async_, REFUSALS),
)
LISTERS = (Lister("models.sync", "infinity-client", names, adapters=True),)
