"""vLLM's score dialect: one text against others, or texts in pairs; scores in their order. No I/O."""

import time
import uuid

from reranker_worker.errors import InvalidRequest
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
from reranker_worker.web.schemas import TextParts, VllmScoreBody

# Releases of vLLM name the two sides anew and take all names; clients of each are about.
_SIDES = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))


def parse(incoming: Incoming, bounds: Bounds) -> ScoreCall:
    """Return the call that a body asks for."""
    body = bounds.validated(VllmScoreBody, incoming.content)
    names = next((names for names in _SIDES if all(getattr(body, name) is not None for name in names)), None)
    if names is None:
        raise InvalidRequest(f"body: {', or '.join(map(' and '.join, _SIDES))} are needed")
    first, second = (_texts(getattr(body, name)) for name in names)
    paired = len(first) > 1
    if not first or (paired and len(first) != len(second)):
        message = (
            f"{names[0]} holds {len(first)} texts and {names[1]} {len(second)}; "
            "one is scored against all, or as many against each other in pairs"
        )
        raise InvalidRequest(message, param=names[0])
    bounds.check(first, second, instruction=body.instruction, param=names[1])
    return ScoreCall(
        query=first[0],
        documents=second,
        paired_queries=first if paired else (),
        model=body.model,
        adapter=body.adapter,
        raw_scores=body.use_activation is False,
        instruction=body.instruction,
        truncation=Truncation(pair_tokens=rerank.pair_tokens(body.truncate_prompt_tokens)),
    )


def render(_: ScoreCall, scored: Scored) -> Reply:
    """Return the scores in the order of the texts."""
    tokens = scored.result.tokens
    content = {
        "id": f"score-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": scored.model,
        "data": [
            {"index": index, "object": "score", "score": score} for index, score in enumerate(scored.result.scores)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json_reply(200, content, revision_headers(scored.result))


def _texts(side: str | TextParts | list[str | TextParts]) -> list[str]:
    return [_text(text) for text in side] if isinstance(side, list) else [_text(side)]


def _text(text: str | TextParts) -> str:
    """Return a text whose parts are lines, as vLLM puts them together."""
    return text if isinstance(text, str) else "\n".join(part.text for part in text.content)


VLLM_SCORE = Dialect("vllm-score", parse, render, rerank.render_error)
