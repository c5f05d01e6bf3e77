"""How good an order is, for questions with one relevant document. No I/O."""

import math
from collections.abc import Sequence
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
