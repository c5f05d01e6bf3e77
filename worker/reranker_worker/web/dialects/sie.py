"""The SIE SDK's dialect: `query` and `items` in, ranked `scores` out, as msgpack or JSON. No I/O."""

from collections.abc import Mapping
from typing import Any

import msgpack

from reranker_worker.collecting import uncollected
from reranker_worker.errors import InvalidRequest, RequestError
from reranker_worker.web.dialects.calls import (
    JSON,
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
from reranker_worker.web.schemas import ScoreBody

MSGPACK = "application/msgpack"
_MSGPACK_TYPES = (MSGPACK, "application/x-msgpack")

# The SDK knows no 429 and no 413: it waits on a 503 with Retry-After, by code.
_CODES: Mapping[str, tuple[int, str]] = {
    "InvalidRequest": (400, "INVALID_INPUT"),
    "TooLarge": (400, "INVALID_INPUT"),
    "Unauthorized": (401, "UNAUTHORIZED"),
    "NotFound": (404, "MODEL_NOT_FOUND"),
    "MethodNotAllowed": (405, "INVALID_INPUT"),
    "BodyTooSlow": (408, "INVALID_INPUT"),
    "RevisionUnknown": (409, "REVISION_UNKNOWN"),
    "RevisionGone": (410, "REVISION_GONE"),
    "Overloaded": (503, "QUEUE_FULL"),
    "NotReady": (503, "MODEL_LOADING"),
    "LoadFailed": (502, "MODEL_LOAD_FAILED"),
    "DeadlineExceeded": (504, "INFERENCE_TIMEOUT"),
}


def parse(incoming: Incoming, bounds: Bounds) -> ScoreCall:
    """Return the call that a body asks for."""
    body = _body(incoming, bounds)
    texts = [item.text for item in body.items]
    bounds.check([body.query.text], texts, instruction=body.instruction, param="items")
    return ScoreCall(
        query=body.query.text,
        documents=texts,
        model=incoming.path_model,
        adapter=body.options.lora_id if body.options else None,
        instruction=body.instruction,
        item_ids=[item.id for item in body.items],
        query_id=body.query.id,
        accept=JSON if JSON in incoming.accept else MSGPACK,
    )


def render(call: ScoreCall, scored: Scored) -> Reply:
    """Return the scores, best first, with the times that the SDK reports."""
    content = {
        "model": scored.model,
        "query_id": call.query_id,
        "scores": [
            {
                "item_id": call.item_ids[place.index] or f"item-{place.index}",
                "score": place.score,
                "rank": rank,
            }
            for rank, place in enumerate(scored.ranking)
        ],
        "usage": {"input_tokens": scored.result.tokens},
    }
    result = scored.result
    headers = revision_headers(result) | {
        "x-queue-time": f"{result.queue_ms:.3f}",
        "x-tokenization-time": f"{result.tokenization_ms:.3f}",
        "x-inference-time": f"{result.inference_ms:.3f}",
        "x-total-time": f"{scored.total_ms:.3f}",
    }
    if call.accept == JSON:
        return json_reply(200, content, headers)
    return Reply(200, msgpack.packb(content), MSGPACK, headers)


def render_error(error: RequestError, message: str) -> Reply:
    """Return an error with the code by which the SDK decides whether to wait."""
    status, code = _CODES.get(error.reason, (500, "INTERNAL_ERROR"))
    headers = {"x-sie-error-code": code} | retry_headers(error)
    return json_reply(status, {"error": {"code": code, "message": message}}, headers)


def _body(incoming: Incoming, bounds: Bounds) -> ScoreBody:
    if incoming.content_type.partition(";")[0].strip().lower() in _MSGPACK_TYPES:
        return bounds.validated(ScoreBody, _unpacked(incoming.body))
    return bounds.validated(ScoreBody, incoming.content)


def _unpacked(body: bytes) -> Any:
    try:
        with uncollected():
            return msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise InvalidRequest("body: not msgpack") from error


SIE = Dialect("sie", parse, render, render_error)
