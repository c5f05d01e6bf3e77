"""The dialect of Weaviate's reranker-transformers module: every document comes back, where it stood. No I/O."""

from pydantic import ValidationError

from reranker_worker.dialects.calls import (
    Bounds,
    Dialect,
    Incoming,
    Reply,
    ScoreCall,
    Scored,
    invalid_body,
    json_reply,
    retry_headers,
    revision_headers,
)
from reranker_worker.errors import RequestError
from reranker_worker.schemas import WeaviateBody


def parse(incoming: Incoming, bounds: Bounds) -> ScoreCall:
    """Return the call that a body asks for."""
    try:
        body = WeaviateBody.model_validate_json(incoming.body)
    except ValidationError as error:
        raise invalid_body(error) from error
    bounds.check(body.query, body.documents, param="documents")
    return ScoreCall(query=body.query, documents=body.documents)


def render(call: ScoreCall, scored: Scored) -> Reply:
    """Return the scores in the order of the documents: Weaviate sends chunks and ranks for itself."""
    places = sorted(scored.ranking, key=lambda place: place.index)
    scores = [{"document": call.documents[place.index], "score": place.score} for place in places]
    return json_reply(200, {"scores": scores}, revision_headers(scored.result))


def render_error(error: RequestError, message: str) -> Reply:
    """Return an error as the one string that Weaviate repeats."""
    return json_reply(error.status, {"error": message}, retry_headers(error))


WEAVIATE = Dialect("weaviate", parse, render, render_error)
