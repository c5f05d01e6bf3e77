"""The dialect of Text Embeddings Inference: `texts` in, a bare list of ranks out. No I/O."""

from collections.abc import Mapping

import orjson

from reranker_worker.errors import RequestError
from reranker_worker.serving import Truncation
from reranker_worker.web.dialects.calls import (
    Bounds,
    Dialect,
    Incoming,
    Ranked,
    Reply,
    ScoreCall,
    Scored,
    json_reply,
    retry_headers,
    revision_headers,
)
from reranker_worker.web.schemas import TeiBody

# The types that its clients know; a reason that isn't here is the server's own failure.
_ERROR_TYPES: Mapping[str, str] = {
    "InvalidRequest": "Validation",
    "TooLarge": "Validation",
    "BodyTooSlow": "Validation",
    "MethodNotAllowed": "Validation",
    "Unauthorized": "Validation",
    "NotFound": "Validation",
    "RevisionUnknown": "Validation",
    "RevisionGone": "Validation",
    "Overloaded": "Overloaded",
    "NotReady": "Unhealthy",
}


def parse(incoming: Incoming, bounds: Bounds) -> ScoreCall:
    """Return the call that a body asks for."""
    body = bounds.validated(TeiBody, incoming.content)
    bounds.check([body.query], body.texts, instruction=body.instruction, param="texts")
    return ScoreCall(
        query=body.query,
        documents=body.texts,
        model=body.model,
        adapter=body.adapter,
        top_n=body.top_n,
        return_documents=bool(body.return_text),
        raw_scores=bool(body.raw_scores),
        instruction=body.instruction,
        truncation=Truncation(
            side="left" if body.truncation_direction in {"Left", "left"} else "right", refused=body.truncate is False
        ),
    )


def render(call: ScoreCall, scored: Scored) -> Reply:
    """Return the ranks, best first; Elasticsearch's parser refuses an item with any key beyond these."""
    return Reply(
        200, orjson.dumps([_item(call, place) for place in scored.ranking]), headers=revision_headers(scored.result)
    )


def render_error(error: RequestError, message: str) -> Reply:
    """Return an error as two strings."""
    content = {"error": message, "error_type": _ERROR_TYPES.get(error.reason, "Backend")}
    return json_reply(error.status, content, retry_headers(error))


def _item(call: ScoreCall, place: Ranked) -> dict[str, object]:
    item: dict[str, object] = {"index": place.index, "score": place.score}
    if call.return_documents:
        item["text"] = call.documents[place.index]
    return item


TEI = Dialect("tei", parse, render, render_error)
