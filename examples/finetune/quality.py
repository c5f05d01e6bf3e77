"""How good an order is, for questions with one relevant document or with graded ones. No I/O."""

import math
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean

CUTOFF = 10


def rank_of(scores: Sequence[float], relevant: int) -> int | None:
    """Return the place, from 1, that scores give the relevant document; equal scores count against it."""
    if relevant < 0:
        return None
    return sum(score >= scores[relevant] for score in scores)


def mrr(ranks: Sequence[int | None]) -> float:
    """Return the mean reciprocal rank at the cut-off."""
    return fmean(1 / rank if rank and rank <= CUTOFF else 0.0 for rank in ranks)


def ndcg(ranks: Sequence[int | None]) -> float:
    """Return nDCG at the cut-off for questions with one relevant document."""
    return fmean(1 / math.log2(rank + 1) if rank and rank <= CUTOFF else 0.0 for rank in ranks)


def graded_ndcg(relevance: Sequence[int], scores: Sequence[float], cutoff: int = CUTOFF) -> float:
    """Return nDCG of graded documents as the operator's gate has it: linear in the grades, shared by equal scores."""
    ranked = sorted(zip(scores, relevance, strict=True), key=lambda pair: -pair[0])
    gains: list[float] = []
    for _, tied in groupby(ranked, key=lambda pair: pair[0]):
        grades = [grade for _, grade in tied]
        gains += [fmean(grades)] * len(grades)
    ideal = _discounted(sorted(relevance, reverse=True), cutoff)
    return _discounted(gains, cutoff) / ideal if ideal else 0.0


def _discounted(gains: Sequence[float], cutoff: int) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:cutoff], start=1))
