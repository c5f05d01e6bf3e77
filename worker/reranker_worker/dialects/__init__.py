"""The request and response shapes of existing clients: each a parser and renderers around one ScoreCall. No I/O."""

from reranker_worker.dialects.calls import Dialect
from reranker_worker.dialects.rerank import RERANK
from reranker_worker.dialects.sie import SIE

SCORE_PATH = "/v1/score/"


def dialect_of(path: str) -> Dialect:
    """Return the dialect in which a request to this path is answered before its body is known."""
    return SIE if path.startswith(SCORE_PATH) else RERANK
