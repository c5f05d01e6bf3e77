"""The dialect of Weaviate's reranker-transformers module: every document comes back, where it stood. No I/O."""

from reranker_worker.errors import RequestError
from reranker_worker.web.dialects.calls import (
    Bounds,
    Dialect,
    Incoming,
    Reply,
    ScoreCall,
    Scored,
    json_reply,
    retry_headers,
    revision_headers,
)
from reranker_worker.web.schemas import WeaviateBody


def parse(incoming: Incoming, bounds: Bounds) -> ScoreCall:
    """Return the call that a body asks for."""
    body = bounds.validated(WeaviateBody, incoming.content)
    bounds.check([body.query], body.documents, param="documents")
    return ScoreCall(query=body.query, documents=body.documents)


def render(call: ScoreCall, scored: Scored) -> Reply:
    """Return the scores in the order of the documents: Weaviate sends chunks and ranks for itself."""
    pairs = zip(call.documents, scored.result.scores, strict=True)
    scores = [{"document": document, "score": score} for document, score in pairs]
    return json_reply(200, {"scores": scores}, revision_headers(scored.result))


def render_error(error: RequestError, message: str) -> Reply:
    """Return an error as the one string that Weaviate repeats."""
    return json_reply(error.status, {"error": message}, retry_headers(error))


WEAVIATE = Dialect("weaviate", parse, render, render_error)
