"""The rerank dialect of Cohere, Jina, vLLM and those that copy them: `documents` in, `results` out. No I/O."""

import time
import uuid
from collections.abc import Sequence

from reranker_worker.errors import InvalidRequest, RequestError
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
from reranker_worker.web.schemas import DocumentObject, RerankBody

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    409: "conflict_error",
    410: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
# Infinity's client sends this where its user names no model.
_UNNAMED = "default/not-specified"


def parse(incoming: Incoming, bounds: Bounds) -> ScoreCall:
    """Return the call that a body asks for."""
    body = bounds.validated(RerankBody, incoming.content)
    documents = [_text(document, body.rank_fields, index) for index, document in enumerate(body.documents)]
    bounds.check([body.query], documents, instruction=body.instruction, param="documents")
    return ScoreCall(
        query=body.query,
        documents=documents,
        model=body.model if body.model != _UNNAMED else None,
        adapter=body.adapter,
        top_n=body.top_n or None,
        return_documents=bool(body.return_documents),
        # A member of Infinity's alone, whose clients send it always and read a document as a text.
        plain_documents="raw_scores" in body.model_fields_set,
        raw_scores=body.raw,
        instruction=body.instruction,
        truncation=Truncation(body.max_tokens_per_doc, pair_tokens(body.truncate_prompt_tokens)),
    )


def pair_tokens(asked: int | None) -> int | None:
    """Return the length of a pair that vLLM's `truncate_prompt_tokens` asks for; its -1 is the model's own."""
    return None if asked == -1 else asked


def render(call: ScoreCall, scored: Scored) -> Reply:
    """Return the envelope that all clients of this dialect read."""
    tokens = scored.result.tokens
    content = {
        "id": f"rerank-{uuid.uuid4().hex}",
        "object": "rerank",
        "created": int(time.time()),
        "model": scored.model,
        "results": [item(call, place) for place in scored.ranking],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "meta": {"api_version": {"version": "2"}},
    }
    return json_reply(200, content, revision_headers(scored.result))


def render_error(error: RequestError, message: str) -> Reply:
    """Return an error under each name that clients look for: OpenAI's `error`, Jina's `detail`, Cohere's `message`."""
    content = {
        "error": {
            "message": message,
            "type": _ERROR_TYPES.get(error.status, "internal_error"),
            "code": error.reason,
            "param": error.param,
        },
        "detail": message,
        "message": message,
    }
    return json_reply(error.status, content, retry_headers(error))


def _text(document: str | DocumentObject, rank_fields: Sequence[str] | None, index: int) -> str:
    if isinstance(document, str):
        return document
    texts = [document[name] for name in rank_fields or ("text",) if isinstance(document.get(name), str)]
    if not texts:
        wanted = ", ".join(rank_fields or ("text",))
        raise InvalidRequest(f"documents.{index}: holds no text in {wanted}", param=f"documents.{index}")
    return "\n".join(map(str, texts))


def item(call: ScoreCall, place: Ranked) -> dict[str, object]:
    """Return one place of a ranking, with its document where the call wants it."""
    found: dict[str, object] = {"index": place.index, "relevance_score": place.score}
    if call.return_documents:
        text = call.documents[place.index]
        found["document"] = text if call.plain_documents else {"text": text}
    return found


RERANK = Dialect("rerank", parse, render, render_error)
