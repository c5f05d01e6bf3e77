"""Texts that are paired one to one: a score request for each distinct query, and their results in the texts' order.

No I/O.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reranker_worker.serving import ScoreRequest, ScoreResult


@dataclass(frozen=True)
class Share:
    """The part of a paired request that asks one query; `places` are its documents' numbers in the whole."""

    request: ScoreRequest
    places: Sequence[int]


def shares(request: ScoreRequest, queries: Sequence[str]) -> list[Share]:
    """Split a request whose i-th document belongs to the i-th query."""
    places: dict[str, list[int]] = {}
    for place, query in enumerate(queries):
        places.setdefault(query, []).append(place)
    return [
        Share(replace(request, query=query, documents=[request.documents[place] for place in its]), its)
        for query, its in places.items()
    ]


def one_revision(results: Iterable[ScoreResult]) -> bool:
    """Tell whether the same revisions made all results: those of two are never mixed in one answer."""
    return len({(result.revision, result.adapter_revision) for result in results}) == 1


def merged(parts: Sequence[Share], results: Sequence[ScoreResult]) -> ScoreResult:
    """Return the results as one; the times are those of the part that took longest."""
    scores: dict[int, float] = {}
    for part, result in zip(parts, results, strict=True):
        scores.update(zip(part.places, result.scores, strict=True))
    return replace(
        results[0],
        scores=[scores[place] for place in sorted(scores)],
        tokens=sum(result.tokens for result in results),
        queue_ms=max(result.queue_ms for result in results),
        tokenization_ms=max(result.tokenization_ms for result in results),
        inference_ms=max(result.inference_ms for result in results),
    )
