"""The dialect of Voyage AI: `top_k` and `truncation` in, `data` of ranked documents out. No I/O."""

from reranker_worker.dialects import rerank
from reranker_worker.dialects.calls import (
    Bounds,
    Dialect,
    Incoming,
    Ranked,
    Reply,
    ScoreCall,
    Scored,
    json_reply,
    revision_headers,
    validated,
)
from reranker_worker.schemas import VoyageBody
from reranker_worker.serving import Truncation


def parse(incoming: Incoming, bounds: Bounds) -> ScoreCall:
    """Return the call that a body asks for."""
    body = validated(VoyageBody, incoming.content)
    bounds.check(body.query, body.documents, param="documents")
    return ScoreCall(
        query=body.query,
        documents=body.documents,
        model=body.model,
        adapter=body.adapter,
        top_n=body.top_k,
        return_documents=body.return_documents,
        raw_scores=body.raw_scores,
        instruction=body.instruction,
        truncation=Truncation(refused=body.truncation is False),
    )


def render(call: ScoreCall, scored: Scored) -> Reply:
    """Return the list that Voyage's clients read; a document comes back as the text that it was."""
    content = {
        "object": "list",
        "data": [_item(call, place) for place in scored.ranking],
        "model": scored.model,
        "usage": {"total_tokens": scored.result.tokens},
    }
    return json_reply(200, content, revision_headers(scored.result))


def _item(call: ScoreCall, place: Ranked) -> dict[str, object]:
    item: dict[str, object] = {"index": place.index, "relevance_score": place.score}
    if call.return_documents:
        item["document"] = call.documents[place.index]
    return item


# Its clients read `detail`, which is among the names of that error.
VOYAGE = Dialect("voyage", parse, render, rerank.render_error)
