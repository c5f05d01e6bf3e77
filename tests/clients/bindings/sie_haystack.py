"""The SIE SDK's ranker for Haystack."""

from collections.abc import Mapping

from haystack import Document
from sie_haystack import SIERanker
from sie_sdk import RequestError

from tests.clients.bindings.sie_credentials import key_in_environment
from tests.clients.client import Ask, Client, NotMet, Raises, Ranking, Refusal, Waits

REFUSALS: Mapping[Refusal, Raises | Waits | NotMet] = {
    "bad request": Raises(RequestError, "tokens; this model takes at most"),
    "unknown model": Raises(RequestError, "there is 'acme/debian-search'"),
    "overload": Waits(),
    "cold start": Waits(),
}


def ranker(ask: Ask) -> Ranking:
    documents = [Document(id=str(number), content=text) for number, text in enumerate(ask.documents)]
    with key_in_environment(ask):
        answer = SIERanker(ask.url, ask.model).run(query=ask.query, documents=documents)
    return [(int(document.id), document.meta["score"]) for document in answer["documents"]]


CLIENTS = (Client("SIERanker", "sie-haystack", ranker, REFUSALS),)
