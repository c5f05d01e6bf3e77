"""The dialect of Voyage AI: `top_k` and `truncation` in, `data` of ranked documents out. No I/O."""

from reranker_worker.serving import Truncation
from reranker_worker.web.dialects import rerank
from reranker_worker.web.dialects.calls import (
    Bounds,
    Dialect,
    Incoming,
    Reply,
    ScoreCall,
    Scored,
    json_reply,
    revision_headers,
)
from reranker_worker.web.schemas import VoyageBody


def parse(incoming: Incoming, bounds: Bounds) -> ScoreCall:
    """Return the call that a body asks for."""
    body = bounds.validated(VoyageBody, incoming.content)
    bounds.check([body.query], body.documents, instruction=body.instruction, param="documents")
    return ScoreCall(
        query=body.query,
        documents=body.documents,
        model=body.model,
        adapter=body.adapter,
        top_n=body.top_k,
        return_documents=bool(body.return_documents),
        plain_documents=True,
        raw_scores=bool(body.raw_scores),
        instruction=body.instruction,
        truncation=Truncation(refused=body.truncation is False),
    )


def render(call: ScoreCall, scored: Scored) -> Reply:
    """Return the list that Voyage's clients read."""
    content = {
        "object": "list",
        "data": [rerank.item(call, place) for place in scored.ranking],
        "model": scored.model,
        "usage": {"total_tokens": scored.result.tokens},
    }
    return json_reply(200, content, revision_headers(scored.result))


# Its clients read `detail`, which is among the names of that error.
VOYAGE = Dialect("voyage", parse, render, rerank.render_error)
