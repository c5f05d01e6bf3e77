"""The request and response shapes of existing clients: each a parser and renderers around one ScoreCall. No I/O."""

from reranker_worker.errors import InvalidRequest
from reranker_worker.web.dialects.calls import Dialect, Incoming
from reranker_worker.web.dialects.rerank import RERANK
from reranker_worker.web.dialects.sie import SIE
from reranker_worker.web.dialects.tei import TEI
from reranker_worker.web.dialects.voyage import VOYAGE
from reranker_worker.web.dialects.weaviate import WEAVIATE

SCORE_PATH = "/v1/score/"
# Cohere, Jina, vLLM and Infinity call the one top_n and know nothing like the other.
_VOYAGES_OWN = frozenset({"top_k", "truncation"})


def dialect_of(path: str) -> Dialect:
    """Return the dialect in which a request to this path is answered before its body is known."""
    return SIE if path.startswith(SCORE_PATH) else RERANK


def rerank_dialect(incoming: Incoming) -> Dialect:
    """Return the dialect of a body that came to a rerank path, by the members that only it has.

    Raises InvalidRequest where a body is no JSON object or of two dialects at once.
    """
    body = incoming.content
    if "texts" in body and "documents" in body:
        raise InvalidRequest("body: holds texts and documents; send one of them")
    if "texts" in body:
        return TEI
    if "property" in body and "model" not in body:
        return WEAVIATE
    return VOYAGE if _VOYAGES_OWN & body.keys() and "top_n" not in body else RERANK
